from __future__ import annotations

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pgoauthd.tokens.issuers import IssuerPolicy, ScopeMatching, ScopeRule
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.scopes import check_scopes, granted_scopes
from pgoauthd.tokens.verdict import Refusal
from tests.tokens.case import POLICY

unhurried = settings(deadline=None)

scopes = st.text("ab*:./", min_size=1, max_size=8)
scope_lists = st.lists(scopes, max_size=4)


def _policy(**changes: object) -> IssuerPolicy:
    return msgspec.structs.replace(POLICY, **{"required_scopes": (), **changes})


def _suffices(granted: str, needed: str, **changes: object) -> bool:
    return check_scopes(granted.split(), needed.split(), _policy(**changes)) is None


@pytest.mark.parametrize(
    ("claims", "granted"),
    [
        ({}, ()),
        ({"scope": ""}, ()),
        ({"scope": " "}, ()),
        ({"scope": "a b"}, ("a", "b")),
        ({"scope": " a  b "}, ("a", "b")),
        ({"scope": "a\tb"}, ("a\tb",)),
        ({"scope": "b a", "scp": ["a", "c"]}, ("b", "a", "c")),
        ({"scp": ["a b"]}, ("a b",)),
        ({"scp": "a b"}, ("a", "b")),
        ({"scp": []}, ()),
        ({"roles": ["a"]}, ()),
    ],
)
def test_scopes_of_all_claims_are_granted_together(claims: dict[str, object], granted: tuple[str, ...]) -> None:
    assert granted_scopes(claims, _policy()) == granted


@pytest.mark.parametrize(
    ("claims", "granted"),
    [
        ({"realm_access": {"roles": ["a"]}}, ("a",)),
        ({"realm_access": {"roles": "a b"}, "scope": "c"}, ("c", "a", "b")),
        ({"realm_access.roles": ["a"]}, ()),
        ({"roles": ["a"]}, ()),
        ({"realm_access": ["roles"]}, ()),
        ({"realm_access": "roles"}, ()),
        ({"https://id.example/roles": ["a"]}, ("a",)),
    ],
)
def test_scope_claims_are_paths(claims: dict[str, object], granted: tuple[str, ...]) -> None:
    paths = (("scope",), ("realm_access", "roles"), ("https://id.example/roles",))
    assert granted_scopes(claims, _policy(scope_claims=paths)) == granted


def test_implied_scopes_are_granted_with_every_token_once() -> None:
    policy = _policy(implied_scopes=("openid", "a"))
    assert granted_scopes({}, policy) == ("openid", "a")
    assert granted_scopes({"scope": "b a"}, policy) == ("b", "a", "openid")


def test_an_implied_scope_does_not_excuse_a_claim_of_another_type() -> None:
    assert isinstance(granted_scopes({"scope": 1}, _policy(implied_scopes=("a",))), Refusal)


@pytest.mark.parametrize("value", [1, None, True, {"a": 1}, [1], ["a", None], [["a"]]])
def test_a_scope_claim_of_another_type_is_refused(value: object) -> None:
    refusal = granted_scopes({"scope": "a", "scp": value}, _policy())
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.CLAIM_INVALID
    assert refusal.message.startswith("the token's scp is ")


def test_a_refused_scope_claim_is_named_as_the_configuration_names_it() -> None:
    policy = _policy(scope_claims=(("resource_access", "pg.main", "roles"),))
    refusal = granted_scopes({"resource_access": {"pg.main": {"roles": 1}}}, policy)
    assert isinstance(refusal, Refusal)
    assert refusal.message.startswith('the token\'s resource_access."pg.main".roles is a number')


def test_nothing_required_is_always_granted() -> None:
    assert _suffices("", "")
    assert _suffices("", "", hba_scopes=ScopeRule.ANY)


def test_all_that_is_required_must_be_granted() -> None:
    assert _suffices("a b c", "c a a")
    assert not _suffices("a c", "c a b")


def test_the_scopes_of_the_policy_are_required_besides_those_of_the_line() -> None:
    assert _suffices("a b", "b", required_scopes=("a",))
    assert not _suffices("b", "b", required_scopes=("a",))
    assert not _suffices("a", "b", required_scopes=("a",))


@pytest.mark.parametrize(
    ("granted", "enough"),
    [("b", True), ("c", True), ("a b c", True), ("a", False), ("", False), ("B", False), ("b:c", False)],
)
def test_one_of_the_any_scopes_must_be_granted(granted: str, enough: bool) -> None:
    assert _suffices(granted, "", any_scopes=("b", "c")) is enough


def test_an_any_scope_replaces_no_required_one() -> None:
    assert not _suffices("b", "a", any_scopes=("b",))
    assert not _suffices("b", "", any_scopes=("b",), required_scopes=("a",))


@pytest.mark.parametrize(("granted", "enough"), [("b", True), ("c", True), ("b c", True), ("a", False), ("", False)])
def test_one_scope_of_the_line_is_enough_where_the_policy_says_any(granted: str, enough: bool) -> None:
    assert _suffices(granted, "b c", hba_scopes=ScopeRule.ANY) is enough


def test_any_of_the_line_leaves_the_scopes_of_the_policy_all_required() -> None:
    policy = {"hba_scopes": ScopeRule.ANY, "required_scopes": ("p", "q")}
    assert _suffices("p q b", "b c", **policy)
    assert not _suffices("p b", "b c", **policy)
    assert not _suffices("p q", "b c", **policy)


def test_the_missing_scopes_are_named_once_each_in_order() -> None:
    refusal = check_scopes(("b",), ("a", "b", "c", "a"), _policy())
    assert refusal == Refusal(Reason.SCOPE_MISSING, "the token lacks 'a', 'c'; it has 'b'")


def test_a_token_without_scopes_is_said_to_have_nothing() -> None:
    refusal = check_scopes((), ("a",), _policy())
    assert refusal == Refusal(Reason.SCOPE_MISSING, "the token lacks 'a'; it has nothing")


def test_of_alternatives_the_message_says_that_one_is_needed() -> None:
    refusal = check_scopes(("x",), ("a", "b"), _policy(hba_scopes=ScopeRule.ANY))
    assert refusal == Refusal(Reason.SCOPE_MISSING, "the token needs one of 'a', 'b'; it has 'x'")


def test_the_message_says_all_that_is_lacking_at_once() -> None:
    policy = _policy(required_scopes=("r",), any_scopes=("m", "n"), hba_scopes=ScopeRule.ANY)
    refusal = check_scopes(("x",), ("a", "b"), policy)
    assert refusal == Refusal(
        Reason.SCOPE_MISSING,
        "the token lacks 'r' and needs one of 'm', 'n' and needs one of 'a', 'b'; it has 'x'",
    )


@pytest.mark.parametrize(
    ("granted", "needed", "enough"),
    [
        ("read", "api://db/read", True),
        ("api://db/read", "api://db/read", True),
        ("read", "read", True),
        ("api://db/read", "read", False),
        ("api://other/read", "api://db/read", False),
        ("api://db/", "api://db/read", False),
        ("write", "api://db/read", False),
        ("api://db/", "api://db/", True),
        ("", "api://db/", False),
        ("read", "x api://db/read", False),
        ("read", "xapi://db/read", False),
        ("db/read", "api://db/read", False),
        ("read", "api://api://db/read", False),
    ],
)
def test_a_prefix_of_a_needed_scope_may_be_left_out_in_the_token(granted: str, needed: str, enough: bool) -> None:
    assert _suffices(granted, needed, scope_prefixes=("api://", "api://db/")) is enough


@pytest.mark.parametrize("prefixes", [("", "api://db/"), ("api://db/", "api://")])
def test_an_empty_or_shorter_prefix_besides_changes_nothing(prefixes: tuple[str, ...]) -> None:
    assert _suffices("read", "api://db/read", scope_prefixes=prefixes)
    assert not _suffices("", "api://db/", scope_prefixes=prefixes)


def test_a_prefix_counts_for_any_scopes_too() -> None:
    policy = {"scope_prefixes": ("api://db/",), "hba_scopes": ScopeRule.ANY}
    assert _suffices("read", "api://db/write api://db/read", **policy)
    assert _suffices("read", "", any_scopes=("api://db/read",), **policy)


def test_a_scope_with_a_prefix_is_said_to_be_missing_as_it_was_written() -> None:
    refusal = check_scopes((), ("api://db/read",), _policy(scope_prefixes=("api://db/",)))
    assert refusal is not None
    assert refusal.message == "the token lacks 'api://db/read'; it has nothing"


@pytest.mark.parametrize("granted", ["db:*", "*", "db", "db:", "*:*", "db:read:x", "DB:READ"])
def test_exactly_nothing_but_the_scope_itself_stands_for_it(granted: str) -> None:
    assert not _suffices(granted, "db:read")


@pytest.mark.parametrize(
    ("granted", "needed", "enough"),
    [
        ("db:*", "db:read", True),
        ("*:read", "db:read", True),
        ("*:*", "db:read", True),
        ("db.*", "db.read", True),
        ("db/*", "db/read", True),
        ("db:*:x", "db:read:x", True),
        ("x db:*", "db:read", True),
        ("db:read", "db:read", True),
        ("db:*", "db:read:x", False),
        ("db:*", "db", False),
        ("db:*", "db:", False),
        ("db:*", "db.read", False),
        ("db:*", "dbx:read", False),
        ("db:re*", "db:read", False),
        ("db:**", "db:read", False),
        ("db*", "db:read", False),
        ("db:*", "DB:read", False),
        ("*", "read", True),
        ("*", "db:read", False),
        ("*", "db.read", False),
        ("db", "db:read", False),
        ("api://db/*", "api://db/read", True),
        ("api://db/*", "api://db.example/read", False),
    ],
)
def test_a_granted_asterisk_is_one_whole_part(granted: str, needed: str, enough: bool) -> None:
    assert _suffices(granted, needed, scope_matching=ScopeMatching.WILDCARD) is enough


@pytest.mark.parametrize("matching", ScopeMatching)
@pytest.mark.parametrize(
    ("granted", "needed"), [("db:read", "db:*"), ("read", "*"), ("db:read db:write", "*:*"), ("db:", "db:*")]
)
def test_a_needed_asterisk_is_never_a_pattern(matching: ScopeMatching, granted: str, needed: str) -> None:
    assert not _suffices(granted, needed, scope_matching=matching)
    assert not _suffices(granted, "", scope_matching=matching, any_scopes=(needed,))


@pytest.mark.parametrize("matching", [ScopeMatching.EXACT, ScopeMatching.HIERARCHICAL])
@pytest.mark.parametrize("granted", ["*", "db:*", "*:*", "**"])
def test_a_granted_asterisk_is_only_an_asterisk_where_the_policy_has_no_wildcards(
    matching: ScopeMatching, granted: str
) -> None:
    assert not _suffices(granted, "read", scope_matching=matching)
    assert not _suffices(granted, "db:read", scope_matching=matching)
    assert _suffices(granted, granted, scope_matching=matching)


@pytest.mark.parametrize(
    ("granted", "needed", "enough"),
    [
        ("db", "db:read", True),
        ("db", "db.read", True),
        ("db", "db/read", True),
        ("db", "db:read:x", True),
        ("db:read", "db:read.x", True),
        ("db", "db", True),
        ("db", "dbx", False),
        ("db", "db-read", False),
        ("db:re", "db:read", False),
        ("db:read", "db", False),
        ("db:read", "db:write", False),
        ("d", "db:read", False),
        ("", ":read", False),
        ("DB", "db:read", False),
        ("api://db", "api://db/read", True),
        ("api", "api://db/read", False),
        ("api:", "api://db/read", False),
        ("api:/", "api://db/read", False),
        ("https://id", "https://id.example/read", False),
        ("https://id.example", "https://id.example:8443/read", False),
        ("https://id.example", "https://id.example/read", True),
        ("https://id.example/auth", "https://id.example/auth/read", True),
    ],
)
def test_a_granted_scope_stands_for_those_below_it(granted: str, needed: str, enough: bool) -> None:
    assert _suffices(granted, needed, scope_matching=ScopeMatching.HIERARCHICAL) is enough


def test_an_empty_granted_scope_stands_for_nothing() -> None:
    assert check_scopes(("",), (":read",), _policy(scope_matching=ScopeMatching.HIERARCHICAL)) is not None
    assert check_scopes(("",), ("read",), _policy(scope_matching=ScopeMatching.WILDCARD)) is not None
    assert check_scopes(("",), ("api://db/",), _policy(scope_prefixes=("api://db/",))) is not None
    assert check_scopes(("",), ("api://db/",), _policy(scope_prefixes=("api://db/",))) is not None


def test_prefixes_and_matching_work_together() -> None:
    assert _suffices("db:*", "api://x/db:read", scope_prefixes=("api://x/",), scope_matching=ScopeMatching.WILDCARD)
    assert _suffices("db", "api://x/db:read", scope_prefixes=("api://x/",), scope_matching=ScopeMatching.HIERARCHICAL)


@unhurried
@given(scope_lists, scope_lists, st.sampled_from(ScopeMatching))
def test_a_token_without_scopes_has_nothing_that_is_needed(
    needed: list[str], also: list[str], matching: ScopeMatching
) -> None:
    assume(needed or also)
    policy = _policy(required_scopes=tuple(needed), any_scopes=tuple(also), scope_matching=matching)
    assert check_scopes((), (), policy) is not None


@unhurried
@given(scope_lists, scope_lists, st.sampled_from(ScopeMatching))
def test_what_is_enough_for_all_is_enough_for_any(
    granted: list[str], needed: list[str], matching: ScopeMatching
) -> None:
    strict = check_scopes(granted, needed, _policy(scope_matching=matching))
    loose = check_scopes(granted, needed, _policy(scope_matching=matching, hba_scopes=ScopeRule.ANY))
    assert strict is not None or loose is None


@unhurried
@given(scopes, scopes)
def test_without_asterisks_wildcards_are_exact(granted: str, needed: str) -> None:
    granted = granted.replace("*", "a")
    enough = _suffices(granted, needed, scope_matching=ScopeMatching.WILDCARD)
    assert enough is (granted == needed)


@unhurried
@given(scopes, scopes)
def test_whatever_stands_for_a_scope_by_hierarchy_is_its_beginning(granted: str, needed: str) -> None:
    if _suffices(granted, needed, scope_matching=ScopeMatching.HIERARCHICAL) and granted != needed:
        assert needed.startswith(granted)
        assert needed[len(granted)] in ":./"
