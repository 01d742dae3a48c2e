"""When a token is good: the times that its claims give, held against `now`; never asks a clock."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from pgoauthd.tokens.issuers import IssuerPolicy
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import Refusal
from pgoauthd.tokens.wording import kind

MAX_TIME = 253_402_300_800.0
"""The year 10000: times beyond are no times."""


class Times(msgspec.Struct, frozen=True, gc=False):
    """Of RFC 7519 sections 4.1.4 to 4.1.6, in seconds since the epoch; None where a claim is not there."""

    exp: float | None
    nbf: float | None
    iat: float | None


def read_times(claims: Mapping[str, Any], optional: Collection[str] = ()) -> Times | Refusal:
    """The times of a token; claim_invalid where one is none, expiry_missing without exp unless it is `optional`."""
    for name in Times.__struct_fields__:
        if name in claims and read_time(claims[name]) is None:
            expected = "expected seconds since the epoch"
            return Refusal(Reason.CLAIM_INVALID, f"the token's {name} is {kind(claims[name])}; {expected}")
    if "exp" not in claims and "exp" not in optional:
        return Refusal(Reason.EXPIRY_MISSING, "the token has no exp")
    return Times(*(read_time(claims.get(name)) for name in Times.__struct_fields__))


def check_times(times: Times, policy: IssuerPolicy, now: float) -> Refusal | None:
    """None if a token with these times is good at `now`; the leeway is for clocks that differ.

    Refused with expired, not_yet_valid, issued_in_future or lifetime_too_long.
    """
    exp, nbf, iat, leeway = times.exp, times.nbf, times.iat, policy.leeway
    if exp is not None and now >= exp + leeway:
        return Refusal(Reason.EXPIRED, f"the token expired {_seconds(now - exp)} ago; the leeway is {leeway:g} s")
    if nbf is not None and now < nbf - leeway:
        return Refusal(Reason.NOT_YET_VALID, f"the token is valid in {_seconds(nbf - now)} (nbf)")
    if iat is not None and now < iat - leeway:
        return Refusal(Reason.ISSUED_IN_FUTURE, f"the token was issued {_seconds(iat - now)} in the future (iat)")
    lifetime = 0.0 if exp is None else exp - now - leeway if iat is None else exp - iat
    if lifetime > policy.max_lifetime:
        return Refusal(
            Reason.LIFETIME_TOO_LONG,
            f"the token lives for {_seconds(lifetime)}; allowed are {_seconds(policy.max_lifetime)}",
        )
    return None


def read_time(value: object) -> float | None:
    """A NumericDate (RFC 7519 section 2) between 1970 and the year 10000, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < MAX_TIME else None


def _seconds(duration: float) -> str:
    return f"{math.ceil(duration)} s"
