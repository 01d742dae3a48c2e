"""Notices that files have other contents than when they were last looked at; never says what is in them.

What wakes it is a hint only: the truth is in the contents, read at least once in POLL_SECONDS, because network file
systems do not tell and links can lead anywhere. So it makes no difference how a file changes: in place, by a rename as
editors do it, or by a link that is turned as Kubernetes does it.
"""

from __future__ import annotations

import asyncio
import hashlib
import stat
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from pgoauthd.runtime.clock import Clock
from pgoauthd.runtime.readable import opened_to_read, read_up_to
from pgoauthd.runtime.tailing.waker import Waker

POLL_SECONDS = 2.0
QUIET_SECONDS = 0.5
"""A change is looked at when nothing has changed for so long: a file may be half written."""
RESTLESS_SECONDS = 10.0
"""Files that change all the time are looked at all the same, this long after the first change."""
MAX_FILE_BYTES = 8 * 1024 * 1024
"""What comes after that is not looked at."""

Contents = dict[str, str]
"""By path: a hash of the content, or why there is none."""


def look_at(paths: Iterable[str]) -> Contents:
    """What is in the files now."""
    return {path: _look_at(path) for path in paths}


def _look_at(path: str) -> str:
    try:
        with opened_to_read(path) as (descriptor, status):
            if not stat.S_ISREG(status.st_mode):
                return "is not a regular file"
            return hashlib.blake2b(read_up_to(descriptor, MAX_FILE_BYTES)).hexdigest()
    except OSError as error:
        return error.strerror or type(error).__name__


class ReloadWatch:
    """Watches files; a context manager. Disks can hang, so they are read in threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waker = Waker()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waker.close()

    async def changed(self, known: Contents) -> bool:
        """Wait for something to happen, at most POLL_SECONDS. Whether a file has another content, and is quiet."""
        directories = await asyncio.to_thread(_directories, known)
        if not self._waker.arm(directories):
            await self._waker.wait(POLL_SECONDS)
        if await self._quiet(known) != known:
            return True
        await self._clock.sleep(QUIET_SECONDS)  # in the directory of a busy log or state file there is always something
        return False

    async def _quiet(self, known: Contents) -> Contents:
        """What is in the files when it has not changed for QUIET_SECONDS."""
        restless_until = self._clock.monotonic() + RESTLESS_SECONDS
        seen = await asyncio.to_thread(look_at, known)
        while seen != known and self._clock.monotonic() < restless_until:
            await self._clock.sleep(QUIET_SECONDS)
            before, seen = seen, await asyncio.to_thread(look_at, known)
            if seen == before:
                break
        return seen


def _directories(paths: Iterable[str]) -> frozenset[str]:
    """Where the names are, and where the links lead now."""
    places = [place for path in paths for place in (Path(path).absolute(), Path(path).resolve())]
    return frozenset(str(place.parent) for place in places)
