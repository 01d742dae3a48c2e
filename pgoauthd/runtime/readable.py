"""Opens files for reading that others have named: never waits for whoever might write to a pipe, never judges them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


def open_to_read(path: str) -> int:
    """A descriptor of what has this name, which may be anything by now: a regular file or not, fstat tells.

    O_NONBLOCK, so that opening a FIFO that nobody writes to does not hang; regular files do not care.
    """
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)


@contextmanager
def opened_to_read(path: str) -> Iterator[tuple[int, os.stat_result]]:
    """The descriptor and what fstat says of it, closed at the end of the block."""
    descriptor = open_to_read(path)
    try:
        yield descriptor, os.fstat(descriptor)
    finally:
        os.close(descriptor)


def read_up_to(descriptor: int, size: int) -> bytes:
    """The first `size` bytes of a regular file, or all where it has no more."""
    content = bytearray()
    while len(content) < size and (part := os.read(descriptor, size - len(content))):
        content += part
    return bytes(content)
