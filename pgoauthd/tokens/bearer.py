"""The bearer token as it arrived, and what it claims to be; keeps both out of logs and reprs, and believes neither."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pgoauthd.tokens.compact import read_compact
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.redacted import Redacted
from pgoauthd.tokens.strictjson import read_object
from pgoauthd.tokens.verdict import Refusal

_B64TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
"""RFC 6750 section 2.1, and PostgreSQL's own check of what it hands to a validator."""


class BearerToken(Redacted):
    """The text of a token."""

    __slots__ = ()

    @classmethod
    def read(cls, text: str, *, max_bytes: int) -> BearerToken | Refusal:
        """The token, or a Refusal: token_empty, token_too_large, token_malformed (not the charset of RFC 6750)."""
        if not text:
            return Refusal(Reason.TOKEN_EMPTY, "the token is empty")
        if len(text) > max_bytes:
            return Refusal(Reason.TOKEN_TOO_LARGE, f"the token is larger than {max_bytes} bytes")
        if _B64TOKEN.fullmatch(text) is None:
            return Refusal(
                Reason.TOKEN_MALFORMED, "the token has characters that a bearer token cannot have (RFC 6750)"
            )
        return cls(text)


@dataclass(frozen=True, slots=True, repr=False)
class UnverifiedToken:
    """What a token says of itself before anything was verified. Its repr shows none of it."""

    algorithm: str
    kid: str | None
    typ: str | None
    header: dict[str, Any]
    claims: dict[str, Any]
    issuer: str | None
    """`iss`, where it is a string: good for choosing whom to ask, not for trusting."""
    signing_input: bytes
    signature: bytes

    def __repr__(self) -> str:
        return "<UnverifiedToken redacted>"


def decode(token: BearerToken) -> UnverifiedToken | Refusal:
    """Read a token as a JWT in compact form (RFC 7519 section 7.2), strictly and without believing it.

    Refusals: those of `compact.read_compact`, and json_invalid or json_duplicate_key for the payload.
    """
    parts = read_compact(token.reveal())
    if isinstance(parts, Refusal):
        return parts
    claims = read_object(parts.payload, "the token's payload")
    if isinstance(claims, Refusal):
        return claims
    issuer = claims.get("iss")
    return UnverifiedToken(
        algorithm=parts.algorithm,
        kid=parts.kid,
        typ=parts.typ,
        header=parts.header,
        claims=claims,
        issuer=issuer if isinstance(issuer, str) else None,
        signing_input=parts.signing_input,
        signature=parts.signature,
    )
