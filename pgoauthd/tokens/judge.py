"""The judgement: from a decoded token, a login, a policy and keys to a Verdict. Starts from refused and never raises.

Nothing of a token is believed, kept or returned as an identity before its signature is verified.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from pgoauthd.tokens.bearer import UnverifiedToken
from pgoauthd.tokens.claims import check_claims, check_issuer, kept_claims
from pgoauthd.tokens.identity import check_delegation, find_identity
from pgoauthd.tokens.issuers import IssuerPolicy
from pgoauthd.tokens.keys import KeySet
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.scopes import check_scopes, granted_scopes
from pgoauthd.tokens.signature import check_signature
from pgoauthd.tokens.verdict import KeptClaims, LoginRequest, Refusal, Verdict
from pgoauthd.tokens.wording import quoted


def judge(token: UnverifiedToken, request: LoginRequest, policy: IssuerPolicy, keys: KeySet, now: float) -> Verdict:
    """May the bearer of this token log in? `now` in seconds since the epoch.

    Authorized only if header, issuer, key, signature, claims, scopes, identity and, where PostgreSQL delegates it, the
    role are all as the policy demands; whatever was not foreseen is refused with internal_error.
    """
    try:
        refusal = verify(token, policy, keys)
        if refusal is not None:
            return Verdict.refused(refusal)
        return weigh(read_statement(token.claims, policy), request, policy, now)
    except Exception as error:  # noqa: BLE001 - the boundary: a crash would leave the server without an answer
        return Verdict.refused(
            Refusal(Reason.INTERNAL_ERROR, f"pgoauthd failed with {type(error).__name__} while it judged the token")
        )


def verify(token: UnverifiedToken, policy: IssuerPolicy, keys: KeySet) -> Refusal | None:
    """None if the issuer of the policy signed this token, else the first reason why not.

    The issuer is compared before a key is looked up, so that no token of another issuer meets these keys.
    """
    refusal = _check_type(token, policy) or _check_algorithm(token, policy) or check_issuer(token.claims, policy)
    if refusal is not None:
        return refusal
    key = keys.find(token.kid, token.algorithm)
    if isinstance(key, Refusal):
        return key
    return check_signature(key, token.algorithm, token.signing_input, token.signature)


class Statement(msgspec.Struct, frozen=True, gc=False):
    """What the claims of a verified token say under a policy, whoever asks and whenever: read once, weighed often."""

    claims: Mapping[str, Any]
    scopes: tuple[str, ...] | Refusal
    identity: str | Refusal
    kept: KeptClaims


def read_statement(claims: Mapping[str, Any], policy: IssuerPolicy) -> Statement:
    """Read claims that are known to be the issuer's; raises nothing of its own, but is no boundary."""
    scopes = granted_scopes(claims, policy)
    return Statement(
        claims,
        scopes,
        find_identity(claims, policy),
        kept_claims(claims, () if isinstance(scopes, Refusal) else scopes),
    )


def weigh(statement: Statement, request: LoginRequest, policy: IssuerPolicy, now: float) -> Verdict:
    """The verdict on a statement read under the same policy; raises nothing of its own, but is no boundary.

    An identity is in the verdict as soon as time, issuer and audience are right, also if scope or role are not.
    """
    kept, scopes, identity = statement.kept, statement.scopes, statement.identity
    refusal = check_claims(statement.claims, policy, now)
    if refusal is not None:
        return Verdict.refused(refusal, claims=kept)
    if isinstance(scopes, Refusal):
        return Verdict.refused(scopes, claims=kept)
    refusal = check_scopes(scopes, request.required_scopes, policy)
    if isinstance(identity, Refusal):
        return Verdict.refused(refusal or identity, claims=kept)
    if refusal is None and request.delegated:
        refusal = check_delegation(statement.claims, identity, request.role, policy)
    if refusal is not None:
        return Verdict.refused(refusal, authn_id=identity, claims=kept)
    return Verdict(authorized=True, reason=Reason.OK, message="the token is good", authn_id=identity, claims=kept)


def _check_type(token: UnverifiedToken, policy: IssuerPolicy) -> Refusal | None:
    """RFC 9068 section 4 and RFC 8725 section 3.11; `application/` may be left out (RFC 7515 section 4.1.9)."""
    allowed = [name.lower() for name in policy.token_types]
    if token.typ is None:
        return None if "" in allowed else Refusal(Reason.TYPE_FORBIDDEN, _expected("no typ", policy.token_types))
    name = token.typ.lower().removeprefix("application/")
    if name and name in allowed:
        return None
    return Refusal(Reason.TYPE_FORBIDDEN, _expected(f"typ {quoted(token.typ)}", policy.token_types))


def _check_algorithm(token: UnverifiedToken, policy: IssuerPolicy) -> Refusal | None:
    if token.algorithm in policy.algorithms:
        return None
    return Refusal(Reason.ALGORITHM_FORBIDDEN, _expected(f"alg {quoted(token.algorithm)}", policy.algorithms))


def _expected(found: str, allowed: Sequence[str]) -> str:
    return (
        f"the token's header has {found}; allowed is {' or '.join(repr(name) if name else 'none' for name in allowed)}"
    )
