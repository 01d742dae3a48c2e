"""The claims of a verified token: are they those of an access token for us, now? And which are worth keeping.

It never looks at a signature, and judges neither scope nor identity.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pgoauthd.tokens.issuers import IssuerPolicy
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import KeptClaims, Refusal
from pgoauthd.tokens.wording import kind, listed, quoted

MAX_TIME = 253_402_300_800.0
"""The year 10000: times beyond are no times."""
MAX_KEPT_BYTES = 256
MAX_KEPT_AUDIENCES = 20
MAX_KEPT_SCOPES = 50

_ACCESS_TOKEN_WORDS = {
    "typ": ("bearer", "dpop", "access", "at+jwt", "jwt"),
    "token_use": ("access",),
}
"""Claims with which Keycloak (typ) and Amazon Cognito (token_use) tell their kinds of tokens apart."""
_ID_TOKEN_CLAIMS = ("at_hash", "c_hash")
"""Only ID tokens have them (OpenID Connect Core 1.0 sections 3.1.3.6 and 3.3.2.11)."""
_LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
"""OpenID Connect Back-Channel Logout 1.0 section 2.4."""


def check_claims(claims: Mapping[str, Any], policy: IssuerPolicy, now: float) -> Refusal | None:
    """None if this is an access token for one of the policy's audiences, good at `now` (seconds since the epoch).

    Refused with token_use_forbidden, expiry_missing, expired, not_yet_valid, issued_in_future, lifetime_too_long,
    audience_missing, audience_mismatch, sender_constrained, claim_invalid (a claim of the wrong type).
    """
    return (
        _check_use(claims)
        or _check_times(claims, policy, now)
        or _check_audience(claims, policy.audiences)
        or _check_binding(claims)
    )


def check_issuer(claims: Mapping[str, Any], policy: IssuerPolicy) -> Refusal | None:
    """None if `iss` is exactly the policy's issuer (RFC 9068 section 4), else issuer_missing or issuer_mismatch."""
    if "iss" not in claims:
        return Refusal(Reason.ISSUER_MISSING, f"the token has no iss; expected {quoted(policy.issuer)}")
    issuer = claims["iss"]
    if issuer == policy.issuer:
        return None
    found = quoted(issuer) if isinstance(issuer, str) else kind(issuer)
    return Refusal(Reason.ISSUER_MISMATCH, f"the token's iss is {found}; expected {quoted(policy.issuer)}")


def kept_claims(claims: Mapping[str, Any], scopes: Sequence[str]) -> KeptClaims:
    """The claims that explain a login, of a token whose signature was verified; what is malformed is left out."""
    clients = (_text(claims.get(name)) for name in ("azp", "client_id", "appid"))
    return KeptClaims(
        iss=_text(claims.get("iss")),
        sub=_text(claims.get("sub")),
        aud=_texts(_audiences(claims.get("aud")), MAX_KEPT_AUDIENCES),
        client_id=next((client for client in clients if client is not None), None),
        scope=_texts(scopes, MAX_KEPT_SCOPES),
        jti=_text(claims.get("jti")),
        iat=_time(claims.get("iat")),
        exp=_time(claims.get("exp")),
        auth_time=_time(claims.get("auth_time")),
    )


def _check_use(claims: Mapping[str, Any]) -> Refusal | None:
    for name, allowed in _ACCESS_TOKEN_WORDS.items():
        use = claims.get(name, allowed[0])
        if not isinstance(use, str):
            return _invalid(name, use, "a string")
        if use.lower() not in allowed:
            return _forbidden(f"{name} is {quoted(use)}; expected {listed(allowed)}")
    for name in _ID_TOKEN_CLAIMS:
        if name in claims:
            return _forbidden(f"it has {name}, as ID tokens do")
    events = claims.get("events")
    if isinstance(events, dict) and _LOGOUT_EVENT in events:
        return _forbidden("its events are those of a logout token")
    return None


def _check_times(claims: Mapping[str, Any], policy: IssuerPolicy, now: float) -> Refusal | None:
    """RFC 7519 sections 4.1.4 to 4.1.6; the leeway is for clocks that differ."""
    times = {name: _time(claims[name]) for name in ("exp", "nbf", "iat") if name in claims}
    for name, time in times.items():
        if time is None:
            return _invalid(name, claims[name], "seconds since the epoch")
    exp, nbf, iat = times.get("exp"), times.get("nbf"), times.get("iat")
    if exp is None:
        return Refusal(Reason.EXPIRY_MISSING, "the token has no exp")
    if now >= exp + policy.leeway:
        return Refusal(
            Reason.EXPIRED, f"the token expired {_seconds(now - exp)} ago; the leeway is {policy.leeway:g} s"
        )
    if nbf is not None and now < nbf - policy.leeway:
        return Refusal(Reason.NOT_YET_VALID, f"the token is valid in {_seconds(nbf - now)} (nbf)")
    if iat is not None and now < iat - policy.leeway:
        return Refusal(Reason.ISSUED_IN_FUTURE, f"the token was issued {_seconds(iat - now)} in the future (iat)")
    lifetime = exp - now - policy.leeway if iat is None else exp - iat
    if lifetime > policy.max_lifetime:
        return Refusal(
            Reason.LIFETIME_TOO_LONG,
            f"the token lives for {_seconds(lifetime)}; allowed are {_seconds(policy.max_lifetime)}",
        )
    return None


def _check_audience(claims: Mapping[str, Any], expected: Sequence[str]) -> Refusal | None:
    """RFC 7519 section 4.1.3, RFC 9068 section 4: one string or several, one of them ours."""
    if "aud" not in claims or claims["aud"] == []:
        return Refusal(Reason.AUDIENCE_MISSING, f"the token has no aud; expected is one of {listed(expected)}")
    audiences = _audiences(claims["aud"])
    if not audiences:
        return _invalid("aud", claims["aud"], "a string or an array of strings")
    if set(audiences).isdisjoint(expected):
        return Refusal(
            Reason.AUDIENCE_MISMATCH,
            f"the token's aud is {listed(audiences)}; expected is one of {listed(expected)}",
        )
    return None


def _check_binding(claims: Mapping[str, Any]) -> Refusal | None:
    """RFC 7800, RFC 8705 section 3, RFC 9449 section 6: whoever cannot see the proof must not take the token."""
    if "cnf" not in claims:
        return None
    return Refusal(Reason.SENDER_CONSTRAINED, "the token has cnf, so it is bound to a key or certificate of its sender")


def _audiences(value: object) -> tuple[str, ...]:
    """The strings of an aud claim; nothing if any part of it is not a string."""
    values: list[Any] = value if isinstance(value, list) else [value]
    return tuple(values) if all(isinstance(one, str) for one in values) else ()


def _time(value: object) -> float | None:
    """A NumericDate (RFC 7519 section 2) between 1970 and the year 10000, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < MAX_TIME else None


def _seconds(duration: float) -> str:
    return f"{math.ceil(duration)} s"


def _text(value: object) -> str | None:
    if not isinstance(value, str) or not value.isprintable() or len(value.encode()) > MAX_KEPT_BYTES:
        return None
    return value


def _texts(values: Sequence[str], limit: int) -> tuple[str, ...]:
    return tuple(value for value in values[:limit] if _text(value) is not None)


def _forbidden(what: str) -> Refusal:
    return Refusal(Reason.TOKEN_USE_FORBIDDEN, f"the token is not an access token: {what}")


def _invalid(name: str, value: object, expected: str) -> Refusal:
    return Refusal(Reason.CLAIM_INVALID, f"the token's {name} is {kind(value)}; expected {expected}")
