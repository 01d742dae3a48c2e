"""The compact form of a signed token (RFC 7515 section 7.1) taken apart strictly; nothing in it is believed here."""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from typing import Any

from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.strictjson import read_object
from pgoauthd.tokens.verdict import Refusal
from pgoauthd.tokens.wording import kind

MAX_HEADER_BYTES = 4096
"""An access token's header has an alg, a kid and a typ; with certificates in it, it stays below this."""
MAX_KID_CHARACTERS = 256

_SIGNED_PARTS = 3
_ENCRYPTED_PARTS = 5

_STANDARD_ALPHABET = bytes.maketrans(b"-_+/=", b"+/!!!")
"""base64url to base64; what only base64 has becomes what neither has."""
_LAST_OF_TWO = "AQgw"
_LAST_OF_THREE = "AEIMQUYcgkosw048"


@dataclass(frozen=True, slots=True, repr=False)
class Compact:
    """A token's parts, decoded and unverified. Its repr shows none of them."""

    header: dict[str, Any]
    algorithm: str
    kid: str | None
    typ: str | None
    payload: bytes
    signing_input: bytes
    signature: bytes

    def __repr__(self) -> str:
        return "<Compact redacted>"


def read_compact(text: str) -> Compact | Refusal:
    """Take a token apart.

    Refused with token_opaque (no dot), token_encrypted (the five parts of a JWE), token_malformed (another number of
    parts, or no header), base64_invalid, json_invalid, json_duplicate_key, header_invalid, header_critical,
    kid_invalid. The keys that a header offers itself (jku, jwk, x5u, x5c) are never looked at (RFC 8725 section 3.10).
    """
    parts = text.split(".")
    if len(parts) != _SIGNED_PARTS:
        return _not_signed(len(parts))
    if not parts[0]:
        return Refusal(Reason.TOKEN_MALFORMED, "the first of the token's three parts, the header, is empty")
    header, payload, signature = (decode_base64url(part) for part in parts)
    if header is None or payload is None or signature is None:
        wrong = "header" if header is None else "payload" if payload is None else "signature"
        return Refusal(Reason.BASE64_INVALID, f"the token's {wrong} is not canonical base64url without padding")
    fields = _read_header(header)
    if isinstance(fields, Refusal):
        return fields
    return Compact(
        header=fields,
        algorithm=fields["alg"],
        kid=fields.get("kid"),
        typ=fields.get("typ"),
        payload=payload,
        signing_input=text[: text.rindex(".")].encode("ascii"),
        signature=signature,
    )


def decode_base64url(text: str) -> bytes | None:
    """The bytes of unpadded base64url (RFC 7515 section 2), or None; each byte string has exactly one spelling."""
    over = len(text) % 4
    if (over == 2 and text[-1] not in _LAST_OF_TWO) or (over == 3 and text[-1] not in _LAST_OF_THREE):  # noqa: PLR2004 - characters beyond whole groups of four
        return None
    try:
        standard = text.encode("ascii").translate(_STANDARD_ALPHABET)
        return binascii.a2b_base64(standard + b"=" * (-len(text) % 4), strict_mode=True)
    except ValueError:
        return None


def _not_signed(parts: int) -> Refusal:
    if parts == 1:
        return Refusal(Reason.TOKEN_OPAQUE, "the token has no dot, so it is not a JWT")
    if parts == _ENCRYPTED_PARTS:
        return Refusal(Reason.TOKEN_ENCRYPTED, "the token has the five parts of an encrypted JWT (JWE)")
    return Refusal(Reason.TOKEN_MALFORMED, f"the token has {parts} parts between dots; a signed JWT has three")


def _read_header(raw: bytes) -> dict[str, Any] | Refusal:
    if len(raw) > MAX_HEADER_BYTES:
        return Refusal(
            Reason.HEADER_INVALID, f"the token's header has {len(raw)} bytes; {MAX_HEADER_BYTES} are allowed"
        )
    header = read_object(raw, "the token's header")
    if isinstance(header, Refusal):
        return header
    return _check_extensions(header) or _check_fields(header) or header


def _check_extensions(header: dict[str, Any]) -> Refusal | None:
    """No extension is understood (RFC 7515 section 4.1.11); b64 and zip change what was signed or is to be read."""
    if "crit" in header:
        return Refusal(Reason.HEADER_CRITICAL, "the token's header has crit: it demands an extension")
    for name in ("b64", "zip"):
        if name in header:
            return Refusal(Reason.HEADER_INVALID, f"the token's header has {name}, which no access token needs")
    return None


def _check_fields(header: dict[str, Any]) -> Refusal | None:
    for name, required in (("alg", True), ("typ", False)):
        value = header.get(name)
        if (required or name in header) and (not isinstance(value, str) or not value):
            found = "missing" if name not in header else "empty" if value == "" else kind(value)
            return Refusal(Reason.HEADER_INVALID, f"the header's {name} is {found}; expected a string")
    if "kid" in header and not is_kid(header["kid"]):
        return Refusal(
            Reason.KID_INVALID,
            f"the header's kid is not a string of 1 to {MAX_KID_CHARACTERS} printable characters",
        )
    return None


def is_kid(value: object) -> bool:
    """Whether a value can be a key id here: RFC 7517 section 4.5 only asks for a string."""
    return isinstance(value, str) and 0 < len(value) <= MAX_KID_CHARACTERS and value.isprintable()
