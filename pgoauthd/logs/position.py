"""How far a log file was read, and how to know the file again: Position; never touches the file itself."""

from __future__ import annotations

from hashlib import blake2b
from typing import Self

import msgspec

from pgoauthd.logs.readers import LogFormat

FINGERPRINT_BYTES = 1024
"""The first entries of a log, with times to the millisecond: no two logs begin alike."""


class Fingerprint(msgspec.Struct, frozen=True):
    """The first bytes of a file, kept as a digest: a log may hold what must not be written elsewhere."""

    length: int = 0
    digest: bytes = b""

    @classmethod
    def of(cls, head: bytes) -> Self:
        """The fingerprint of a file that begins with `head`, of which up to FINGERPRINT_BYTES count."""
        head = head[:FINGERPRINT_BYTES]
        return cls(len(head), _digest(head) if head else b"")

    def matches(self, head: bytes) -> bool:
        """Whether a file that begins with `head` may be the one this was taken of."""
        return len(head) >= self.length and (self.length == 0 or _digest(head[: self.length]) == self.digest)


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """How far one file was read: all before `offset` is emitted, or was none of ours."""

    path: str
    device: int
    inode: int
    fingerprint: Fingerprint
    offset: int
    size: int
    """When last looked at: more than `offset` if something was known to be unread."""
    modified: float = 0.0
    """The file's modification time when last looked at, seconds since the epoch."""
    log_format: LogFormat | None = None
    outranked: bool = False
    """It is not read, as a richer file holds its entries: all before `offset` is known to be in that."""


def _digest(head: bytes) -> bytes:
    return blake2b(head, digest_size=16).digest()
