from __future__ import annotations

import msgspec
import pytest

from pgoauthd.tokens.issuers import IssuerPolicy
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.times import Times, check_times, read_times
from pgoauthd.tokens.verdict import Refusal
from tests.fix_tokens import DROP, good_claims
from tests.tokens.case import POLICY
from tests.tokens.through_core import NOW

STRICT = msgspec.structs.replace(POLICY, leeway=0.0, max_lifetime=300.0)


def _refusal(policy: IssuerPolicy, now: float, **claims: object) -> Refusal | None:
    times = read_times(good_claims(NOW, **claims))
    return times if isinstance(times, Refusal) else check_times(times, policy, now)


def _check(now: float = NOW, **claims: object) -> Reason | None:
    refusal = _refusal(STRICT, now, **claims)
    return refusal.reason if refusal else None


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
    assert _refusal(POLICY, NOW, **{claims: NOW + within}) is None
    assert _refusal(POLICY, NOW, **{claims: NOW + beyond}) is not None


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", [None, True, "1", [1], {}, -1, 253_402_300_800, 10**400])
def test_what_is_no_time_is_refused(name: str, value: object) -> None:
    refusal = read_times(good_claims(NOW, **{name: value}), optional=("exp",))
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.CLAIM_INVALID
    assert f"the token's {name} is " in refusal.message


def test_only_exp_must_be_there() -> None:
    assert _check(nbf=DROP, iat=DROP, exp=NOW + 1) is None
    assert _check(exp=DROP) is Reason.EXPIRY_MISSING


def test_exp_may_be_missing_where_that_is_said() -> None:
    assert read_times({}, optional=("aud", "exp")) == Times(None, None, None)
    assert check_times(Times(None, None, None), STRICT, NOW) is None
