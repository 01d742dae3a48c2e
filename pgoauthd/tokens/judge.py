"""The judgement: from evidence about a token, a login and a policy to a Verdict. Starts from refused and never raises.

Evidence is the token with its issuer's keys, or the issuer's answer about it, or both. Nothing of a token is believed,
kept or returned as an identity before its signature is verified or its issuer has answered for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from pgoauthd.tokens.bearer import UnverifiedToken
from pgoauthd.tokens.claims import (
    check_claims,
    check_issuer,
    check_lasting_claims,
    check_line_audience,
    kept_claims,
)
from pgoauthd.tokens.identity import find_identity
from pgoauthd.tokens.introspection import Members, check_active, check_token_type
from pgoauthd.tokens.issuers import IssuerPolicy
from pgoauthd.tokens.keyissuers import check_signer
from pgoauthd.tokens.keys import KeySet
from pgoauthd.tokens.merging import merge
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.rolerules import check_delegation
from pgoauthd.tokens.scopes import check_scopes, granted_scopes
from pgoauthd.tokens.times import Times, check_times, read_times
from pgoauthd.tokens.tokenuse import check_use
from pgoauthd.tokens.verdict import KeptClaims, LoginRequest, Refusal, Verdict
from pgoauthd.tokens.wording import quoted


def judge(token: UnverifiedToken, request: LoginRequest, policy: IssuerPolicy, keys: KeySet, now: float) -> Verdict:
    """May the bearer of this token log in? `now` in seconds since the epoch.

    Authorized only if header, issuer, key, signature, claims, scopes, identity and, where PostgreSQL delegates it, the
    role are all as the policy demands; whatever was not foreseen is refused with internal_error.
    """
    statement = read_signed(token, policy, keys)
    if isinstance(statement, Refusal):
        return Verdict.refused(statement)
    try:
        return weigh(statement, request, policy, now)
    except Exception as error:  # noqa: BLE001 - the boundary: a crash would leave the server without an answer
        return Verdict.refused(_unforeseen(error))


def read_signed(token: UnverifiedToken, policy: IssuerPolicy, keys: KeySet) -> Statement | Refusal:
    """The statement of a JWT that the issuer of the policy signed, for `weigh`; else why it is none. Raises nothing."""
    try:
        return verify(token, policy, keys) or read_statement(token.claims, policy)
    except Exception as error:  # noqa: BLE001 - the boundary: a crash would leave the server without an answer
        return _unforeseen(error)


def judge_introspected(
    answer: Members, token: UnverifiedToken | None, request: LoginRequest, policy: IssuerPolicy, now: float
) -> Verdict:
    """May the bearer of the token log in about which the issuer gave this answer? `now` in seconds since the epoch.

    `answer` is as `introspection` reads it. `token` is given only where it is a JWT that has passed `precheck`: then
    both count together. Authorized only if all is as it must be for `judge`, and the answer speaks of a bearer token.
    """
    try:
        statement = read_introspected(answer, token, policy)
        if isinstance(statement, Refusal):
            return Verdict.refused(statement)
        return weigh(statement, request, policy, now)
    except Exception as error:  # noqa: BLE001 - the boundary: a crash would leave the server without an answer
        return Verdict.refused(_unforeseen(error))


def precheck(token: UnverifiedToken, policy: IssuerPolicy, keys: KeySet, now: float) -> Verdict | None:
    """None if the issuer may be asked about this JWT: it signed it, and nothing that it says forbids a login already.

    Audience, scope and identity are for the answer to tell: lightweight tokens lack them. Raises nothing.
    """
    try:
        refusal = verify(token, policy, keys)
        if refusal is not None:
            return Verdict.refused(refusal)
        refusal = check_lasting_claims(token.claims, policy, now)
        return None if refusal is None else Verdict.refused(refusal, claims=read_statement(token.claims, policy).kept)
    except Exception as error:  # noqa: BLE001 - the boundary: a crash would leave the server without an answer
        return Verdict.refused(_unforeseen(error))


def check_before_introspection(token: UnverifiedToken, policy: IssuerPolicy, now: float) -> Refusal | None:
    """None if a JWT that nobody verified may be shown to the policy's issuer, and could be good.

    Refused with issuer_mismatch: to any other issuer than the one it names, it would be a live credential for somebody
    else's services. And as by `check_lasting_claims`: an answer that says less must not make a good token of an ID
    token or a bound one. A token in the form of a JWT without `iss` names nobody: to its bearer it is opaque, and its
    issuer may know it.
    """
    if "iss" not in token.claims:
        return None
    return check_issuer(token.claims, policy) or check_lasting_claims(token.claims, policy, now)


def verify(token: UnverifiedToken, policy: IssuerPolicy, keys: KeySet) -> Refusal | None:
    """None if the issuer of the policy signed this token, else the first reason why not.

    The issuer is compared before a key is looked up, so that no token of another issuer meets these keys.
    """
    refusal = _check_type(token, policy) or _check_algorithm(token, policy) or check_issuer(token.claims, policy)
    return refusal or check_signer(token, policy, keys)


class Statement(msgspec.Struct, frozen=True, gc=False):
    """What is known of a token under a policy, whoever asks and whenever: read once, weighed often."""

    claims: Mapping[str, Any]
    times: Times | Refusal
    """Refused where the token is of the wrong kind, or a time is none: it is at no time good."""
    unfit: Refusal | None
    """Why the token is not for us at any time; said only of one that is good at the time."""
    scopes: tuple[str, ...] | Refusal
    identity: str | Refusal
    kept: KeptClaims


def read_statement(claims: Mapping[str, Any], policy: IssuerPolicy, optional: tuple[str, ...] = ()) -> Statement:
    """Read claims that are known to be the issuer's; raises nothing of its own, but is no boundary.

    `optional`: of exp and aud, what may be missing.
    """
    scopes = granted_scopes(claims, policy)
    return Statement(
        claims=claims,
        times=check_use(claims, id_tokens=policy.accept_id_tokens) or read_times(claims, optional),
        unfit=check_claims(claims, policy, optional),
        scopes=scopes,
        identity=find_identity(claims, policy),
        kept=kept_claims(claims, () if isinstance(scopes, Refusal) else scopes),
    )


def read_introspected(answer: Members, token: UnverifiedToken | None, policy: IssuerPolicy) -> Statement | Refusal:
    """The statement of an answer, or of a JWT that has passed `precheck` and the answer; as good as the answer is new.

    Refused by `check_active` and `check_token_type` of the answer, by `merge`, and with issuer_missing (unless the
    policy has `iss` optional) or issuer_mismatch. Raises nothing of its own, but is no boundary.
    """
    refusal = check_active(answer) or check_token_type(answer, policy)
    if refusal is not None:
        return refusal
    claims = answer if token is None else merge(token, answer, policy.scope_claims)
    if isinstance(claims, Refusal):
        return claims
    refusal = None if "iss" in policy.introspection_optional and "iss" not in claims else check_issuer(claims, policy)
    if refusal is None and token is not None:
        # An answer that says more must not take off the token what shows that it is an ID token.
        refusal = check_use(token.claims, id_tokens=policy.accept_id_tokens)
    return refusal or read_statement(claims, policy, policy.introspection_optional)


def weigh(statement: Statement, request: LoginRequest, policy: IssuerPolicy, now: float) -> Verdict:
    """The verdict on a statement read under the same policy; raises nothing of its own, but is no boundary.

    An identity is in the verdict as soon as time, issuer and audience are right, also if scope or role are not.
    """
    times, scopes, identity, kept = statement.times, statement.scopes, statement.identity, statement.kept
    refusal = times if isinstance(times, Refusal) else check_times(times, policy, now) or statement.unfit
    if refusal is None and request.required_audience is not None:
        refusal = check_line_audience(statement.claims, request.required_audience, policy)
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


def _unforeseen(error: Exception) -> Refusal:
    """Only the kind of error is told: its text may hold a piece of the token."""
    return Refusal(Reason.INTERNAL_ERROR, f"pgoauthd failed with {type(error).__name__} while it judged the token")
