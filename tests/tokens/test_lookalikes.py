from __future__ import annotations

import msgspec
import pytest

from pgoauthd.tokens.identity import check_delegation, find_identity
from pgoauthd.tokens.issuers import RoleRule
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import Refusal
from tests.tokens.case import POLICY


@pytest.mark.parametrize("mark", ["\ufffd", "\u3164", "\u2800", "\u115f", "\u034f", "\ufe0f", "\u180b", "\U000e0100"])
def test_an_identity_that_does_not_show_what_it_is_is_refused(mark: str) -> None:
    found = find_identity({"sub": f"ali{mark}ce"}, (("sub",),))
    assert isinstance(found, Refusal)
    assert found.reason is Reason.IDENTITY_INVALID


@pytest.mark.parametrize("name", ["données", "Ольга", "李雷", "o'brien@example.org", "a b"])
def test_an_identity_in_any_script_is_taken(name: str) -> None:
    assert find_identity({"sub": name}, (("sub",),)) == name


def test_a_role_whose_bytes_were_replaced_is_never_delegated() -> None:
    role = "r\ufffdle"
    policy = msgspec.structs.replace(POLICY, role_rules=(RoleRule(roles=(role,), identity="alice"),))
    for identity in (role, "alice"):
        refused = check_delegation({}, identity, role, policy)
        assert refused is not None
        assert refused.reason is Reason.DELEGATION_REFUSED
