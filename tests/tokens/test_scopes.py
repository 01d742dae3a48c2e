from __future__ import annotations

import pytest

from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.scopes import check_scopes, granted_scopes
from pgoauthd.tokens.verdict import Refusal


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
        ({"roles": ["a"]}, ()),
    ],
)
def test_scopes_of_all_claims_are_granted_together(claims: dict[str, object], granted: tuple[str, ...]) -> None:
    assert granted_scopes(claims, ("scope", "scp")) == granted


@pytest.mark.parametrize("value", [1, None, True, {"a": 1}, [1], ["a", None], [["a"]]])
def test_a_scope_claim_of_another_type_is_refused(value: object) -> None:
    refusal = granted_scopes({"scope": "a", "scp": value}, ("scope", "scp"))
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.CLAIM_INVALID
    assert refusal.message.startswith("the token's scp is ")


def test_nothing_required_is_always_granted() -> None:
    assert check_scopes((), ()) is None


def test_all_that_is_required_must_be_granted() -> None:
    assert check_scopes(("a", "b", "c"), ("c", "a", "a")) is None


def test_the_missing_scopes_are_named_once_each_in_order() -> None:
    refusal = check_scopes(("b",), ("a", "b", "c", "a"))
    assert refusal == Refusal(Reason.SCOPE_MISSING, "the token lacks 'a', 'c'; it has 'b'")


def test_a_token_without_scopes_is_said_to_have_nothing() -> None:
    refusal = check_scopes((), ("a",))
    assert refusal == Refusal(Reason.SCOPE_MISSING, "the token lacks 'a'; it has nothing")
