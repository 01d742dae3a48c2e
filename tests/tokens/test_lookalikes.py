from __future__ import annotations

import msgspec
import pytest

from pgoauthd.tokens.identity import find_identity
from pgoauthd.tokens.issuers import RoleRule
from pgoauthd.tokens.linearregex import LinearRegex
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.rolerules import check_delegation
from pgoauthd.tokens.verdict import Refusal
from tests.tokens.case import POLICY

KELVIN = "\u212a"
LONG_S = "\u017f"


@pytest.mark.parametrize("mark", ["\ufffd", "\u3164", "\u2800", "\u115f", "\u034f", "\ufe0f", "\u180b", "\U000e0100"])
def test_an_identity_that_does_not_show_what_it_is_is_refused(mark: str) -> None:
    found = find_identity({"sub": f"ali{mark}ce"}, POLICY)
    assert isinstance(found, Refusal)
    assert found.reason is Reason.IDENTITY_INVALID


@pytest.mark.parametrize("name", ["données", "Ольга", "李雷", "o'brien@example.org", "a b"])
def test_an_identity_in_any_script_is_taken(name: str) -> None:
    assert find_identity({"sub": name}, POLICY) == name


@pytest.mark.parametrize(
    "rules",
    [
        (),
        (RoleRule(roles=("r\ufffdle",), identity="alice"),),
        (RoleRule(roles_regex=LinearRegex(".*"), identity="alice"),),
        (RoleRule(roles=("\\0",), identity_regex=LinearRegex(".*")),),
        (RoleRule(roles_regex=LinearRegex(".*"), identity_regex=LinearRegex(".*")),),
    ],
)
def test_a_role_whose_bytes_were_replaced_is_never_delegated(rules: tuple[RoleRule, ...]) -> None:
    role = "r\ufffdle"
    policy = msgspec.structs.replace(POLICY, role_rules=rules)
    for identity in (role, "alice"):
        assert check_delegation({}, identity, role, policy) == Refusal(
            Reason.DELEGATION_REFUSED,
            f"the identity '{identity}' may not be the role 'r\ufffdle': "
            "its name has bytes that were no UTF-8, so it may look like another",
        )


def _roles(rule: RoleRule, identity: str, **claims: object) -> bool:
    policy = msgspec.structs.replace(POLICY, role_rules=(rule,))
    return check_delegation(claims, identity, "owner", policy) is None


@pytest.mark.parametrize(("name", "lookalike"), [("kirk", f"{KELVIN}irk"), ("sam", f"{LONG_S}am")])
def test_an_expression_that_ignores_case_takes_no_letter_for_another(name: str, lookalike: str) -> None:
    regex = LinearRegex(f"(?i){name}")
    assert regex.match_whole(lookalike) is not None
    by_identity = RoleRule(roles=("owner",), identity_regex=regex)
    by_claim = RoleRule(roles=("owner",), claim=("groups",), value_regex=regex)
    assert _roles(by_identity, name.upper())
    assert not _roles(by_identity, lookalike)
    assert _roles(by_claim, "alice", groups=[name.upper()])
    assert not _roles(by_claim, "alice", groups=[lookalike])


def test_a_rule_that_denies_still_takes_them_for_the_same() -> None:
    deny = RoleRule(allow=False, roles=("owner",), identity_regex=LinearRegex("(?i)kirk"))
    allow = RoleRule(roles=("owner",), identity_regex=LinearRegex(".*"))
    policy = msgspec.structs.replace(POLICY, role_rules=(deny, allow))
    refused = check_delegation({}, f"{KELVIN}irk", "owner", policy)
    assert refused is not None
    assert refused.reason is Reason.ROLE_DENIED
