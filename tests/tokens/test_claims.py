from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pgoauthd.tokens.claims import check_claims, check_issuer, kept_claims
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import KeptClaims, Refusal
from tests.fix_tokens import AUDIENCE, DROP, ISSUER, good_claims
from tests.tokens.case import POLICY
from tests.tokens.through_core import NOW

STRICT = msgspec.structs.replace(POLICY, leeway=0.0, max_lifetime=300.0)


def _check(now: float = NOW, **claims: object) -> Reason | None:
    refusal = check_claims(good_claims(NOW, **claims), STRICT, now)
    return refusal.reason if refusal else None


def _message(**claims: object) -> str:
    refusal = check_claims(good_claims(NOW, **claims), POLICY, NOW)
    assert isinstance(refusal, Refusal)
    return refusal.message


@pytest.mark.parametrize(
    ("now", "reason"), [(NOW + 9.999, None), (NOW + 10, Reason.EXPIRED), (NOW + 11, Reason.EXPIRED)]
)
def test_a_token_is_expired_from_the_second_of_its_exp_on(now: float, reason: Reason | None) -> None:
    assert _check(now, exp=NOW + 10) is reason


@pytest.mark.parametrize(("now", "reason"), [(NOW + 4.999, Reason.NOT_YET_VALID), (NOW + 5, None)])
def test_a_token_is_valid_from_the_second_of_its_nbf_on(now: float, reason: Reason | None) -> None:
    assert _check(now, nbf=NOW + 5, exp=NOW + 100) is reason


@pytest.mark.parametrize(("iat", "reason"), [(NOW + 0.001, Reason.ISSUED_IN_FUTURE), (NOW, None)])
def test_a_token_is_not_issued_after_now(iat: float, reason: Reason | None) -> None:
    assert _check(iat=iat, exp=NOW + 100) is reason


@pytest.mark.parametrize(("exp", "reason"), [(NOW + 200, None), (NOW + 200.5, Reason.LIFETIME_TOO_LONG)])
def test_a_token_lives_no_longer_than_allowed_from_its_issue(exp: float, reason: Reason | None) -> None:
    assert _check(iat=NOW - 100, exp=exp) is reason


@pytest.mark.parametrize(("exp", "reason"), [(NOW + 300, None), (NOW + 300.5, Reason.LIFETIME_TOO_LONG)])
def test_without_iat_a_token_lives_no_longer_than_allowed_from_now(exp: float, reason: Reason | None) -> None:
    assert _check(iat=DROP, exp=exp) is reason


@pytest.mark.parametrize(
    ("claims", "within", "beyond"),
    [
        ("exp", -29.9, -30.0),
        ("nbf", 30.0, 30.1),
        ("iat", 30.0, 30.1),
    ],
)
def test_the_leeway_is_given_on_both_sides(claims: str, within: float, beyond: float) -> None:
    assert check_claims(good_claims(NOW, **{claims: NOW + within}), POLICY, NOW) is None
    assert check_claims(good_claims(NOW, **{claims: NOW + beyond}), POLICY, NOW) is not None


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ({"exp": NOW - 90}, "the token expired 90 s ago; the leeway is 30 s"),
        ({"nbf": NOW + 90}, "the token is valid in 90 s (nbf)"),
        ({"iat": NOW + 90}, "the token was issued 90 s in the future (iat)"),
        ({"exp": NOW + 90_000, "iat": NOW}, "the token lives for 90000 s; allowed are 86400 s"),
        ({"exp": "soon"}, "the token's exp is a string; expected seconds since the epoch"),
        ({"aud": "account"}, "the token's aud is 'account'; expected is one of 'pg-cluster', 'pg-reporting'"),
        ({"aud": DROP}, "the token has no aud; expected is one of 'pg-cluster', 'pg-reporting'"),
        (
            {"typ": "ID"},
            "the token is not an access token: typ is 'ID'; expected 'bearer', 'dpop', 'access', 'at+jwt', 'jwt'",
        ),
    ],
)
def test_a_message_says_what_was_found_and_what_was_expected(claims: dict[str, Any], message: str) -> None:
    assert _message(**claims) == message


def test_a_message_names_only_the_first_audiences() -> None:
    message = _message(aud=[f"a{i}" for i in range(300)])
    assert "'a4' and 295 more" in message


def test_a_message_only_describes_what_is_long_or_unprintable() -> None:
    message = _message(aud=["x" * 101, "a\nb"])
    assert "(a value of 101 characters, not shown), (a value of 3 characters, not shown)" in message


@pytest.mark.parametrize(
    ("issuer", "reason"),
    [
        (ISSUER, None),
        (DROP, Reason.ISSUER_MISSING),
        (ISSUER + "/", Reason.ISSUER_MISMATCH),
        (None, Reason.ISSUER_MISMATCH),
    ],
)
def test_the_issuer_is_compared_exactly(issuer: object, reason: Reason | None) -> None:
    refusal = check_issuer(good_claims(NOW, iss=issuer), POLICY)
    assert (refusal.reason if refusal else None) is reason


def test_kept_are_the_claims_that_explain_a_login() -> None:
    claims = good_claims(NOW, auth_time=NOW - 100, email="alice@id.example", aud=[AUDIENCE, "account"])
    assert kept_claims(claims, ("postgres", "profile")) == KeptClaims(
        iss=ISSUER,
        sub="alice",
        aud=(AUDIENCE, "account"),
        client_id="psql",
        scope=("postgres", "profile"),
        jti="0d5ee2b2",
        iat=NOW - 10,
        exp=NOW + 300,
        auth_time=NOW - 100,
    )


@pytest.mark.parametrize(
    ("clients", "kept"),
    [
        ({"azp": "a", "client_id": "b", "appid": "c"}, "a"),
        ({"client_id": "b", "appid": "c"}, "b"),
        ({"appid": "c"}, "c"),
        ({"azp": 1, "client_id": "b"}, "b"),
        ({"azp": "a\n", "client_id": ["b"]}, None),
    ],
)
def test_kept_is_the_first_well_formed_client(clients: dict[str, Any], kept: str | None) -> None:
    assert kept_claims(clients, ()).client_id == kept


@pytest.mark.parametrize("name", ["iss", "sub", "jti", "azp"])
@pytest.mark.parametrize("value", [1, None, True, ["a"], {"a": "b"}, "a\0", "a\nb", "\u202ea", "\ud800", "é" * 129])
def test_a_malformed_text_is_not_kept(name: str, value: object) -> None:
    assert kept_claims({name: value}, ()) == KeptClaims()


def test_times_end_with_the_year_9999() -> None:
    assert kept_claims({"exp": 253_402_300_799}, ()).exp == 253_402_300_799.0
    assert kept_claims({"exp": 253_402_300_800}, ()).exp is None


def test_a_text_of_256_bytes_is_kept_and_one_of_257_is_not() -> None:
    assert kept_claims({"sub": "a" * 256, "jti": "a" * 257}, ()) == KeptClaims(sub="a" * 256)


@pytest.mark.parametrize("name", ["iat", "exp", "auth_time"])
@pytest.mark.parametrize("value", ["1", None, True, [1], -1, 1e308, 10**400, float("nan"), float("inf")])
def test_a_malformed_time_is_not_kept(name: str, value: object) -> None:
    assert kept_claims({name: value}, ()) == KeptClaims()


def test_kept_lists_are_bounded_and_lose_what_is_malformed() -> None:
    kept = kept_claims({"aud": [f"a{i}" for i in range(100)]}, ("good", "b\nad", *(f"s{i}" for i in range(100))))
    assert (len(kept.aud), len(kept.scope), kept.scope[:2]) == (20, 49, ("good", "s0"))


@pytest.mark.parametrize("audience", [1, ["a", 1], {"a": 1}, None])
def test_a_malformed_audience_is_not_kept(audience: object) -> None:
    assert kept_claims({"aud": audience}, ()).aud == ()
