"""Verdicts between two saves: a small file to which each is appended before its reply is sent; never saves or judges.

A login waits for the append, so it is a plain write without fsync: the file outlives the daemon, not the machine, and
is best in a file system in memory. What is in the file is numbered; the state says up to which number it has it all.
"""

from __future__ import annotations

import os
import stat
import zlib
from pathlib import Path
from typing import NamedTuple

import msgspec

from pgoauthd.correlation.verdicts import SessionVerdict

FILE_MODE = 0o600
EMPTY_FROM_BYTES = 256 * 1024
"""A file this large is emptied as soon as the state has all that is in it."""
MAX_BYTES = 64 * 1024 * 1024
"""More is not appended: the state has not been saved for very long."""
_HEAD_BYTES = 8
"""Length and checksum of what follows, 4 bytes each."""


class Numbered(NamedTuple):
    """A verdict with its number, ascending."""

    number: int
    verdict: SessionVerdict


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Numbered)


class VerdictFile:
    """The file, open for this process; who opens it holds the lock of the state."""

    def __init__(self, path: Path) -> None:
        """Open it, or make it; OSError if that cannot be."""
        self.was_there = path.exists()
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, FILE_MODE)
        if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            os.close(self._descriptor)
            raise OSError("is not a file")
        self._size = 0
        self._last = 0
        """The number of the newest verdict in it."""

    def close(self) -> None:
        """Close the file; what is in it stays."""
        os.close(self._descriptor)

    def read(self) -> list[Numbered]:
        """All that is whole in it, oldest first. A last one that a crash has torn is cut off."""
        content = os.pread(self._descriptor, os.fstat(self._descriptor).st_size, 0)
        found: list[Numbered] = []
        start = 0
        while (end := _end_of_whole(content, start)) is not None:
            try:
                found.append(_decoder.decode(content[start + _HEAD_BYTES : end]))
            except msgspec.MsgspecError:  # of a version with other verdicts
                break
            start = end
        os.ftruncate(self._descriptor, start)
        self._size = start
        self._last = found[-1].number if found else 0
        return found

    def append(self, numbered: Numbered) -> None:
        """Append a verdict; OSError if there is no room, and nothing of it is in the file."""
        body = _encoder.encode(numbered)
        framed = b"".join((len(body).to_bytes(4, "big"), zlib.crc32(body).to_bytes(4, "big"), body))
        if self._size + len(framed) > MAX_BYTES:
            raise OSError(f"holds {MAX_BYTES:,} bytes that the state does not have")
        written = os.write(self._descriptor, framed)
        if written != len(framed):
            os.ftruncate(self._descriptor, self._size)
            raise OSError("no space for more")
        self._size += written
        self._last = numbered.number

    def saved_up_to(self, number: int) -> None:
        """The state has all up to this number: what is in the file is needed no more if that is all of it."""
        if self._size >= EMPTY_FROM_BYTES and self._last <= number:
            os.ftruncate(self._descriptor, 0)
            self._size = 0


def _end_of_whole(content: bytes, start: int) -> int | None:
    """Where the entry ends that begins at `start`; None if it is not whole."""
    body = start + _HEAD_BYTES
    end = body + int.from_bytes(content[start : start + 4], "big")
    if body >= end or end > len(content):
        return None
    checksum = int.from_bytes(content[start + 4 : body], "big")
    return end if zlib.crc32(content[body:end]) == checksum else None
