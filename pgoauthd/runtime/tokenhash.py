"""Names tokens by a keyed hash, so that what is remembered about one never holds it; remembers nothing itself."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable

from pgoauthd.tokens.bearer import BearerToken

TokenHash = bytes


def keyed_hash() -> Callable[[BearerToken], TokenHash]:
    """A hash of tokens that nobody else can compute: BLAKE2b as a MAC (RFC 7693 section 2.9) under a key of its own."""
    key = secrets.token_bytes(32)

    def hash_token(token: BearerToken) -> TokenHash:
        return hashlib.blake2b(token.reveal().encode("ascii"), digest_size=32, key=key).digest()

    return hash_token
