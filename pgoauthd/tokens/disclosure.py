"""Whom a token may be shown to: no other issuer than the one it names. It verifies nothing, and refuses nothing else.

To any other issuer than its own, a token is a live credential for somebody else's services. It may name its issuer
without being a token that is read here, so this reading is as generous as the strict one is strict: whatever any reader
could take for an `iss` counts.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Iterator
from typing import Any

from pgoauthd.tokens.bearer import BearerToken
from pgoauthd.tokens.claims import check_issuer
from pgoauthd.tokens.issuers import IssuerPolicy
from pgoauthd.tokens.verdict import Refusal

MAX_NESTED = 4
"""Tokens in tokens; each is shorter than the one around it."""

_BASE64 = str.maketrans("-_", "+/")


def check_disclosure(bearer: BearerToken, policy: IssuerPolicy) -> Refusal | None:
    """None if the token may be sent to the policy's issuer; issuer_mismatch if a part of it names another one.

    The parts are those between dots. A JWT has its `iss` in the second, an encrypted one may have a copy in the first
    (RFC 7519 section 5.3), and a part may be a token itself (section 5.2). A token that names nobody is its issuer's
    own business, and may be asked about.
    """
    for issuer in _issuers(bearer.reveal(), MAX_NESTED):
        refusal = check_issuer({"iss": issuer}, policy)
        if refusal is not None:
            return refusal
    return None


class _Object(list[tuple[str, Any]]):
    """The members of a JSON object, also those that are there twice."""


def _issuers(text: str, nested: int) -> Iterator[Any]:
    """All values of `iss` at the top of the JSON that a part may be the base64url of, or of a token in it."""
    for part in text.split("."):
        try:
            raw = binascii.a2b_base64(part.translate(_BASE64) + "==")
        except ValueError:
            continue
        try:
            read = json.loads(raw, object_pairs_hook=_Object)
        except (ValueError, RecursionError):
            read = raw.decode("latin-1")
        if isinstance(read, _Object):
            yield from (value for name, value in read if name == "iss")
        elif isinstance(read, str) and nested:
            yield from _issuers(read, nested - 1)
