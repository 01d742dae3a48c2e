"""The values that a judgement starts from and ends in: LoginRequest, Refusal, KeptClaims, Verdict.

They never hold a token: what is kept of one are the few claims that an operator needs to understand a login.
"""

from __future__ import annotations

import msgspec

from pgoauthd.tokens.reasons import Reason


class LoginRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What PostgreSQL asks to know: may the bearer of a token log in as `role` under this pg_hba.conf line?"""

    role: str
    issuer: str
    """`issuer=` of the pg_hba.conf line, as written."""
    required_scopes: tuple[str, ...] = ()
    """`scope=` of the pg_hba.conf line; all are required (PostgreSQL's meaning)."""
    required_audience: str | None = None
    """`validator.audience=` of the line (PostgreSQL 19): required beside one of the policy's, never instead."""
    delegated: bool = False
    """delegate_ident_mapping=1: PostgreSQL skips the user name map, so the validator answers for the role."""


class Refusal(msgspec.Struct, frozen=True):
    """One reason why not, and a sentence with what was found and expected; never a piece of the token's text."""

    reason: Reason
    message: str


class KeptClaims(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The claims worth keeping of a token whose signature was verified; times are seconds since the epoch."""

    iss: str | None = None
    sub: str | None = None
    aud: tuple[str, ...] = ()
    client_id: str | None = None
    """azp, or client_id, or appid, or cid: the client that asked for the token."""
    scope: tuple[str, ...] = ()
    jti: str | None = None
    iat: float | None = None
    exp: float | None = None
    auth_time: float | None = None


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The judgement. Refused unless `authorized`; `authn_id` and `claims` come only from verified tokens."""

    authorized: bool
    reason: Reason
    message: str
    authn_id: str | None = None
    claims: KeptClaims | None = None

    @classmethod
    def refused(cls, refusal: Refusal, *, authn_id: str | None = None, claims: KeptClaims | None = None) -> Verdict:
        """A refusal; give `authn_id` and `claims` only where the signature was verified."""
        return cls(authorized=False, reason=refusal.reason, message=refusal.message, authn_id=authn_id, claims=claims)
