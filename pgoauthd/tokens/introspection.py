"""What an issuer answers about a token (RFC 7662), plain or signed (RFC 9701), read strictly; never asks, never judges.

An answer counts only where `active` is JSON's true. Whether what it says is good for a login is `judge`'s to decide.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pgoauthd.tokens.bearer import BearerToken, UnverifiedToken, decode
from pgoauthd.tokens.claims import audiences
from pgoauthd.tokens.issuers import IssuerPolicy
from pgoauthd.tokens.keyissuers import check_signer
from pgoauthd.tokens.keys import KeySet
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.strictjson import read_object
from pgoauthd.tokens.times import read_times
from pgoauthd.tokens.verdict import Refusal
from pgoauthd.tokens.wording import kind, listed, quoted

Members = Mapping[str, Any]
"""The members of an answer that says of itself that the token is active."""

SIGNED_TYPE = "token-introspection+jwt"
"""RFC 9701 section 5: what no access token has as its `typ`, so that neither passes for the other."""
MAX_ANSWER_AGE = 60.0
"""Seconds. An answer is made for the one who waits for it; an older one may be from before a revocation."""

_BOUND_TYPES = ("dpop", "pop")


def read_answer(body: bytes) -> Members | Refusal:
    """The members of a plain answer about an active token.

    Refused with token_inactive (`active` is false, whatever else there is) or introspection_invalid (no JSON object
    of `strictjson`, or `active` is anything but true and false).
    """
    members = read_object(body, "it")
    return _invalid(members.message) if isinstance(members, Refusal) else check_active(members) or members


def read_signed_answer(body: bytes) -> UnverifiedToken | Refusal:
    """A signed answer taken apart, still to be verified; introspection_invalid where it is no such JWT."""
    text = BearerToken.read(body.decode("ascii", "replace"), max_bytes=len(body))
    answer = text if isinstance(text, Refusal) else decode(text)
    if isinstance(answer, Refusal):
        return _invalid(_of_answer(answer))
    return _check_type(answer) or answer


def verify_signed_answer(answer: UnverifiedToken, policy: IssuerPolicy, keys: KeySet, now: float) -> Members | Refusal:
    """The members of `token_introspection` of a signed answer, verified as RFC 9701 section 5 and RFC 8725 ask.

    Refused with token_inactive, or with introspection_invalid: type, algorithm, key or signature are wrong, it is from
    another issuer, for another client, or not of this moment. Nothing in an answer names the token that was asked
    about, so that only the connection it came through tells it from a fresh answer about another token.
    """
    refusal = _check_type(answer) or _check_envelope(answer, policy, now) or _check_signature(answer, policy, keys)
    if refusal is not None:
        return refusal
    members = answer.claims.get("token_introspection")
    if not isinstance(members, dict):
        return _invalid(f"its token_introspection is {_found(answer.claims, 'token_introspection')}, not an object")
    return check_active(members) or members


def check_active(members: Members) -> Refusal | None:
    """None if `active` is the boolean true (RFC 7662 section 2.2), else token_inactive or introspection_invalid."""
    active = members.get("active")
    if active is True:
        return None
    if active is False:
        return Refusal(Reason.TOKEN_INACTIVE, "the issuer's introspection endpoint says that the token is not active")
    return _invalid(f"its active is {_found(members, 'active')}; expected true or false")


def check_token_type(answer: Members, policy: IssuerPolicy) -> Refusal | None:
    """None if the answer's token_type, where it has one, is Bearer in any case (RFC 6749 section 5.1).

    Refused with sender_constrained (a type whose bearer must prove to have a key: DPoP of RFC 9449, PoP of RFC 9200;
    unless the policy accepts such tokens), token_use_forbidden (any other: N_A, refresh_token), claim_invalid.
    """
    name = answer.get("token_type", "Bearer")
    if not isinstance(name, str):
        return Refusal(
            Reason.CLAIM_INVALID, f"the introspection answer's token_type is {kind(name)}; expected a string"
        )
    if name.lower() == "bearer" or (policy.accept_sender_constrained and name.lower() in _BOUND_TYPES):
        return None
    if name.lower() in _BOUND_TYPES:
        return Refusal(Reason.SENDER_CONSTRAINED, f"the introspection answer's token_type is {quoted(name)}")
    return Refusal(
        Reason.TOKEN_USE_FORBIDDEN, f"the introspection answer's token_type is {quoted(name)}; expected 'Bearer'"
    )


def _check_type(answer: UnverifiedToken) -> Refusal | None:
    """RFC 8725 section 3.11: an access token, or any other JWT that the issuer signed, is no answer."""
    if answer.typ is not None and answer.typ.lower().removeprefix("application/") == SIGNED_TYPE:
        return None
    found = "missing" if answer.typ is None else quoted(answer.typ)
    return _invalid(f"its header's typ is {found}; expected {quoted(SIGNED_TYPE)}")


def _check_signature(answer: UnverifiedToken, policy: IssuerPolicy, keys: KeySet) -> Refusal | None:
    if answer.algorithm not in policy.algorithms:
        return _invalid(
            f"its header's alg is {quoted(answer.algorithm)}; allowed is one of {listed(policy.algorithms)}"
        )
    wrong = check_signer(answer, policy, keys)
    return None if wrong is None else _invalid(_of_answer(wrong))


def _check_envelope(answer: UnverifiedToken, policy: IssuerPolicy, now: float) -> Refusal | None:
    claims, client = answer.claims, policy.introspection_client
    if answer.issuer != policy.issuer:
        found = _found(claims, "iss") if answer.issuer is None else quoted(answer.issuer)
        return _invalid(f"its iss is {found}; expected {quoted(policy.issuer)}")
    if client is None or client not in audiences(claims.get("aud")):
        return _invalid(f"its aud is {_found(claims, 'aud')} without the client {quoted(client or '')}")
    return _check_moment(claims, policy.leeway, now)


def _check_moment(claims: Members, leeway: float, now: float) -> Refusal | None:
    """Issued a moment ago; exp and nbf, which RFC 9701 does not ask for, count where they are."""
    times = read_times(claims, optional=("exp",))
    if isinstance(times, Refusal):
        return _invalid(_of_answer(times))
    if times.iat is None:
        return _invalid("its iat is missing; expected seconds since the epoch")
    if max(times.iat, times.nbf or 0.0) > now + leeway:
        return _invalid("its iat or nbf is in the future")
    if min(times.iat + MAX_ANSWER_AGE, math.inf if times.exp is None else times.exp) <= now - leeway:
        return _invalid(f"it is not of this moment: issued more than {MAX_ANSWER_AGE + leeway:g} s ago, or expired")
    return None


def _found(members: Members, name: str) -> str:
    return kind(members[name]) if name in members else "missing"


def _of_answer(refusal: Refusal) -> str:
    """A sentence about a JWT, where the JWT is the answer and not the token."""
    return refusal.message.replace("the token", "the answer")


def _invalid(what: str) -> Refusal:
    return Refusal(Reason.INTROSPECTION_INVALID, f"the introspection answer cannot be used: {what}")
