from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgoauthd.tokens.bearer import BearerToken, UnverifiedToken, decode
from pgoauthd.tokens.introspection import check_token_type, read_answer, read_signed_answer, verify_signed_answer
from pgoauthd.tokens.judge import judge
from pgoauthd.tokens.keys import KeySet, read_key_set
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import Refusal
from tests.fix_tokens import ISSUER, mint
from tests.tokens.case import EC, REQUEST
from tests.tokens.case_introspection import CLIENT, SIGNED, good_answer, says, signed
from tests.tokens.through_core import NOW, published

POLICY = SIGNED.policy


def _signed(**changes: Any) -> UnverifiedToken:  # noqa: ANN401 - what signed() takes
    answer = read_signed_answer(signed(**changes)(NOW))
    assert isinstance(answer, UnverifiedToken)
    return answer


def _why(answer: Mapping[str, Any] | UnverifiedToken | Refusal) -> str:
    assert isinstance(answer, Refusal), answer
    return answer.message.removeprefix("the introspection answer cannot be used: ")


def test_an_answer_is_read_with_all_its_members() -> None:
    assert read_answer(says(more={"a": [1]})(NOW)) == good_answer(NOW, more={"a": [1]})


def test_a_signed_answer_gives_the_members_that_are_inside_alone() -> None:
    members = verify_signed_answer(_signed(inner={"more": 1}), POLICY, published(), NOW)
    assert members == good_answer(NOW, more=1)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "it is not JSON"),
        (b"[]", "it is not a JSON object"),
        (b"\xff", "it is not UTF-8"),
        (b'{"active": true, "active": true}', "it has a key twice"),
        (b"{}", "its active is missing; expected true or false"),
        (b'{"active": "true"}', "its active is a string; expected true or false"),
        (b'{"active": 1}', "its active is a number; expected true or false"),
    ],
)
def test_a_plain_answer_is_refused_with_what_is_wrong_with_it(body: bytes, why: str) -> None:
    assert _why(read_answer(body)) == why


def test_a_token_that_is_not_active_is_not_the_endpoints_fault() -> None:
    assert read_answer(b'{"active": false, "sub": "alice"}') == Refusal(
        Reason.TOKEN_INACTIVE, "the issuer's introspection endpoint says that the token is not active"
    )


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "the answer is empty"),
        (b'{"active": true}', "the answer has characters that a bearer token cannot have (RFC 6750)"),
        (b"e30", "the answer has no dot, so it is not a JWT"),
        (b"e30.e30.e30.e30.e30", "the answer has the five parts of an encrypted JWT (JWE)"),
        (b"e30.e30.", "the header's alg is missing; expected a string"),
        (signed(header={"typ": "JWT"})(NOW), "its header's typ is 'JWT'; expected 'token-introspection+jwt'"),
        (mint(NOW).encode(), "its header's typ is 'at+jwt'; expected 'token-introspection+jwt'"),
    ],
)
def test_a_signed_answer_is_refused_with_what_is_wrong_with_its_form(body: bytes, why: str) -> None:
    assert _why(read_signed_answer(body)) == why


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"iss": "https://e"}, f"its iss is 'https://e'; expected '{ISSUER}'"),
        ({"iss": 1}, f"its iss is a number; expected '{ISSUER}'"),
        ({"aud": "psql"}, f"its aud is a string without the client '{CLIENT}'"),
        ({"iat": "1"}, "the answer's iat is a string; expected seconds since the epoch"),
        ({"exp": None}, "the answer's exp is null; expected seconds since the epoch"),
        ({"iat": NOW + 31}, "its iat or nbf is in the future"),
        ({"nbf": NOW + 31}, "its iat or nbf is in the future"),
        ({"iat": NOW - 91}, "it is not of this moment: issued more than 90 s ago, or expired"),
        ({"exp": NOW - 31}, "it is not of this moment: issued more than 90 s ago, or expired"),
        ({"header": {"kid": "nobody"}}, "the issuer has no key 'nobody'"),
        ({"header": {"kid": "rsa-2"}}, "the key 'rsa-2' is for RS256; the answer says 'ES256'"),
        (
            {"header": {"alg": "none"}},
            "its header's alg is 'none'; allowed is one of 'RS256', 'PS256', 'ES256', 'EdDSA'",
        ),
        ({"token_introspection": []}, "its token_introspection is an array, not an object"),
        ({"inner": {"active": "true"}}, "its active is a string; expected true or false"),
    ],
)
def test_a_signed_answer_is_refused_with_what_is_wrong_in_it(changes: dict[str, Any], why: str) -> None:
    assert _why(verify_signed_answer(_signed(**changes), POLICY, published(), NOW)) == why


@pytest.mark.parametrize(("age", "good"), [(-29, True), (0, True), (89, True), (91, False), (86_400, False)])
def test_an_answer_is_of_this_moment_for_a_minute_and_the_leeway(age: float, good: bool) -> None:
    members = verify_signed_answer(_signed(iat=NOW - age), POLICY, published(), NOW)
    assert isinstance(members, Refusal) is not good


def test_a_policy_without_a_client_of_its_own_accepts_no_signed_answer() -> None:
    policy = msgspec.structs.replace(POLICY, introspection_client=None)
    for audience in (CLIENT, "", None, [], [None]):
        assert isinstance(verify_signed_answer(_signed(aud=audience), policy, published(), NOW), Refusal)


def test_an_answer_whose_signature_was_tampered_with_is_refused() -> None:
    answer = _signed()
    object.__setattr__(answer, "signing_input", answer.signing_input + b" ")
    assert "signature was not made by" in _why(verify_signed_answer(answer, POLICY, published(), NOW))


def test_an_access_token_is_no_answer_even_where_it_was_read_as_one() -> None:
    token = decode(BearerToken(mint(NOW, key=EC, aud=CLIENT, token_introspection=good_answer(NOW))))
    assert isinstance(token, UnverifiedToken)
    assert "typ is 'at+jwt'" in _why(verify_signed_answer(token, POLICY, published(), NOW))


def test_an_answer_is_no_access_token_even_with_all_claims_of_one() -> None:
    claims = good_answer(NOW, client_id="psql", aud=["pg-cluster", CLIENT])
    answer = _signed(**claims)
    assert isinstance(verify_signed_answer(answer, POLICY, published(), NOW), dict)
    verdict = judge(answer, REQUEST, msgspec.structs.replace(POLICY, mode="jwt"), published(), NOW)
    assert verdict.reason is Reason.TYPE_FORBIDDEN


def test_a_key_that_signs_for_another_issuer_signs_no_answer() -> None:
    policy = msgspec.structs.replace(POLICY, pinned_key_issuers=True)
    keys = _with_key_of("https://other.example")
    assert "signs for 'https://other.example' alone" in _why(verify_signed_answer(_signed(), policy, keys, NOW))
    assert isinstance(verify_signed_answer(_signed(), policy, _with_key_of(ISSUER), NOW), dict)


def _with_key_of(issuer: str) -> KeySet:
    keys = read_key_set({"keys": [EC.jwk(issuer=issuer)]})
    assert isinstance(keys, KeySet)
    return keys


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Bearer", None),
        ("BEARER", None),
        ("DPoP", Reason.SENDER_CONSTRAINED),
        ("N_A", Reason.TOKEN_USE_FORBIDDEN),
        ("Bearer ", Reason.TOKEN_USE_FORBIDDEN),
        (True, Reason.CLAIM_INVALID),
    ],
)
def test_a_token_type_other_than_bearer_is_refused(name: object, reason: Reason | None) -> None:
    refusal = check_token_type({"token_type": name}, POLICY)
    assert (refusal.reason if refusal else None) is reason


@pytest.mark.parametrize(("name", "accepted"), [("dpop", True), ("Bearer", True), ("refresh_token", False)])
def test_a_bound_type_passes_only_where_the_policy_says_so(name: str, accepted: bool) -> None:
    policy = msgspec.structs.replace(POLICY, accept_sender_constrained=True)
    assert (check_token_type({"token_type": name}, policy) is None) is accepted


@given(st.binary())
def test_arbitrary_bytes_are_no_answer_and_never_raise(body: bytes) -> None:
    assert isinstance(read_answer(body), Refusal)
    assert isinstance(read_signed_answer(body), Refusal)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["iss", "aud", "iat", "exp", "nbf", "token_introspection", "tid"]),
        st.sampled_from([ISSUER, CLIENT, NOW, {"active": True}]) | json_values,
    )
)
def test_arbitrary_claims_rightly_signed_are_verified_without_raising(claims: dict[str, Any]) -> None:
    answer = read_signed_answer(signed(**claims)(NOW))
    if isinstance(answer, UnverifiedToken):
        members = verify_signed_answer(answer, POLICY, published(), NOW)
        assert isinstance(members, Refusal) or members["active"] is True


@given(st.dictionaries(st.sampled_from(["active", "ACTIVE", "sub"]), json_values))
def test_only_the_boolean_true_is_active(members: dict[str, Any]) -> None:
    read = read_answer(json.dumps(members).encode())
    assert isinstance(read, Refusal) is (members.get("active") is not True)
