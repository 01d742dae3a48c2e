"""The claims of a verified token: are they those of a token for us? And which are worth keeping.

It never looks at a signature, and judges neither scope nor identity; `tokenuse` knows the kinds of tokens, and `times`
when one is good.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pgoauthd.tokens.claimpaths import ABSENT, find_claim, write_path
from pgoauthd.tokens.issuers import IssuerPolicy, RequiredClaim
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.times import check_times, read_time, read_times
from pgoauthd.tokens.tokenuse import check_use
from pgoauthd.tokens.verdict import KeptClaims, Refusal
from pgoauthd.tokens.wording import kind, listed, quoted

MAX_KEPT_BYTES = 256
MAX_KEPT_AUDIENCES = 20
MAX_KEPT_SCOPES = 50

CLIENT_CLAIMS = ("azp", "client_id", "appid", "cid")
"""The client in the words of OpenID Connect, RFC 9068, Microsoft and Okta."""


def check_claims(claims: Mapping[str, Any], policy: IssuerPolicy, optional: Collection[str] = ()) -> Refusal | None:
    """None if this is a token for one of the policy's audiences, bound to nothing and with all required claims.

    Refused with audience_missing, audience_mismatch, sender_constrained, claim_mismatch, claim_invalid (a claim of the
    wrong type). `optional` may have aud: no refusal where no audience claim is there at all.
    """
    return (
        _check_audience(claims, policy, optional)
        or _check_binding(claims, policy)
        or _check_required(claims, policy.required_claims)
    )


def check_lasting_claims(claims: Mapping[str, Any], policy: IssuerPolicy, now: float) -> Refusal | None:
    """None if nothing that these claims say is a reason to refuse, whatever an introspection answer may add to them.

    Their use, times and binding are checked; exp may be missing, and audience and required claims are for the answer
    to tell.
    """
    times = check_use(claims, id_tokens=policy.accept_id_tokens) or read_times(claims, optional=("exp",))
    return times if isinstance(times, Refusal) else check_times(times, policy, now) or _check_binding(claims, policy)


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


def audiences(value: object) -> tuple[str, ...]:
    """The strings of an audience claim; nothing if any part of it is not a string."""
    values: list[Any] = value if isinstance(value, list) else [value]
    return tuple(values) if all(isinstance(one, str) for one in values) else ()


def kept_claims(claims: Mapping[str, Any], scopes: Sequence[str]) -> KeptClaims:
    """The claims that explain a login, of a token whose signature was verified; what is malformed is left out."""
    clients = (_text(claims.get(name)) for name in CLIENT_CLAIMS)
    return KeptClaims(
        iss=_text(claims.get("iss")),
        sub=_text(claims.get("sub")),
        aud=_texts(audiences(claims.get("aud")), MAX_KEPT_AUDIENCES),
        client_id=next((client for client in clients if client is not None), None),
        scope=_texts(scopes, MAX_KEPT_SCOPES),
        jti=_text(claims.get("jti")),
        iat=read_time(claims.get("iat")),
        exp=read_time(claims.get("exp")),
        auth_time=read_time(claims.get("auth_time")),
    )


def check_line_audience(claims: Mapping[str, Any], audience: str, policy: IssuerPolicy) -> Refusal | None:
    """None if the token is for the audience that a line of pg_hba.conf demands beside those of the policy.

    Refused with audience_missing, audience_mismatch, claim_invalid: a token whose policy lets it have no audience, too.
    """
    refusal = _find_audience(claims, policy, (audience,))
    if refusal is None:
        return None
    return Refusal(refusal.reason, f"{refusal.message}, which validator.audience of the line of pg_hba.conf demands")


def _check_audience(claims: Mapping[str, Any], policy: IssuerPolicy, optional: Collection[str]) -> Refusal | None:
    if "aud" in optional and all(find_claim(claims, path) is ABSENT for path in policy.audience_claims):
        return None
    return _find_audience(claims, policy, policy.audiences)


def _find_audience(claims: Mapping[str, Any], policy: IssuerPolicy, expected: Sequence[str]) -> Refusal | None:
    """RFC 7519 section 4.1.3, RFC 9068 section 4: one string or several, one of them expected.

    Only the first audience claim that is there counts: the next must not help a token that is for somebody else.
    """
    for path in policy.audience_claims:
        value = find_claim(claims, path)
        if value is not ABSENT:
            return _check_audiences(write_path(path), value, expected)
    return _no_audience([write_path(path) for path in policy.audience_claims], expected)


def _check_audiences(name: str, value: object, expected: Sequence[str]) -> Refusal | None:
    if value == []:
        return _no_audience([name], expected)
    found = audiences(value)
    if not found:
        return Refusal(
            Reason.CLAIM_INVALID, f"the token's {name} is {kind(value)}; expected a string or an array of strings"
        )
    if set(found).isdisjoint(expected):
        return Refusal(
            Reason.AUDIENCE_MISMATCH,
            f"the token's {name} is {listed(found)}; expected is one of {listed(expected)}",
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


def _check_binding(claims: Mapping[str, Any], policy: IssuerPolicy) -> Refusal | None:
    """RFC 7800, RFC 8705 section 3, RFC 9449 section 6: whoever cannot see the proof must not take the token."""
    if policy.accept_sender_constrained or "cnf" not in claims:
        return None
    return Refusal(Reason.SENDER_CONSTRAINED, "the token has cnf, so it is bound to a key or certificate of its sender")


def _words(value: object) -> tuple[str, ...]:
    """The strings, and booleans as JSON writes them, that a claim is or, as an array, holds."""
    values: list[Any] = value if isinstance(value, list) else [value]
    return tuple(one if isinstance(one, str) else str(one).lower() for one in values if isinstance(one, str | bool))


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
