from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgoauthd.tokens.issuers import RoleRule
from pgoauthd.tokens.linearregex import LinearRegex
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.rolerules import MAX_VALUES, check_delegation, deciding_rule, nearest_rule
from pgoauthd.tokens.verdict import Refusal
from tests.tokens.case import POLICY

unhurried = settings(deadline=None)

OWN_NAME = RoleRule(identity_regex=LinearRegex("(.*)"), roles=("\\1",))


def _rule(*roles: str, **conditions: object) -> RoleRule:
    compiled = {
        name: LinearRegex(value) if name.endswith("_regex") and isinstance(value, str) else value
        for name, value in conditions.items()
    }
    return msgspec.structs.replace(RoleRule(roles=roles), **compiled)


def _deny(*roles: str, **conditions: object) -> RoleRule:
    return _rule(*roles, allow=False, **conditions)


def _check(rules: tuple[RoleRule, ...], role: str, identity: str = "alice", **claims: object) -> Refusal | None:
    return check_delegation(claims, identity, role, msgspec.structs.replace(POLICY, role_rules=rules))


def _reason(rules: tuple[RoleRule, ...], role: str, identity: str = "alice", **claims: object) -> Reason:
    refusal = _check(rules, role, identity, **claims)
    return Reason.OK if refusal is None else refusal.reason


def _fits(rule: RoleRule, role: str = "owner", identity: str = "alice", **claims: object) -> bool:
    return deciding_rule((rule,), claims, identity, role) == 1


# claims with very many values


GROUPS = ["dba", *(f"group-{number}" for number in range(MAX_VALUES - 1))]


def test_a_claim_with_as_many_values_as_are_looked_at_is_judged() -> None:
    assert _fits(_rule("owner", claim=("groups",), value="dba"), groups=GROUPS)
    assert not _fits(_deny("owner", claim=("groups",), value="admin"), groups=GROUPS)


def test_a_claim_with_more_values_allows_nothing_and_denies() -> None:
    allowed, denied = _rule("owner", claim=("groups",), value="dba"), _deny("owner", claim=("groups",), value="admin")
    assert not _fits(allowed, groups=[*GROUPS, "one"])
    assert _fits(denied, groups=[*GROUPS, "one"])
    refusal = _check((denied,), "owner", groups=[*GROUPS, "one"])
    assert refusal is not None
    assert refusal.message.endswith(f"the claim 'groups' is an array of more than {MAX_VALUES:,}")


# without rules


def test_without_rules_only_the_own_role_is_allowed() -> None:
    assert _check((), "alice") is None
    for role in ("bob", "Alice", "alice ", "alic", ""):
        assert _reason((), role) is Reason.DELEGATION_REFUSED


def test_without_rules_the_refusal_says_that_there_are_none() -> None:
    assert _check((), "postgres") == Refusal(
        Reason.DELEGATION_REFUSED,
        "issuer 'table' has no role rules, so the identity 'alice' may only be the role of its own name, "
        "not 'postgres'",
    )


@pytest.mark.parametrize("rules", [(), (OWN_NAME,), (_rule(identity="", roles_regex=".*"),)])
def test_the_empty_role_is_nobodys(rules: tuple[RoleRule, ...]) -> None:
    assert _check(rules, "", "") == Refusal(
        Reason.DELEGATION_REFUSED, "the identity '' may not be the role '': its name is empty"
    )


# order and defaults


def test_with_rules_the_own_role_needs_one_too() -> None:
    assert _reason((_rule("owner", identity="alice"),), "alice") is Reason.DELEGATION_REFUSED
    assert _reason((OWN_NAME,), "alice") is Reason.OK
    assert _reason((OWN_NAME,), "bob") is Reason.DELEGATION_REFUSED


def test_the_first_rule_that_fits_decides() -> None:
    allow, deny = _rule("owner", identity="alice"), _deny("owner", identity="alice")
    assert _reason((allow, deny), "owner") is Reason.OK
    assert _reason((deny, allow), "owner") is Reason.ROLE_DENIED


def test_rules_that_do_not_fit_are_passed_by() -> None:
    rules = (_deny("other", identity="alice"), _deny("owner", identity="bob"), _rule("owner", identity="alice"))
    assert _reason(rules, "owner") is Reason.OK
    assert deciding_rule(rules, {}, "alice", "owner") == 3


def test_where_no_rule_fits_none_decides() -> None:
    assert deciding_rule((_rule("owner", identity="bob"), _deny("owner", identity="bob")), {}, "alice", "owner") is None
    assert _reason((_deny("owner", identity="bob"),), "owner") is Reason.DELEGATION_REFUSED


def test_a_deny_rule_alone_allows_nothing() -> None:
    assert _reason((_deny("postgres"),), "alice") is Reason.DELEGATION_REFUSED


# conditions


def test_a_rule_of_an_identity_is_about_its_roles_and_no_other() -> None:
    rule = _rule("owner", "reader", identity="alice")
    assert [_fits(rule, role) for role in ("owner", "reader", "postgres", "Owner")] == [True, True, False, False]
    assert not _fits(rule, identity="bob")
    assert not _fits(rule, identity="Alice")


@pytest.mark.parametrize(
    ("pattern", "identity", "fits"),
    [
        ("svc-.*", "svc-a", True),
        ("svc-", "svc-a", False),
        ("vc-a", "svc-a", False),
        ("svc-a|svc-b", "svc-b", True),
        ("a|svc-a", "svc-a-b", False),
        ("svc-a$", "svc-a", True),
        (".*@corp\\.example", "a@corp.example", True),
        (".*@corp\\.example", "a@corp.example.evil", False),
        (".*@corp\\.example", "a@corpXexample", False),
        ("", "a", False),
    ],
)
def test_an_expression_is_about_the_whole_identity(pattern: str, identity: str, fits: bool) -> None:
    assert _fits(_rule("owner", identity_regex=pattern), identity=identity) is fits


@pytest.mark.parametrize("allow", [True, False])
@pytest.mark.parametrize(
    ("value", "fits"),
    [
        (["x", "dba"], True),
        ("dba", True),
        (["DBA"], False),
        ("dba x", False),
        ("x dba", False),
        ([], False),
        ("", False),
        ([""], False),
    ],
)
def test_a_rule_of_a_claim_is_about_those_who_have_its_value(allow: bool, value: object, fits: bool) -> None:
    assert _fits(_rule("owner", allow=allow, claim=("groups",), value="dba"), groups=value) is fits
    assert _fits(_rule("owner", allow=allow, claim=("groups",), value_regex="d[b]a"), groups=value) is fits


@pytest.mark.parametrize("conditions", [{"value": "dba"}, {"value_regex": "dba"}])
@pytest.mark.parametrize(
    "value", [[["dba"]], ["dba", None], ["dba", 1], [{"dba": 1}], {"dba": True}, None, True, 1, 1.5, {}]
)
def test_a_claim_of_another_type_allows_nothing_and_denies(conditions: dict[str, str], value: object) -> None:
    assert not _fits(_rule("owner", claim=("groups",), **conditions), groups=value)
    assert _fits(_deny("owner", claim=("groups",), **conditions), groups=value)


@pytest.mark.parametrize("way", [["roles"], "roles", None, 1, [{"roles": ["dba"]}]])
def test_a_claim_that_is_in_no_object_allows_nothing_and_denies(way: object) -> None:
    conditions: dict[str, Any] = {"claim": ("realm_access", "roles"), "value": "dba"}
    assert not _fits(_rule("owner", **conditions), realm_access=way)
    assert _fits(_deny("owner", **conditions), realm_access=way)


@pytest.mark.parametrize("claims", [{}, {"realm_access": {}}, {"roles": ["dba"]}, {"realm_access.roles": ["dba"]}])
def test_a_claim_that_is_not_there_neither_allows_nor_denies(claims: dict[str, Any]) -> None:
    conditions: dict[str, Any] = {"claim": ("realm_access", "roles"), "value": "dba"}
    assert not _fits(_rule("owner", **conditions), **claims)
    assert not _fits(_deny("owner", **conditions), **claims)


def test_a_rule_of_a_claim_reaches_into_nested_claims() -> None:
    rule = _rule("owner", claim=("realm_access", "roles"), value="dba")
    assert _fits(rule, realm_access={"roles": ["dba"]})
    assert not _fits(rule, roles=["dba"])


@pytest.mark.parametrize("allow", [True, False])
@pytest.mark.parametrize(
    ("identity", "groups", "fits"),
    [("alice", ["dba"], True), ("bob", ["dba"], False), ("alice", ["x"], False), ("bob", ["x"], False)],
)
def test_both_conditions_must_hold(allow: bool, identity: str, groups: list[str], fits: bool) -> None:
    for by in ({"identity": "alice"}, {"identity_regex": "al.*"}):
        rule = _rule("owner", allow=allow, claim=("groups",), value="dba", **by)
        assert _fits(rule, identity=identity, groups=groups) is fits


def test_identity_and_expression_must_both_hold_where_a_rule_has_both() -> None:
    assert _fits(_rule("owner", identity="alice", identity_regex="a.*"))
    assert not _fits(_rule("owner", identity="alice", identity_regex="b.*"))
    assert not _fits(_rule("owner", identity="bob", identity_regex="a.*"))


def test_one_value_must_meet_both_value_and_expression_where_a_rule_has_both() -> None:
    rule = _rule("owner", claim=("groups",), value="dba", value_regex="x.*")
    assert not _fits(rule, groups=["dba", "xyz"])
    assert _fits(_rule("owner", claim=("groups",), value="dba", value_regex="d.*"), groups=["dba"])


@pytest.mark.parametrize(
    "conditions",
    [
        {},
        {"value": "dba"},
        {"value_regex": ".*"},
        {"claim": ("groups",)},
        {"identity": "alice", "value": "dba"},
        {"identity": "alice", "claim": ("groups",)},
    ],
)
def test_a_rule_without_a_whole_condition_allows_nothing_and_denies(conditions: dict[str, Any]) -> None:
    for roles in ({"roles_regex": ".*"}, {}):
        assert not _fits(_rule("owner", **roles, **conditions), groups=["dba"])
        assert _fits(_deny("owner", **roles, **conditions), groups=["dba"])


def test_a_deny_rule_without_conditions_holds_for_everybody_and_its_roles_alone() -> None:
    rules = (_deny("postgres", roles_regex="pg_.*"), OWN_NAME)
    assert _reason(rules, "postgres", "postgres") is Reason.ROLE_DENIED
    assert _reason(rules, "pg_monitor", "pg_monitor") is Reason.ROLE_DENIED
    assert _reason(rules, "alice") is Reason.OK


# roles


def test_a_rule_without_roles_allows_none_and_denies_all() -> None:
    assert not _fits(_rule(identity="alice"))
    assert _fits(_deny(identity="alice"))
    assert not _fits(_deny(identity="bob"))


@pytest.mark.parametrize(
    ("pattern", "role", "fits"),
    [
        ("app_.*", "app_x", True),
        ("app_", "app_x", False),
        ("pp_x", "app_x", False),
        ("app_.*", "APP_x", False),
        ("app_[a-z]+", "app_x; DROP", False),
        ("app_.*", "app_x\nlog", True),
    ],
)
def test_an_expression_is_about_the_whole_role(pattern: str, role: str, fits: bool) -> None:
    assert _fits(_rule(identity="alice", roles_regex=pattern), role) is fits


def test_a_line_break_is_no_way_around_a_rule_that_denies() -> None:
    assert _fits(_deny(roles_regex=".*"), "pg_\nmonitor")
    assert _fits(_deny("owner", claim=("groups",), value_regex="banned.*"), groups=["banned\nx"])


def test_roles_and_expression_are_alternatives() -> None:
    rule = _rule("owner", identity="alice", roles_regex="app_.*")
    assert [_fits(rule, role) for role in ("owner", "app_x", "other")] == [True, True, False]


@pytest.mark.parametrize(
    ("template", "role"),
    [
        ("\\1", "etl"),
        ("\\2", "corp"),
        ("\\0", "svc-etl@corp"),
        ("\\1_ro", "etl_ro"),
        ("\\2_\\1", "corp_etl"),
        ("\\1\\1", "etletl"),
        ("\\11", "etl1"),
        ("\\\\1", "\\1"),
        ("\\\\\\1", "\\etl"),
    ],
)
def test_what_the_groups_of_the_identity_matched_is_put_into_the_role(template: str, role: str) -> None:
    rule = _rule(template, identity_regex="svc-([a-z]+)@([a-z]+)")
    assert _fits(rule, role, "svc-etl@corp")
    assert not _fits(rule, f"{role}x", "svc-etl@corp")
    assert not _fits(rule, template, "svc-etl@corp") or template == role


@pytest.mark.parametrize("template", ["\\3", "\\9", "\\", "x\\", "\\x", "\\\n", "\\\u0663", "\\1\\2\\3"])
def test_a_place_that_nothing_can_fill_allows_nothing_and_denies(template: str) -> None:
    by: dict[str, Any] = {"identity_regex": "svc-([a-z]+)@([a-z]+)"}
    for role in (template, "etl", "etlcorp", "x", "\\"):
        assert not _fits(_rule(template, **by), role, "svc-etl@corp")
        assert _fits(_deny(template, **by), role, "svc-etl@corp")


def test_a_rule_without_an_expression_fills_no_place() -> None:
    for role in ("\\0", "\\1", "alice", ""):
        assert not _fits(_rule("\\0", "\\1", identity="alice"), role)


@pytest.mark.parametrize("identity", ["b", "@corp"])
def test_a_role_that_would_be_empty_is_nobodys(identity: str) -> None:
    rule = _rule("\\1", identity_regex="(a*)(b|@corp)")
    assert _check((rule,), "", identity) is not None
    assert _check((rule,), identity, identity) is not None
    assert nearest_rule((rule,), {}, identity) is None


def test_what_an_identity_puts_into_a_role_is_never_read_as_a_place_or_a_pattern() -> None:
    rule = _rule("\\1_ro", identity_regex="(.*)")
    assert _fits(rule, "\\0_ro", "\\0")
    assert _fits(rule, ".*_ro", ".*")
    assert not _fits(rule, "x_ro", ".*")


def test_every_value_of_a_list_that_matches_is_tried() -> None:
    rule = _rule("\\1", claim=("groups",), value_regex="db-([a-z]+)")
    groups = ["staff", "db-reader", "db-", "xdb-admin", "db-writer"]
    assert [_fits(rule, role, groups=groups) for role in ("reader", "writer", "admin", "staff", "")] == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_a_claim_of_one_string_gives_its_groups_too() -> None:
    assert _fits(_rule("\\1", claim=("groups",), value_regex="db-([a-z]+)"), "reader", groups="db-reader")


def test_the_groups_of_the_claim_count_before_those_of_the_identity() -> None:
    rule = _rule("\\1", identity_regex="(.*)", claim=("groups",), value_regex="db-([a-z]+)")
    assert _fits(rule, "reader", groups=["db-reader"])
    assert not _fits(rule, "alice", groups=["db-reader"])


def test_the_groups_of_the_identity_count_where_the_claim_has_only_a_value() -> None:
    rule = _rule("\\1_adm", identity_regex="(.*)", claim=("groups",), value="dba")
    assert _fits(rule, "alice_adm", groups=["dba"])
    assert not _fits(rule, "alice_adm", groups=["x"])


def test_a_deny_rule_fills_its_places_as_an_allow_rule_does() -> None:
    rules = (_deny("\\1", claim=("groups",), value_regex="no-([a-z]+)"), OWN_NAME)
    assert _reason(rules, "alice", groups=["no-alice"]) is Reason.ROLE_DENIED
    assert _reason(rules, "alice", groups=["no-bob"]) is Reason.OK


def test_a_deny_rule_whose_groups_cannot_be_known_denies_what_they_might_have_named() -> None:
    rules = (_deny("\\1", claim=("groups",), value_regex="no-([a-z]+)"), OWN_NAME)
    assert _reason(rules, "alice", groups=7) is Reason.ROLE_DENIED
    literal = (_deny("postgres", claim=("groups",), value_regex="no-([a-z]+)"), OWN_NAME)
    assert _reason(literal, "alice", groups=7) is Reason.OK


# messages


def test_a_refusal_says_how_many_rules_were_tried() -> None:
    rules = (_rule("owner", identity="bob"), _deny("postgres"))
    assert _check(rules, "reader") == Refusal(
        Reason.DELEGATION_REFUSED,
        "no role rule of issuer 'table' lets the identity 'alice' be the role 'reader' (2 tried)",
    )


def test_a_refusal_names_the_first_rule_that_is_about_the_bearer_and_its_roles() -> None:
    rules = (
        _rule("x", identity="bob"),
        _deny("y", identity="alice"),
        _rule("owner", "\\1_ro", "", "\\7", identity_regex="(.*)"),
        _rule("reader", identity="alice"),
    )
    assert nearest_rule(rules, {}, "alice") == (3, ("owner", "alice_ro"))
    assert _check(rules, "postgres") == Refusal(
        Reason.DELEGATION_REFUSED,
        "no role rule of issuer 'table' lets the identity 'alice' be the role 'postgres' (4 tried); "
        "the nearest is rule 3, for 'owner', 'alice_ro'",
    )


def test_a_refusal_names_at_most_five_roles() -> None:
    rule = _rule("\\1", claim=("groups",), value_regex="db-(.*)")
    refusal = _check((rule,), "x", groups=[f"db-{n}" for n in range(1000)])
    assert refusal is not None
    assert refusal.message.endswith("for '0', '1', '2', '3', '4' and 995 more")


def test_a_rule_that_names_no_roles_is_not_the_nearest() -> None:
    assert (
        nearest_rule((_rule(identity="alice", roles_regex="app_.*"), _rule("x", identity="bob")), {}, "alice") is None
    )


def test_a_denial_says_which_rule_decided() -> None:
    assert _check((_rule("x", identity="alice"), _deny("owner", identity="alice")), "owner") == Refusal(
        Reason.ROLE_DENIED, "role rule 2 of issuer 'table' denies the identity 'alice' the role 'owner'"
    )


@pytest.mark.parametrize(
    ("claims", "found"),
    [
        ({"a": {"b.c": 1}}, "is a number"),
        ({"a": {"b.c": None}}, "is null"),
        ({"a": {"b.c": {}}}, "is an object"),
        ({"a": {"b.c": ["x", 1]}}, "is an array of more than strings"),
        ({"a": "b"}, "has something on the way to it that is no object"),
    ],
)
def test_a_denial_to_be_safe_says_what_is_wrong_with_the_claim(claims: dict[str, Any], found: str) -> None:
    refusal = _check((_deny("owner", claim=("a", "b.c"), value="x"),), "owner", **claims)
    assert refusal == Refusal(
        Reason.ROLE_DENIED,
        "role rule 1 of issuer 'table' denies the identity 'alice' the role 'owner', "
        f"to be safe: the claim 'a.\"b.c\"' {found}",
    )


@pytest.mark.parametrize("rules", [(), (OWN_NAME,), (_deny(),), (_rule("r" * 300, "\n", identity_regex=".*"),)])
def test_messages_stay_short_and_printable_whatever_the_names_are(rules: tuple[RoleRule, ...]) -> None:
    refusal = _check(rules, "r\n" * 500, "i" * 256)
    assert refusal is not None
    assert refusal.message.isprintable()
    assert len(refusal.message) <= 1000


# whatever comes

names = st.text("ab_@-", max_size=6)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
patterns = st.sampled_from(["a.*", "(a+)_(b*)", "(.*)@(.*)", "b|a", "", "(?i)A(.*)", "(a)|(b)"])
templates = st.sampled_from(["a", "b", "a_b", "\\0", "\\1", "\\2", "\\1_\\2", "\\9", "\\"])
conditions = st.fixed_dictionaries(
    {},
    optional={
        "identity": names,
        "identity_regex": patterns.map(LinearRegex),
        "claim": st.sampled_from([("g",), ("g", "a")]),
        "value": names,
        "value_regex": patterns.map(LinearRegex),
        "roles": st.lists(templates, max_size=2).map(tuple),
        "roles_regex": patterns.map(LinearRegex),
    },
)
allow_rules = conditions.map(lambda said: _rule(**said))
deny_rules = conditions.map(lambda said: _deny(**said))
rule_lists = st.lists(allow_rules | deny_rules, max_size=4).map(tuple)
claim_objects = st.dictionaries(st.just("g"), json_values)


@unhurried
@given(st.sampled_from(["svc-([a-z]+)", "(a|b)+@corp", "[ab_]{2,3}"]), st.text("svcab_-@corp", max_size=8) | st.text())
def test_no_identity_outside_a_rules_language_gets_a_role(pattern: str, identity: str) -> None:
    rules = (_rule("owner", "\\0", "\\1", identity_regex=pattern, roles_regex=".*"),)
    inside = re.fullmatch(pattern, identity) is not None
    assert (_check(rules, "owner", identity) is None) is inside


@unhurried
@given(rule_lists, claim_objects, names, names)
def test_a_role_is_allowed_by_a_rule_that_says_so_or_without_any_by_its_name(
    rules: tuple[RoleRule, ...], claims: dict[str, Any], identity: str, role: str
) -> None:
    refusal = _check(rules, role, identity, **claims)
    number = deciding_rule(rules, claims, identity, role)
    if refusal is None:
        assert role
        assert identity == role if not rules else number is not None and rules[number - 1].allow
    else:
        assert refusal.reason in {Reason.DELEGATION_REFUSED, Reason.ROLE_DENIED}
        assert refusal.message.isprintable()


@unhurried
@given(rule_lists, deny_rules, st.integers(0, 4), claim_objects, st.tuples(names, names))
def test_one_more_deny_rule_never_allows_anything(
    rules: tuple[RoleRule, ...], deny: RoleRule, place: int, claims: dict[str, Any], bearer: tuple[str, str]
) -> None:
    identity, role = bearer
    if rules and _check(rules, role, identity, **claims) is not None:
        assert _check((*rules[:place], deny, *rules[place:]), role, identity, **claims) is not None


@unhurried
@given(conditions, claim_objects, names, names)
def test_whatever_an_allow_rule_allows_the_same_rule_denies(
    said: dict[str, Any], claims: dict[str, Any], identity: str, role: str
) -> None:
    if role and _fits(_rule(**said), role, identity, **claims):
        assert _fits(_deny(**said), role, identity, **claims)


def test_an_expression_that_takes_others_for_ever_decides_at_once() -> None:
    rule = _rule("owner", identity_regex="(a+)+$", claim=("groups",), value_regex="(x+x+)+y")
    assert not _fits(rule, identity="a" * 255 + "!", groups=["x" * 256] * 50)
    assert not _fits(rule, identity="a" * 256, groups=["x" * 256] * 50)
