"""A log as a server writes it: in pieces that end anywhere, and in one file after the other."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from random import Random

from tests.crash.fix_logins import EXTENSIONS, RENDER, Record

MAX_PIECE = 6_000
ROTATION_CHANCE = 0.006
"""Of each piece: a file lives for some hundred of them."""
MIN_FILE = 4_096
"""A file with less is not rotated away."""


class ServerLog:
    """The log in `directory`. What is appended is written, in order, whenever `write_piece` is called."""

    def __init__(self, directory: Path, log_format: str, chance: Random, *, renames: bool) -> None:
        """`renames`: a file that is over is renamed, as logrotate does it; else the next has another name."""
        directory.mkdir(exist_ok=True)
        self._directory = directory
        self._render = RENDER[log_format]
        self._extension = EXTENSIONS[log_format]
        self._chance = chance
        self._renames = renames
        self._waiting: deque[bytes] = deque()
        """Entries; of the first, what is not written of it yet."""
        self._files = 0
        self._open()

    def append(self, record: Record) -> None:
        self._waiting.append(self._render(record).encode() + b"\n")

    @property
    def is_written(self) -> bool:
        return not self._waiting

    @property
    def size(self) -> int:
        """Of all files together."""
        return sum(path.stat().st_size for path in self._directory.iterdir())

    def write_piece(self) -> None:
        """Write some of what waits, and perhaps go on in another file."""
        room = self._chance.randint(1, MAX_PIECE)
        piece = bytearray()
        while self._waiting and room > 0:
            entry = self._waiting.popleft()
            piece += entry[:room]
            if len(entry) > room:
                self._waiting.appendleft(entry[room:])
            room -= len(entry)
        self._write(bytes(piece))
        if self._written > MIN_FILE and self._chance.random() < ROTATION_CHANCE:
            self._rotate()

    def close(self) -> None:
        """Write all that waits."""
        self._write(b"".join(self._waiting))
        self._waiting.clear()
        os.close(self._descriptor)

    def _rotate(self) -> None:
        """A server ends the entry before it goes on elsewhere; logrotate has renamed the file by then."""
        if self._renames:
            path = self._path
            path.rename(f"{path}-20261123{self._files:04}")
        if self._waiting:
            self._write(self._waiting.popleft())
        os.close(self._descriptor)
        self._open()

    def _open(self) -> None:
        self._files += 1
        name = "postgresql" if self._renames else f"postgresql-{self._files:04}"
        self._path = self._directory / f"{name}.{self._extension}"
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        self._written = 0

    def _write(self, piece: bytes) -> None:
        self._written += os.write(self._descriptor, piece) if piece else 0
