from __future__ import annotations

from pathlib import Path

import pytest

from pgoauthd.config.reader import load, parse
from pgoauthd.errors import ConfigError

GOOD = """
[callout]
socket = "/tmp/pgoauthd.sock"
allowed_users = ["postgres", 65534]

[web]
listen = "[::1]:9713"

[[issuers]]
name = "people"
issuer = "https://idp.example/realms/people"
audiences = ["pg-cluster"]
identity_claims = ["realm.user", "sub"]
leeway_seconds = 5

[[issuers.role_rules]]
identity = "zed"
roles = ["delegated"]

[[issuers.role_rules]]
claim = "realm_access.roles"
value = "dba"
roles = ["admin", "reporting"]

[[clusters]]
name = "main"
logs = ["/var/log/postgresql"]
log_line_prefix = "%m [%p] %q%u@%d "

[[notify]]
name = "oncall"
kind = "webhook"
url = "https://hooks.example/pg"
"""


def problems(text: str) -> list[tuple[str, str, str]]:
    with pytest.raises(ConfigError) as caught:
        parse(text, source="test.toml")
    return [(p.where, p.what, p.remedy) for p in caught.value.problems]


def only(text: str) -> tuple[str, str, str]:
    found = problems(text)
    assert len(found) == 1, found
    return found[0]


def test_a_good_configuration_is_read_whole() -> None:
    config = parse(GOOD)
    assert config.web.address == ("::1", 9713)
    assert config.callout.allowed_users == ("postgres", 65534)
    assert [source.parts for source in config.issuers[0].policy.identities] == [(("realm", "user"),), (("sub",),)]
    assert config.issuers[0].policy.leeway == 5
    assert config.issuers[0].policy.role_rules[1].claim == ("realm_access", "roles")
    assert config.clusters[0].name == "main"


def test_all_problems_are_reported_at_once_each_with_its_line_and_a_remedy() -> None:
    text = GOOD.replace('audiences = ["pg-cluster"]', "audiences = []").replace("leeway_seconds", "leway_seconds")
    text = text.replace('kind = "webhook"', 'kind = "pager"').replace("%m [%p] %q%u@%d", "%m")
    found = problems(text)
    assert len(found) == 4
    assert all(where.startswith("line ") and remedy for where, _, remedy in found)
    lines = text.splitlines()
    for where, _, _ in found:
        number, key = where.removeprefix("line ").split(", ")
        assert lines[int(number) - 1].startswith(key.rsplit(".", 1)[1]), where


def test_a_misspelt_key_is_met_with_the_right_one() -> None:
    where, what, remedy = only(GOOD.replace("allowed_users", "alowed_users"))
    assert (where, what, remedy) == (
        "line 4, callout.alowed_users",
        "is not a known key",
        "did you mean allowed_users?",
    )


def test_the_line_of_the_second_table_of_a_name_is_its_own() -> None:
    text = GOOD + '\n[[clusters]]\nname = "other"\nlogs = "/var/log"\n'
    where, what, _ = only(text)
    assert where == f"line {len(text.splitlines())}, clusters[1].logs"
    assert "expected array" in what


def test_the_line_of_a_role_rule_is_counted_within_its_issuer() -> None:
    text = GOOD.replace('value = "dba"\n', "")
    where, _, _ = only(text)
    header = [n for n, line in enumerate(text.splitlines(), 1) if line == "[[issuers.role_rules]]"][1]
    assert where == f"line {header}, issuers[0].role_rules[1]"


def test_a_missing_key_is_placed_at_its_table_and_an_unknown_table_at_its_header() -> None:
    found = problems(GOOD + '\n[typo]\nx = 1\n[[issuers]]\nissuer = "https://x.example"\n')
    lines = GOOD.count("\n")
    assert [where for where, _, _ in found] == [f"line {lines + 2}, typo", f"line {lines + 4}, issuers[1].audiences"]


def test_a_string_where_a_list_belongs_is_answered_with_the_list() -> None:
    assert only(GOOD.replace('["pg-cluster"]', '"pg-cluster"'))[2] == 'write ["pg-cluster"]'


def test_all_wrong_items_of_a_list_are_named_and_near_misses_corrected() -> None:
    _, what, remedy = only(GOOD.replace("leeway_seconds = 5", 'algorithms = ["RS265", "ES265"]'))
    assert what.startswith("'RS265', 'ES265' is not known")
    assert remedy == "did you mean RS256, ES256?"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('socket = "/tmp/pgoauthd.sock"', 'socket = "run/x.sock"', "absolute"),
        ('socket = "/tmp/pgoauthd.sock"', f'socket = "/{"x" * 108}"', "too long"),
        ('listen = "[::1]:9713"', 'listen = "9713"', "ADDRESS:PORT"),
        ('listen = "[::1]:9713"', 'listen = "127.0.0.1:70000"', "ADDRESS:PORT"),
        ("leeway_seconds = 5", "leeway_seconds = -1", "out of range"),
        ("leeway_seconds = 5", 'leeway_seconds = "5"', "expected float"),
        ("leeway_seconds = 5", 'algorithms = ["HS256"]', "not known here"),
        ("leeway_seconds = 5", 'algorithms = ["none"]', "not known here"),
        ("leeway_seconds = 5", "algorithms = []", "is empty"),
        ("leeway_seconds = 5", 'ca_file = "/no/such.pem"', "not a file"),
        ("leeway_seconds = 5", 'required_scopes = ["a b"]', "not one word"),
        ('"realm.user", "sub"', '"realm..user"', "has an empty"),
        ("https://idp.example/realms/people", "http://idp.example", "https"),
        ("https://idp.example/realms/people", "http://127.0.0.1:8080", "http"),
        ('identity = "zed"', "", "everybody"),
        ('value = "dba"', "", "claim without a value"),
        ('log_line_prefix = "%m [%p] %q%u@%d "', 'log_line_prefix = "%t "', "%p"),
        ('logs = ["/var/log/postgresql"]', "", "is required"),
        ('name = "main"', 'name = "ma in"', "short name"),
        ('logs = ["/var/log/postgresql"]', 'logs = ["/l"]\nlog_timezone = "Mars/Base"', "no time zone"),
        ('logs = ["/var/log/postgresql"]', 'logs = ["/l"]\nident_file = "pg_ident.conf"', "absolute"),
        ('url = "https://hooks.example/pg"', 'url = "ftp://x"', "no http"),
        ('url = "https://hooks.example/pg"', 'url = "https://u:p@x/"', "no http"),
        ('url = "https://hooks.example/pg"', 'url = "https://x/"\nreasons = ["tired"]', "not known here"),
        ('kind = "webhook"', "", "is required"),
    ],
)
def test_a_wrong_value_is_named(old: str, new: str, says: str) -> None:
    assert old in GOOD
    where, what, remedy = only(GOOD.replace(old, new))
    assert says in what or says in remedy, (where, what, remedy)


def test_names_and_issuers_may_stand_once() -> None:
    cluster = '\n[[clusters]]\nname = "main"\nlogs = ["/l"]\n'
    issuer = '\n[[issuers]]\nissuer = "https://idp.example/realms/people"\naudiences = ["x"]\n'
    found = problems(GOOD + cluster + issuer)
    assert {what.split("' ")[1] for _, what, _ in found} == {"is given twice"}
    assert [where.split(", ")[1] for where, _, _ in found] == ["clusters[1].name", "issuers[1].issuer"]


def test_two_issuers_may_not_share_the_name_by_which_their_keys_are_kept() -> None:
    other = '\n[[issuers]]\nname = "people"\nissuer = "https://other.example"\naudiences = ["x"]\n'
    where, what, _ = only(GOOD + other)
    assert where.endswith("issuers[1].name")
    assert what == "'people' is given twice"


def test_an_issuer_may_not_be_named_as_another_one_is() -> None:
    text = '[[issuers]]\nissuer = "https://a.example"\naudiences = ["x"]\n'
    assert parse(text).issuers[0].label == "https://a.example"


def test_a_table_in_the_place_of_a_list_of_tables_is_named() -> None:
    _, what, remedy = only('[issuers]\nissuer = "https://x"\n[[clusters]]\nname = "a"\nlogs = ["/l"]\n')
    assert (what, remedy) == ("is not a list of tables", "write [[issuers]]")


def test_an_empty_configuration_has_nothing_to_do() -> None:
    assert "nothing to do" in only("")[1]


def test_broken_toml_is_reported_with_its_line() -> None:
    assert "line 2" in only("[web]\nlisten = \n")[1]


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "missing.toml")
    (tmp_path / "latin.toml").write_bytes(b"# \xe9\n")
    with pytest.raises(ConfigError, match="UTF-8"):
        load(tmp_path / "latin.toml")


def test_the_message_of_the_error_names_the_file_in_each_line(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("[callout]\nsocket = 1\nx = 2\n[[issuers]]\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path)
    lines = str(caught.value).splitlines()
    assert len(lines) == len(caught.value.problems) == 4
    assert all(line.startswith(f"{path}: ") for line in lines)


def test_a_key_given_twice_is_reported_with_its_line() -> None:
    _, what, remedy = only(GOOD.replace("leeway_seconds = 5", "leeway_seconds = 5\nleeway_seconds = 6"))
    assert "at line 15" in what
    assert "each key" in remedy


def test_an_inline_table_is_read_as_any_other() -> None:
    rules = '{ identity = "zed", roles = ["delegated"] }'
    text = f'[[issuers]]\nissuer = "https://a.example"\naudiences = ["x"]\nrole_rules = [{rules}]\n'
    assert parse(text).issuers[0].role_rules[0].roles == ("delegated",)


def test_a_problem_in_an_inline_table_has_the_line_of_its_key() -> None:
    text = '[[issuers]]\nissuer = "https://a.example"\naudiences = ["x"]\nrole_rules = [{ roles = ["a"] }]\n'
    assert only(text)[0] == "line 4, issuers[0].role_rules[0]"


def test_a_list_over_several_lines_does_not_move_the_lines_of_what_follows() -> None:
    text = '[[issuers]] # [x]\naudiences = [\n  "x", # [clusters]\n]\nissuer = "http://a.example"\n'
    assert only(text)[0] == "line 5, issuers[0].issuer"


@pytest.mark.parametrize("value", ["3", '"x"', "[1]", "[[]]"])
@pytest.mark.parametrize("table", ["web", "issuers", "clusters", "notify"])
def test_what_is_no_table_is_named_and_nothing_else_breaks(table: str, value: str) -> None:
    found = problems(f"{table} = {value}\n")
    is_one = table == "web"
    wanted = ("is not a table", "write [web]") if is_one else ("is not a list of tables", f"write [[{table}]]")
    assert wanted in {(what, remedy) for _, what, remedy in found}


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        ('url = "https://me:hunter2@hooks.example"', "hunter2"),
        ('url = "hunter2"', "hunter2"),
    ],
)
def test_the_url_of_a_receiver_is_not_shown(line: str, secret: str) -> None:
    assert secret not in str(only(GOOD.replace('url = "https://hooks.example/pg"', line)))
