from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgoauthd.tokens import merging
from pgoauthd.tokens.bearer import UnverifiedToken
from pgoauthd.tokens.introspection import Members
from pgoauthd.tokens.issuers import ClaimPath
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import Refusal

GUARDED = ("iss", "sub", "jti", "azp", "client_id", "appid", "cid", "typ", "token_use", "events", "cnf")


def _token(**claims: Any) -> UnverifiedToken:  # noqa: ANN401 - any claim
    return UnverifiedToken("ES256", "ec", "at+jwt", {}, claims, None, b"", b"")


def merge(
    token: UnverifiedToken, answer: Members, scope_claims: tuple[ClaimPath, ...] = (("scope",), ("scp",))
) -> Members | Refusal:
    return merging.merge(token, answer, scope_claims)


def _refused(merged: Members | Refusal) -> str:
    assert isinstance(merged, Refusal), merged
    assert merged.reason is Reason.INTROSPECTION_MISMATCH
    return merged.message


def test_an_answer_adds_and_wins() -> None:
    assert merge(_token(sid="a", acr="0"), {"active": True, "acr": "1", "aud": "x"}) == {
        "active": True,
        "sid": "a",
        "acr": "1",
        "aud": "x",
    }


@pytest.mark.parametrize("name", GUARDED)
def test_what_says_whose_and_which_token_it_is_must_be_the_same(name: str) -> None:
    assert f"answer's {name} is 'b'; the token's is 'a'" in _refused(merge(_token(**{name: "a"}), {name: "b"}))
    assert f"answer's {name} is null; the token's is 'a'" in _refused(merge(_token(**{name: "a"}), {name: None}))
    assert merge(_token(**{name: "a"}), {name: "a"}) == {name: "a"}


@pytest.mark.parametrize("name", GUARDED)
def test_what_only_one_of_both_says_stays(name: str) -> None:
    assert merge(_token(**{name: "a"}), {}) == merge(_token(), {name: "a"}) == {name: "a"}


@pytest.mark.parametrize(
    ("own", "other", "good"),
    [
        (100, 100, True),
        (100, 100.0, True),
        (100, 99.5, True),
        (100, 100.5, False),
        (100, "100", False),
        ("100", "100", False),
        (True, 0, False),
        (100, None, False),
        (100, -(10**400), False),
    ],
)
def test_the_answer_never_lets_a_token_live_longer(own: object, other: object, good: bool) -> None:
    assert isinstance(merge(_token(exp=own), {"exp": other}), dict) is good


@pytest.mark.parametrize(
    ("own", "other", "good"),
    [
        ("a", "a", True),
        ("a", ["b", "a"], True),
        (["a", "b"], "b", True),
        ([], "a", True),
        ("a", [], True),
        ("a", "b", False),
        (["a", "b"], ["c"], False),
        ("a", 1, False),
        (1, "a", False),
        (None, "a", False),
        (["a", 1], "a", False),
    ],
)
def test_one_audience_at_least_must_be_in_both(own: object, other: object, good: bool) -> None:
    assert isinstance(merge(_token(aud=own), {"aud": other}), dict) is good


@pytest.mark.parametrize(
    ("own", "other", "good"),
    [
        ({"azp": "psql"}, {"client_id": "psql"}, True),
        ({"cid": "psql"}, {"client_id": "psql"}, True),
        ({"azp": "psql", "client_id": "x"}, {"client_id": "x"}, True),
        ({"azp": "psql"}, {"client_id": "x"}, False),
        ({"appid": "psql"}, {"azp": "x", "client_id": "y"}, False),
    ],
)
def test_the_client_is_the_same_under_whatever_name(own: dict[str, Any], other: dict[str, Any], good: bool) -> None:
    assert isinstance(merge(_token(**own), other), dict) is good


def test_the_scopes_of_an_answer_replace_those_of_the_token_under_all_their_names() -> None:
    token = _token(scope="a", scp=["b"], access={"scopes": ["c"], "level": 1})
    paths = (("scope",), ("scp",), ("access", "scopes"))
    assert merge(token, {"scp": []}, paths) == {"access": {"level": 1}, "scp": []}
    assert merge(token, {"access": {"scopes": ["d"]}}, paths) == {"access": {"scopes": ["d"]}}


def test_the_scopes_of_the_token_stay_where_the_answer_has_none() -> None:
    assert merge(_token(scope="a", scp=["b"]), {"sub": "x"}) == {"scope": "a", "scp": ["b"], "sub": "x"}


def test_the_token_itself_is_left_as_it_is() -> None:
    token = _token(scope="a", access={"scopes": ["c"]})
    merge(token, {"scope": "b"}, (("scope",), ("access", "scopes")))
    assert token.claims == {"scope": "a", "access": {"scopes": ["c"]}}


def test_a_message_shows_no_value_that_is_long_or_does_not_print() -> None:
    message = _refused(merge(_token(sub="a" * 200), {"sub": "b\n"}))
    assert message.isprintable()
    assert len(message) < 200


values = st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.lists(st.text(max_size=2), max_size=2)
members = st.dictionaries(st.sampled_from([*GUARDED, "exp", "aud", "scope", "scp", "x"]), values, max_size=6)


@given(members, members)
def test_nothing_that_guards_a_token_is_lost_or_changed_by_merging(
    claims: dict[str, Any], answer: dict[str, Any]
) -> None:
    merged = merge(_token(**claims), answer)
    if isinstance(merged, Refusal):
        assert merged.message.isprintable()
        return
    for name in GUARDED:
        for said in (claims, answer):
            assert name not in said or merged[name] == said[name]
