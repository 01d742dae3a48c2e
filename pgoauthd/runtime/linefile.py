"""A file of whole lines that others may rotate away at any time; knows nothing of what is in the lines."""

from __future__ import annotations

import os
import stat
from pathlib import Path

FILE_MODE = 0o640
MAX_LINE_BYTES = 1 << 20


class LineFile:
    """Appends whole lines to the regular file at a path, whichever file that is at the moment; one writer only."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def append(self, lines: bytes) -> None:
        """Append all of `lines` or nothing; OSError if that cannot be."""
        descriptor = self._current()
        written = os.write(descriptor, lines)
        if written != len(lines):
            os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
            raise OSError("no space for more lines")

    def last_line(self) -> bytes | None:
        """The last line of the file that is there, without the newline; what a kill has left after it is cut off.

        None where there is no file, or no line in its last MAX_LINE_BYTES; OSError if it cannot be read or cut.
        """
        if not self._path.exists():
            return None
        descriptor = self._current()
        size = os.fstat(descriptor).st_size
        start = max(size - MAX_LINE_BYTES, 0)
        whole, newline, rest = os.pread(descriptor, size - start, start).rpartition(b"\n")
        if rest and (newline or not start):
            os.ftruncate(descriptor, size - len(rest))
        return whole.rpartition(b"\n")[2] if newline else None

    def close(self) -> None:
        """Close the file; the next append opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _current(self) -> int:
        """The open file, opened anew if another file, or none, is at the path now."""
        if self._descriptor is not None and not self._is_at_path(self._descriptor):
            self.close()
        if self._descriptor is None:
            self._descriptor = self._open()
        return self._descriptor

    def _is_at_path(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.lstat())
        except FileNotFoundError:
            return False

    def _open(self) -> int:
        # O_NONBLOCK, so that opening a FIFO that nobody reads does not hang; regular files do not care.
        # O_NOFOLLOW: who may write to the directory could lead us to any file of ours.
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK | os.O_NOFOLLOW
        try:
            descriptor = os.open(self._path, flags | os.O_CREAT | os.O_EXCL, FILE_MODE)
        except FileExistsError:
            descriptor = os.open(self._path, flags)
        else:
            os.fchmod(descriptor, FILE_MODE)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError("is not a regular file")
        return descriptor
