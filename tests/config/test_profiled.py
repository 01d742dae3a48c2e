"""Issuers as the configuration has them: profiles, claims, introspection, connections, role rules; mostly refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgoauthd.config.reader import parse
from pgoauthd.config.values import Introspection, Issuer, RoleRule
from pgoauthd.errors import ConfigError, Problem
from pgoauthd.tokens.issuers import Mode, RequiredClaim, ScopeMatching, ScopeRule

HEAD = '[[issuers]]\nissuer = "https://idp.example.org"\naudiences = ["db"]\n'
ASKING = "[issuers.introspection]\n"
RULE = "[[issuers.role_rules]]\n"
TENANT = "0a1b2c3d-1111-4222-8333-444455556666"
ENTRA = (
    f'[[issuers]]\nprofile = "entra"\nissuer = "https://login.microsoftonline.com/{TENANT}/v2.0"\naudiences = ["db"]\n'
)


@pytest.fixture(autouse=True)
def outside_of_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.touch()
    return path


def read(text: str) -> Issuer:
    return parse(text).issuers[0]


def problems(text: str, *, as_service: bool = True) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        parse(text, source="test.toml", as_service=as_service)
    return caught.value.problems


def only(text: str) -> Problem:
    (problem,) = problems(text)
    return problem


def refused(text: str, key: str, says: str) -> None:
    """One problem, placed in the text at `key`, that says so and has a remedy."""
    problem = only(text)
    place, _, where = problem.where.partition(", ")
    assert where == f"issuers[0]{key and '.'}{key}"
    assert place.startswith("line ")
    assert says in f"{problem.what}; {problem.remedy}", problem
    assert problem.remedy


# profiles


def test_what_the_file_gives_stands_over_its_profile() -> None:
    issuer = read(f'{ENTRA}identity_claims = ["upn"]\npinned_key_issuers = false\nscope_claims = ["scp"]\n')
    assert (issuer.identity_claims, issuer.pinned_key_issuers, issuer.scope_claims) == (("upn",), False, ("scp",))


def test_what_the_file_does_not_give_comes_from_its_profile() -> None:
    policy = read(ENTRA).policy
    assert [source.text for source in policy.identities] == ["oid"]
    assert policy.algorithms == ("RS256",)
    assert policy.token_issuers == (f"https://sts.windows.net/{TENANT}/",)


def test_a_list_of_the_file_replaces_that_of_the_profile_even_when_it_is_empty() -> None:
    assert read(f"{ENTRA}token_issuers = []\n").token_issuers == ()


def test_required_claims_of_the_file_come_to_those_of_the_profile() -> None:
    issuer = read(f'{ENTRA}required_claims = {{ idtyp = "app" }}\n')
    assert issuer.required_claims == {"tid": (TENANT,), "idtyp": ("app",)}


def test_a_required_claim_of_the_profile_may_be_replaced() -> None:
    assert read(f'{ENTRA}required_claims.tid = ["a", "b"]\n').required_claims == {"tid": ("a", "b")}


def test_a_required_claim_of_the_profile_may_be_taken_away() -> None:
    assert read(f"{ENTRA}required_claims.tid = []\n").required_claims == {}


@pytest.mark.parametrize(
    ("profile", "remedy"), [("keyclock", "keycloak"), ("Entra", "entra"), ("azure", "use generic"), ("", "use generic")]
)
def test_an_unknown_profile_is_met_with_those_that_are(profile: str, remedy: str) -> None:
    refused(f'{HEAD}profile = "{profile}"\n', "profile", remedy)


def test_a_profile_that_is_no_text_is_a_problem_of_its_type() -> None:
    refused(f"{HEAD}profile = 3\n", "profile", "expected str")


def test_an_issuer_that_is_not_the_profiles_is_placed_at_the_issuer() -> None:
    refused(ENTRA.replace(TENANT, "common"), "issuer", "directory (tenant) ID")


def test_the_profile_is_named_where_it_is_the_reason() -> None:
    assert "(profile okta)" in only(f'{HEAD}profile = "okta"\n').what


def test_a_missing_issuer_is_missing_and_nothing_more() -> None:
    refused('[[issuers]]\nprofile = "okta"\naudiences = ["db"]\n', "issuer", "is required")


def test_google_cannot_be_asked_about_tokens(file: Path) -> None:
    text = f'[[issuers]]\nprofile = "google"\nissuer = "https://accounts.google.com"\naudiences = ["x"]\n{ASKING}'
    refused(f'{text}client_id = "x"\nclient_secret_file = "{file}"\n', "introspection", "no introspection endpoint")


# words


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ('mode = "introspekt"', "did you mean introspect?"),
        ('mode = "opaque"', "use jwt, introspect, jwt_then_introspect"),
        ('hba_scopes = "al"', "did you mean all?"),
        ('scope_matching = "hierarchic"', "did you mean hierarchical?"),
        ('scope_matching = "regex"', "use exact, wildcard, hierarchical"),
    ],
)
def test_a_wrong_word_is_met_with_the_right_ones(line: str, remedy: str) -> None:
    refused(f"{HEAD}{line}\n", line.partition(" ")[0], remedy)


def test_good_words_become_those_of_the_policy() -> None:
    policy = read(f'{HEAD}hba_scopes = "any"\nscope_matching = "wildcard"\n').policy
    assert (policy.mode, policy.hba_scopes, policy.scope_matching) == (Mode.JWT, ScopeRule.ANY, ScopeMatching.WILDCARD)


# claims


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('audience_claims = ["a..b"]', "empty"),
        ('audience_claims = ["."]', "empty"),
        ('audience_claims = [""]', "empty"),
        ("audience_claims = []", "is empty"),
        ("""audience_claims = ['a."b']""", "quoted"),
        ('scope_claims = ["realm."]', "empty"),
        ("scope_claims = []", "is empty"),
        ("identity_claims = []", "is empty"),
        ('identity_claims = [""]', "empty"),
        ('identity_claims = ["sub", "a..b"]', "empty"),
        ('identity_claims = ["${sub"]', "dollar"),
        ('identity_claims = ["$sub"]', "dollar"),
        ('identity_claims = ["${}"]', "empty"),
        ('identity_claims = ["$$everybody"]', "no claim in it"),
        ('identity_claims = ["sub", "iss"]', "everybody would be the same"),
        ('identity_claims = ["${tid}/${aud}"]', "everybody would be the same"),
        ('identity_strip_domains = ["@example.org"]', "without @"),
        ("""identity_strip_domains = ['EXAMPLE\\']""", "without @"),
        ('identity_strip_domains = [""]', "no domain"),
        ('identity_strip_domains = "example.org"', 'write ["example.org"]'),
        ('any_scopes = ["a b"]', "not one word"),
        ('implied_scopes = ["openid profile"]', "not one word"),
        ('scope_prefixes = [""]', "not one word"),
        ('scope_prefixes = [" api://db/"]', "not one word"),
        ('token_issuers = [""]', "not one word"),
        ('required_scopes = [""]', "not one word"),
    ],
)
def test_a_claim_or_scope_that_cannot_be_one_is_named(line: str, says: str) -> None:
    refused(f"{HEAD}{line}\n", line.partition(" ")[0], says)


@pytest.mark.parametrize(
    "lines",
    [
        'required_claims = { typ = "Bearer" }',
        'required_claims = { typ = ["Bearer"] }',
        'required_claims.typ = "Bearer"',
        'required_claims."typ" = "Bearer"',
        '[issuers.required_claims]\ntyp = "Bearer"',
    ],
)
def test_required_claims_may_be_written_in_every_way_of_toml(lines: str) -> None:
    assert read(f"{HEAD}{lines}\n").required_claims == {"typ": ("Bearer",)}


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ('"realm_access.roles" = "dba"', ("realm_access", "roles")),
        ('realm_access.roles = "dba"', ("realm_access", "roles")),
        ('realm_access = { roles = "dba" }', ("realm_access", "roles")),
        ('resource_access."pg.cluster".roles = "dba"', ("resource_access", "pg.cluster", "roles")),
        ("""'resource_access."pg.cluster".roles' = "dba\"""", ("resource_access", "pg.cluster", "roles")),
        ('"https://db.example.org/groups" = "dba"', ("https://db.example.org/groups",)),
        ('"https://db.example.org/app".role = "dba"', ("https://db.example.org/app", "role")),
        ('"cognito:groups" = "dba"', ("cognito:groups",)),
    ],
)
def test_a_required_claim_may_be_deep_in_the_token(line: str, path: tuple[str, ...]) -> None:
    policy = read(f"{HEAD}[issuers.required_claims]\n{line}\n").policy
    assert policy.required_claims == (RequiredClaim(path, ("dba",)),)


def test_booleans_are_required_as_json_writes_them() -> None:
    assert read(f"{HEAD}required_claims = {{ email_verified = true, x = [false] }}\n").required_claims == {
        "email_verified": ("true",),
        "x": ("false",),
    }


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("acr = 3", "something else"),
        ("acr = [3]", "something else"),
        ("acr = 2026-01-01", "something else"),
        ('acr = ""', "something else"),
        ('acr = ["a", [ "b" ]]', "something else"),
        ("acr = []", "has no values"),
        ("acr = {}", "something else"),
    ],
)
def test_a_required_claim_that_no_token_could_have_is_named(line: str, says: str) -> None:
    refused(f"{HEAD}[issuers.required_claims]\n{line}\n", "required_claims.acr", says)


@pytest.mark.parametrize("name", ['"a..b"', '""', '".a"', """'a."b'"""])
def test_a_required_claim_without_a_path_is_named(name: str) -> None:
    problem = only(f'{HEAD}[issuers.required_claims]\nok = "x"\n{name} = "x"\n')
    assert problem.where.startswith("line 6, issuers[0].required_claims."), problem


@pytest.mark.parametrize("value", ['"Bearer"', "3", '["typ"]'])
def test_required_claims_that_are_no_table_are_named(value: str) -> None:
    refused(f"{HEAD}required_claims = {value}\n", "required_claims", "expected object")


def test_the_line_of_a_required_claim_is_its_own() -> None:
    text = f'{HEAD}[issuers.required_claims]\ntyp = "Bearer"\n"realm.roles" = 3\n'
    assert only(text).where == "line 6, issuers[0].required_claims.realm.roles"


# connections


@pytest.mark.parametrize("key", ["metadata_url", "jwks_uri", "introspection.endpoint"])
@pytest.mark.parametrize(
    "url",
    [
        "http://idp.example.org/x",
        "http://127.0.0.1/x",
        "ftp://idp.example.org",
        "idp.example.org",
        "https://",
        "https://me:hunter2@idp.example.org",
        "https://idp.example.org/#x",
        "https://idp.example.org/a b",
        "https://[",
    ],
)
def test_a_url_that_must_not_be_asked_is_named_but_never_shown(key: str, url: str, file: Path) -> None:
    asking = f'{ASKING}client_id = "x"\nclient_secret_file = "{file}"\n' if key.startswith("intro") else ""
    problem = only(f'{HEAD}{asking}{key.rpartition(".")[2]} = "{url}"\n')
    assert problem.where.endswith(f"issuers[0].{key}")
    assert "https" in problem.remedy
    assert "hunter2" not in str(problem)


@pytest.mark.parametrize("line", ['metadata_url = ""', 'jwks_uri = ""', 'ca_file = ""', 'name = ""'])
def test_an_empty_value_is_no_way_to_leave_one_out(line: str) -> None:
    assert only(f"{HEAD}{line}\n").where == f"line 4, issuers[0].{line.partition(' ')[0]}"


def test_an_empty_issuer_is_named() -> None:
    refused('[[issuers]]\nissuer = ""\naudiences = ["db"]\n', "issuer", "is empty")


def test_a_url_on_loopback_may_be_asked_where_that_is_said() -> None:
    text = f'{HEAD}allow_loopback_http = true\nmetadata_url = "http://127.0.0.1:8180/meta"\n'
    assert read(text).metadata_url == "http://127.0.0.1:8180/meta"


@pytest.mark.parametrize(
    "url",
    [
        "http://proxy:3128",
        "http://proxy:3128/",
        "http://127.0.0.1:3128",
        "http://[::1]:3128",
        "http://me:pw@proxy:3128",
    ],
)
def test_a_proxy_is_an_http_url_anywhere(url: str) -> None:
    assert read(f'{HEAD}proxy = "{url}"\n').proxy == url


@pytest.mark.parametrize(
    "url",
    [
        "proxy:3128",
        "https://me:hunter2@proxy:3128",
        "socks5://proxy:1080",
        "http://:3128",
        "http://me:hunter2@",
        "http://me:hunter2@proxy:99999",
        "http://me:hunter2@proxy:0",
        "http://me:hunter2@proxy:3128/path",
        "http://me:hunter2@proxy:3128?x",
        "http://[",
        "",
    ],
)
def test_a_proxy_that_cannot_be_one_is_named_but_never_shown(url: str) -> None:
    refused(f'{HEAD}proxy = "{url}"\n', "proxy", "http://proxy.example.org:3128")
    assert "hunter2" not in str(only(f'{HEAD}proxy = "{url}"\n'))


@pytest.mark.parametrize("key", ["ca_file", "tls_certificate_file", "client_secret_file"])
def test_a_file_that_is_not_there_is_named(key: str) -> None:
    asking = f'{ASKING}client_id = "x"\n' if key.startswith("client") else ""
    where = f"introspection.{key}" if asking else key
    refused(f'{HEAD}{asking}{key} = "/no/such/file"\n', where, "is not a file")


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    refused(f'{HEAD}ca_file = "{tmp_path}"\n', "ca_file", "is not a file")


def test_a_path_through_a_file_is_no_file(file: Path) -> None:
    refused(f'{HEAD}ca_file = "{file}/x"\n', "ca_file", "is not a file")


def test_a_path_that_the_system_cannot_look_at_is_named() -> None:
    refused(f'{HEAD}ca_file = "/{"x" * 300}"\n', "ca_file", "cannot be looked at")


def test_a_key_without_its_certificate_is_a_problem(file: Path) -> None:
    refused(f'{HEAD}tls_key_file = "{file}"\n', "tls_key_file", "has no certificate")


def test_a_certificate_may_have_its_key_in_the_same_file(file: Path) -> None:
    assert read(f'{HEAD}tls_certificate_file = "{file}"\n').tls_key_file is None


# introspection


@pytest.mark.parametrize("mode", ["introspect", "jwt_then_introspect"])
def test_a_mode_that_asks_needs_to_know_how(mode: str) -> None:
    refused(f'{HEAD}mode = "{mode}"\n', "mode", "[issuers.introspection]")


@pytest.mark.parametrize(
    ("auth", "key"),
    [
        ("client_secret_basic", "client_secret_file"),
        ("client_secret_post", "client_secret_file"),
        ("private_key_jwt", "private_key_file"),
    ],
)
def test_a_client_needs_what_it_proves_itself_with(auth: str, key: str) -> None:
    refused(f'{HEAD}{ASKING}client_id = "x"\nclient_auth = "{auth}"\n', f"introspection.{key}", "is required")


def test_a_client_with_a_certificate_needs_one() -> None:
    text = f'{HEAD}{ASKING}client_id = "x"\nclient_auth = "tls_client_auth"\n'
    refused(text, "introspection.client_auth", "tls_certificate_file")


def test_a_client_with_a_certificate_needs_nothing_more(file: Path) -> None:
    text = f'{HEAD}tls_certificate_file = "{file}"\n{ASKING}client_id = "x"\nclient_auth = "tls_client_auth"\n'
    assert read(text).introspection is not None


@pytest.mark.parametrize("key", ["client_secret_file", "private_key_file"])
def test_a_secret_that_would_not_be_used_is_a_problem(key: str, file: Path) -> None:
    text = f'{HEAD}tls_certificate_file = "{file}"\n{ASKING}client_id = "x"\nclient_auth = "tls_client_auth"\n'
    refused(f'{text}{key} = "{file}"\n', f"introspection.{key}", "is not used")


def test_the_client_must_be_named() -> None:
    found = problems(f"{HEAD}{ASKING}")
    assert [problem.where for problem in found] == [
        "line 4, issuers[0].introspection.client_id",
        "line 4, issuers[0].introspection.client_secret_file",
    ]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('client_auth = "client_secret_jwt"', "did you mean"),
        ('client_auth = "none"', "use client_secret_basic"),
        ("cache_seconds = 301", "0 to 300"),
        ("cache_seconds = -1", "0 to 300"),
        ("negative_cache_seconds = 1e9", "0 to 300"),
        ("negative_cache_seconds = nan", "0 to 300"),
        ("timeout_seconds = 0", "0.1 to 60"),
        ("max_concurrent = 0", "1 to 1000"),
        ('private_key_algorithm = "HS256"', "not known"),
        ('private_key_id = " "', "is empty"),
        ('optional = ["sub"]', "use iss, aud, exp"),
        ('signed_answers = "yes"', "expected bool"),
    ],
)
def test_a_wrong_value_of_the_introspection_is_named(line: str, says: str, file: Path) -> None:
    text = f'{HEAD}{ASKING}client_id = "x"\nclient_secret_file = "{file}"\n{line}\n'
    refused(text, f"introspection.{line.partition(' ')[0]}", says)


@pytest.mark.parametrize("value", ["3", "[]", '"x"', "[{}]"])
def test_an_introspection_that_is_no_table_is_named(value: str) -> None:
    refused(f"{HEAD}introspection = {value}\n", "introspection", "write [issuers.introspection]")


def test_a_secret_in_the_configuration_is_refused_and_never_shown(file: Path) -> None:
    text = f'{HEAD}{ASKING}client_id = "x"\nclient_secret = "hunter2"\nclient_secret_file = "{file}"\n'
    refused(text, "introspection.client_secret", "client_secret_file")
    assert "hunter2" not in str(only(text))


@pytest.mark.parametrize("key", ["client_secret_file", "private_key_file"])
def test_a_secret_in_the_place_of_its_file_is_never_shown(key: str) -> None:
    found = problems(f'{HEAD}{ASKING}client_id = "x"\nclient_auth = "private_key_jwt"\n{key} = "hunter2"\n')
    assert any("absolute path" in problem.what for problem in found)
    assert "hunter2" not in str([str(problem) for problem in found])


def test_a_wrong_certificate_is_not_said_to_be_missing(file: Path) -> None:
    refused(f'{HEAD}tls_certificate_file = "x"\ntls_key_file = "{file}"\n', "tls_certificate_file", "absolute path")


def test_a_wrong_introspection_is_not_said_to_be_missing() -> None:
    refused(f'{HEAD}mode = "introspect"\nintrospection = 3\n', "introspection", "is not a table")


def test_a_wrong_way_to_prove_itself_asks_for_nothing_that_another_would_need() -> None:
    refused(f'{HEAD}{ASKING}client_id = "x"\nclient_auth = "x"\n', "introspection.client_auth", "is not known")


# credentials of systemd

CREDENTIAL = f'{HEAD}{ASKING}client_id = "x"\nclient_secret_file = "${{CREDENTIALS_DIRECTORY}}/file"\n'


def test_a_credential_may_be_named_by_the_directory_of_all(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(file.parent))
    asked = read(CREDENTIAL).introspection
    assert asked is not None
    assert asked.client_secret_file == "${CREDENTIALS_DIRECTORY}/file"


def test_a_credential_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    refused(CREDENTIAL, "introspection.client_secret_file", f"'{tmp_path}/file' is not a file")


def test_a_credential_without_a_directory_keeps_the_daemon_from_starting() -> None:
    refused(CREDENTIAL, "introspection.client_secret_file", "LoadCredential=")


def test_a_credential_without_a_directory_is_left_to_the_service_by_whoever_only_checks() -> None:
    assert parse(CREDENTIAL, as_service=False).issuers[0].introspection is not None


@pytest.mark.parametrize(
    "path", ["x/${CREDENTIALS_DIRECTORY}/file", "${CREDENTIALS_DIRECTORY}", "$CREDENTIALS_DIRECTORY/x"]
)
def test_the_directory_of_credentials_stands_at_the_beginning_alone(path: str) -> None:
    found = problems(CREDENTIAL.replace("${CREDENTIALS_DIRECTORY}/file", path), as_service=False)
    assert "absolute path" in found[0].what


# role rules


@pytest.mark.parametrize(
    ("lines", "key", "says"),
    [
        ('identity = "a"', "", "names no role"),
        ('action = "deny"', "", "names no role"),
        ('action = "deny"\nidentity = "a"', "", "names no role"),
        ('action = "refuse"\nroles = ["x"]\nidentity = "a"', "action", "use allow, deny"),
        ('action = "Deny"\nroles = ["x"]\nidentity = "a"', "action", "did you mean deny?"),
        ('roles = ["x"]', "", "everybody"),
        ('roles_regex = ".*"', "", "everybody"),
        ('action = "allow"\nroles = ["x"]', "", "everybody"),
        ('roles = []\nidentity = "a"\nroles_regex = "x"', "roles", "is empty"),
        ('roles = [""]\nidentity = "a"\nroles_regex = "x"', "roles", "is empty"),
        ('roles = "x"\nidentity = "a"\nroles_regex = "x"', "roles", 'write ["x"]'),
        ('roles = ["x"]\nroles_regex = "x"\nidentity = "a"', "roles_regex", "beside roles"),
        ('roles = ["x"]\nidentity = "a"\nidentity_regex = "a"', "identity_regex", "beside identity"),
        ('roles = ["x"]\nclaim = "g"\nvalue = "a"\nvalue_regex = "a"', "value_regex", "beside value"),
        ('roles = ["x"]\nclaim = "g"', "", "without a value"),
        ('roles = ["x"]\nidentity = "a"\nvalue = "a"', "", "value of no claim"),
        ('roles = ["x"]\nidentity = "a"\nvalue_regex = "a"', "", "value of no claim"),
        ('roles = ["x"]\nidentity = "a"\nclaim = "a..b"\nvalue = "a"', "claim", "empty"),
        ('roles = ["x"]\nidentity = "a"\nclaim = ""\nvalue = "a"', "claim", "empty"),
        ('roles = ["x"]\nidentity_regex = "(?=a)b"\nidentity = "a"', "identity_regex", "RE2"),
        ('roles = ["x"]\nidentity_regex = "("\nidentity = "a"', "identity_regex", "RE2"),
        ('roles = ["x"]\nclaim = "g"\nvalue_regex = "a{1,9999}"\nvalue = "b"', "value_regex", "RE2"),
        ("""roles_regex = '(a)\\1'\nidentity = "a"\nroles = ["x"]""", "roles_regex", "RE2"),
        ("""roles = ['\\1']\nidentity = "a\"""", "roles", "without an expression"),
        ("""roles = ['\\0']\nidentity = "a\"""", "roles", "without an expression"),
        ("""roles = ['\\1']\nidentity_regex = "a\"""", "roles", "none of the 0 groups"),
        ("""roles = ['x', 'y_\\2']\nidentity_regex = "(a)b\"""", "roles", "none of the 1 groups"),
        ("""roles = ['\\1']\nclaim = "g"\nvalue_regex = "a\"""", "roles", "none of the 0 groups"),
        ("""roles = ['\\1']\nidentity_regex = "(a)"\nclaim = "g"\nvalue_regex = "(a)\"""", "roles", "ambiguous"),
        ("""roles = ['a\\b']\nidentity = "a\"""", "roles", "backslash without a digit"),
        ("""roles = ['a\\']\nidentity_regex = "(a)\"""", "roles", "backslash without a digit"),
        ('roles = ["x"]\nidentity = "a"\nrole = "y"', "role", "did you mean roles?"),
    ],
)
def test_a_role_rule_that_does_not_say_what_it_means_is_a_problem(lines: str, key: str, says: str) -> None:
    refused(f"{HEAD}{RULE}{lines}\n", f"role_rules[0]{key and '.'}{key}", says)


@pytest.mark.parametrize(
    "lines",
    [
        'identity = "a"\nroles = ["x"]',
        'identity_regex = ".*"\nroles = ["x"]',
        'claim = "groups"\nvalue = "dba"\nroles_regex = ".*_ro"',
        'identity = "a"\nclaim = "groups"\nvalue_regex = "db.*"\nroles = ["x"]',
        """identity_regex = '(\\w+)@(\\w+)'\nroles = ['\\2_\\1', '\\0']""",
        """claim = "groups"\nvalue_regex = 'pg_(.*)'\nroles = ['\\1']""",
        """roles = ['corp\\\\1']\nidentity = "a\"""",
        'action = "deny"\nroles = ["postgres"]',
        'action = "deny"\nroles_regex = "pg_.*"',
    ],
)
def test_a_role_rule_that_says_what_it_means_is_read(lines: str) -> None:
    assert len(read(f"{HEAD}{RULE}{lines}\n").policy.role_rules) == 1


def test_rules_keep_their_order() -> None:
    text = f'{HEAD}{RULE}action = "deny"\nroles = ["a"]\n{RULE}identity = "z"\nroles = ["b"]\n'
    assert [(rule.allow, rule.roles) for rule in read(text).policy.role_rules] == [(False, ("a",)), (True, ("b",))]


def test_a_table_under_an_old_name_has_its_own_line() -> None:
    text = f'{HEAD}[[issuers.grants]]\nidentity = "a"\nroles = ["x"]\n'
    with pytest.raises(ConfigError) as raised:
        parse(text)
    header = text.splitlines().index("[[issuers.grants]]") + 1
    assert [problem.where for problem in raised.value.problems] == [f"line {header}, issuers[0].grants"]


def test_a_list_of_tables_in_the_place_of_a_table_is_named() -> None:
    text = f'{HEAD}[[issuers.introspection]]\nclient_id = "x"\n'
    refused(text, "introspection", "is a list of tables; write [issuers.introspection]")


def test_words_in_the_place_of_a_list_are_shown_as_the_list() -> None:
    refused(f'{HEAD}required_scopes = "openid db"\n', "required_scopes", 'write ["openid", "db"]')


def test_grants_are_now_called_role_rules() -> None:
    refused(f'{HEAD}[[issuers.grants]]\nidentity = "a"\nroles = ["x"]\n', "grants", "rename it to role_rules")


# several issuers


def test_both_versions_of_a_tenant_may_be_configured_though_each_takes_tokens_of_the_other() -> None:
    first = ENTRA.replace(f"login.microsoftonline.com/{TENANT}/v2.0", f"sts.windows.net/{TENANT}/")
    assert len(parse(f"{ENTRA}{first}").issuers) == 2


def test_a_problem_of_the_second_issuer_has_its_line() -> None:
    (problem,) = problems(f"{HEAD}{ENTRA}{RULE}identity = 'a'\n")
    assert problem.where == "line 8, issuers[1].role_rules[0]"


JUNK = [
    "3",
    "1e400",
    "true",
    '""',
    '"\\u0000"',
    '"\\\\"',
    '"["',
    "[]",
    "[3]",
    '[""]',
    '["a.", "$"]',
    "{}",
    "{ a = {} }",
    "[{}]",
]
TABLES = {"": Issuer, ASKING: Introspection, RULE: RoleRule}


def outcome(text: str) -> bool:
    """A policy can be made of it, or every problem has its line; anything else is raised."""
    try:
        issuer = read(text)
    except ConfigError as error:
        return all(problem.where.startswith("line ") for problem in error.problems)
    return issuer.policy.issuer == issuer.issuer


@pytest.mark.parametrize(
    ("table", "key"), [(table, key) for table, kind in TABLES.items() for key in kind.__struct_fields__]
)
def test_no_value_is_too_much_for_a_key(table: str, key: str) -> None:
    for junk in JUNK:
        head = HEAD if table or key not in ("issuer", "audiences") else "[[issuers]]\n"
        assert outcome(f"{head}{table}{key} = {junk}\n"), junk
