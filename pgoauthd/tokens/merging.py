"""A JWT and the answer about it as one: what they say together, unless they contradict; verifies and judges neither.

The JWT's signature was verified and the answer came from its issuer, so both are believed. What is refused is that they
speak of different tokens, or that one of them hides what makes the other one no good.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pgoauthd.tokens.bearer import UnverifiedToken
from pgoauthd.tokens.claimpaths import ABSENT, find_claim
from pgoauthd.tokens.claims import CLIENT_CLAIMS, audiences
from pgoauthd.tokens.introspection import Members
from pgoauthd.tokens.issuers import ClaimPath
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.times import read_time
from pgoauthd.tokens.verdict import Refusal
from pgoauthd.tokens.wording import kind, listed, quoted

_SAME = ("iss", "sub", "jti", *CLIENT_CLAIMS, "typ", "token_use", "events", "cnf")
"""Said alike by both: an answer must neither change a token's bearer nor hide that it is bound or no access token."""


def merge(token: UnverifiedToken, answer: Members, scope_claims: Sequence[ClaimPath]) -> Members | Refusal:
    """All that a JWT with a verified signature and the answer about it say; introspection_mismatch if they contradict.

    The answer wins and adds, but what says who, whose, for whom, until when, bound to what and what kind of token must
    be the same where both have it; `exp` may be earlier in the answer. Scopes are the answer's, where it has any of
    `scope_claims`, and the token's otherwise.
    """
    claims: Members = token.claims
    refusal = (
        _compare(claims, answer)
        or _compare_expiry(claims, answer)
        or _compare_audiences(claims, answer)
        or _compare_clients(claims, answer)
    )
    if refusal is not None:
        return refusal
    if any(find_claim(answer, path) is not ABSENT for path in scope_claims):
        for path in scope_claims:
            claims = _without(claims, path)
    return {**claims, **answer}


def _compare(claims: Members, answer: Members) -> Refusal | None:
    for name in _SAME:
        if name in claims and name in answer and claims[name] != answer[name]:
            return _mismatch(name, claims[name], answer[name])
    return None


def _compare_expiry(claims: Members, answer: Members) -> Refusal | None:
    if "exp" not in claims or "exp" not in answer:
        return None
    own, other = read_time(claims["exp"]), read_time(answer["exp"])
    if own is None or other is None:
        return _mismatch("exp", claims["exp"], answer["exp"])
    if other <= own:
        return None
    return Refusal(Reason.INTROSPECTION_MISMATCH, "the introspection answer's exp is later than the token's own")


def _compare_audiences(claims: Members, answer: Members) -> Refusal | None:
    """An answer may have more audiences or fewer, but one at least of the token's (an empty array is none)."""
    if [] in (claims.get("aud", []), answer.get("aud", [])):
        return None
    own, other = audiences(claims.get("aud")), audiences(answer.get("aud"))
    return _apart("aud", own, other) if set(own).isdisjoint(other) else None


def _compare_clients(claims: Members, answer: Members) -> Refusal | None:
    """The client has several names; where both name it, one name at least must be in both."""
    own, other = _clients(claims), _clients(answer)
    return _apart("client", own, other) if own and other and own.isdisjoint(other) else None


def _clients(members: Members) -> set[str]:
    return {members[name] for name in CLIENT_CLAIMS if isinstance(members.get(name), str)}


def _without(members: Members, path: ClaimPath) -> Members:
    """A copy without the claim at the end of the path."""
    if find_claim(members, path) is ABSENT:
        return members
    name, *rest = path
    left = {other: value for other, value in members.items() if other != name}
    return {**left, name: _without(members[name], tuple(rest))} if rest else left


def _mismatch(name: str, own: object, other: object) -> Refusal:
    found, expected = (quoted(value) if isinstance(value, str) else kind(value) for value in (other, own))
    return Refusal(
        Reason.INTROSPECTION_MISMATCH, f"the introspection answer's {name} is {found}; the token's is {expected}"
    )


def _apart(name: str, own: Collection[str], other: Collection[str]) -> Refusal:
    return Refusal(
        Reason.INTROSPECTION_MISMATCH,
        f"the introspection answer's {name} is {listed(sorted(other))}; the token's is {listed(sorted(own))}",
    )
