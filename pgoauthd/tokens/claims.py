"""The claims of a verified token: are they those of a token for us, now? And which are worth keeping.

It never looks at a signature, and judges neither scope nor identity; `tokenuse` knows the kinds of tokens.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pgoauthd.tokens.claimpaths import ABSENT, find_claim, write_path
from pgoauthd.tokens.issuers import IssuerPolicy, RequiredClaim
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.tokenuse import check_use
from pgoauthd.tokens.verdict import KeptClaims, Refusal
from pgoauthd.tokens.wording import kind, listed, quoted

MAX_TIME = 253_402_300_800.0
"""The year 10000: times beyond are no times."""
MAX_KEPT_BYTES = 256
MAX_KEPT_AUDIENCES = 20
MAX_KEPT_SCOPES = 50

_CLIENT_CLAIMS = ("azp", "client_id", "appid", "cid")
"""Of OpenID Connect, RFC 9068, Microsoft and Okta."""


def check_claims(
    claims: Mapping[str, Any], policy: IssuerPolicy, now: float, optional: Collection[str] = ()
) -> Refusal | None:
    """None if this is a token for one of the policy's audiences and as it demands, good at `now` (seconds, epoch).

    Refused with token_use_forbidden, expiry_missing, expired, not_yet_valid, issued_in_future, lifetime_too_long,
    audience_missing, audience_mismatch, sender_constrained, claim_mismatch, claim_invalid (a claim of the wrong type).
    `optional` may have exp and aud: no refusal where they are not there at all.
    """
    return (
        check_use(claims, id_tokens=policy.accept_id_tokens)
        or _check_times(claims, policy, now, optional)
        or _check_audience(claims, policy, optional)
        or (None if policy.accept_sender_constrained else _check_binding(claims))
        or _check_required(claims, policy.required_claims)
    )


def check_lasting_claims(claims: Mapping[str, Any], policy: IssuerPolicy, now: float) -> Refusal | None:
    """None if nothing that these claims say is a reason to refuse, whatever an introspection answer may add to them.

    Their use, times and binding are checked as by `check_claims`; exp may be missing, and audience and required claims
    are for the answer to tell.
    """
    return (
        check_use(claims, id_tokens=policy.accept_id_tokens)
        or _check_times(claims, policy, now, ("exp",))
        or (None if policy.accept_sender_constrained else _check_binding(claims))
    )


def check_issuer(claims: Mapping[str, Any], policy: IssuerPolicy) -> Refusal | None:
    """None if `iss` is exactly the policy's issuer (RFC 9068 section 4) or one of its `token_issuers`.

    Refused with issuer_missing or issuer_mismatch.
    """
    allowed = (policy.issuer, *policy.token_issuers)
    if "iss" not in claims:
        return Refusal(Reason.ISSUER_MISSING, f"the token has no iss; {_expected(allowed)}")
    issuer = claims["iss"]
    if isinstance(issuer, str) and issuer in allowed:
        return None
    found = quoted(issuer) if isinstance(issuer, str) else kind(issuer)
    return Refusal(Reason.ISSUER_MISMATCH, f"the token's iss is {found}; {_expected(allowed)}")


def kept_claims(claims: Mapping[str, Any], scopes: Sequence[str]) -> KeptClaims:
    """The claims that explain a login, of a token whose signature was verified; what is malformed is left out."""
    clients = (_text(claims.get(name)) for name in _CLIENT_CLAIMS)
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


def _check_times(
    claims: Mapping[str, Any], policy: IssuerPolicy, now: float, optional: Collection[str]
) -> Refusal | None:
    """RFC 7519 sections 4.1.4 to 4.1.6; the leeway is for clocks that differ."""
    times = {name: _time(claims[name]) for name in ("exp", "nbf", "iat") if name in claims}
    for name, time in times.items():
        if time is None:
            return _invalid(name, claims[name], "seconds since the epoch")
    exp, nbf, iat = times.get("exp"), times.get("nbf"), times.get("iat")
    if exp is None and "exp" not in optional:
        return Refusal(Reason.EXPIRY_MISSING, "the token has no exp")
    if exp is not None and now >= exp + policy.leeway:
        return Refusal(
            Reason.EXPIRED, f"the token expired {_seconds(now - exp)} ago; the leeway is {policy.leeway:g} s"
        )
    if nbf is not None and now < nbf - policy.leeway:
        return Refusal(Reason.NOT_YET_VALID, f"the token is valid in {_seconds(nbf - now)} (nbf)")
    if iat is not None and now < iat - policy.leeway:
        return Refusal(Reason.ISSUED_IN_FUTURE, f"the token was issued {_seconds(iat - now)} in the future (iat)")
    lifetime = 0.0 if exp is None else exp - now - policy.leeway if iat is None else exp - iat
    if lifetime > policy.max_lifetime:
        return Refusal(
            Reason.LIFETIME_TOO_LONG,
            f"the token lives for {_seconds(lifetime)}; allowed are {_seconds(policy.max_lifetime)}",
        )
    return None


def _check_audience(claims: Mapping[str, Any], policy: IssuerPolicy, optional: Collection[str]) -> Refusal | None:
    """RFC 7519 section 4.1.3, RFC 9068 section 4: one string or several, one of them ours.

    Only the first audience claim that is there counts: the next must not help a token that is for somebody else.
    """
    for path in policy.audience_claims:
        value = find_claim(claims, path)
        if value is not ABSENT:
            return _check_audiences(write_path(path), value, policy.audiences)
    if "aud" in optional:
        return None
    return _no_audience([write_path(path) for path in policy.audience_claims], policy.audiences)


def _check_audiences(name: str, value: object, expected: Sequence[str]) -> Refusal | None:
    if value == []:
        return _no_audience([name], expected)
    audiences = _audiences(value)
    if not audiences:
        return _invalid(name, value, "a string or an array of strings")
    if set(audiences).isdisjoint(expected):
        return Refusal(
            Reason.AUDIENCE_MISMATCH,
            f"the token's {name} is {listed(audiences)}; expected is one of {listed(expected)}",
        )
    return None


def _no_audience(names: Sequence[str], expected: Sequence[str]) -> Refusal:
    return Refusal(
        Reason.AUDIENCE_MISSING, f"the token has no {' or '.join(names)}; expected is one of {listed(expected)}"
    )


def _check_required(claims: Mapping[str, Any], required: Sequence[RequiredClaim]) -> Refusal | None:
    """Every one of them is there and is, or as an array holds, one of its values."""
    for claim in required:
        value = find_claim(claims, claim.path)
        if set(_words(value)).isdisjoint(claim.values):
            found = "missing" if value is ABSENT else _found(value)
            return Refusal(
                Reason.CLAIM_MISMATCH, f"the token's {write_path(claim.path)} is {found}; {_expected(claim.values)}"
            )
    return None


def _check_binding(claims: Mapping[str, Any]) -> Refusal | None:
    """RFC 7800, RFC 8705 section 3, RFC 9449 section 6: whoever cannot see the proof must not take the token."""
    if "cnf" not in claims:
        return None
    return Refusal(Reason.SENDER_CONSTRAINED, "the token has cnf, so it is bound to a key or certificate of its sender")


def _words(value: object) -> tuple[str, ...]:
    """The strings, and booleans as JSON writes them, that a claim is or, as an array, holds."""
    values: list[Any] = value if isinstance(value, list) else [value]
    return tuple(one if isinstance(one, str) else str(one).lower() for one in values if isinstance(one, str | bool))


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


def _found(value: object) -> str:
    words = _words(value)
    if not words:
        return kind(value)
    if isinstance(value, bool):
        return words[0]
    return f"an array of {listed(words)}" if isinstance(value, list) else listed(words)


def _expected(values: Sequence[str]) -> str:
    return f"expected {'is one of ' if len(values) > 1 else ''}{listed(values)}"


def _invalid(name: str, value: object, expected: str) -> Refusal:
    return Refusal(Reason.CLAIM_INVALID, f"the token's {name} is {kind(value)}; expected {expected}")
