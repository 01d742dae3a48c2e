"""Wakes the event loop when something happens in a directory; a hint only, since polling goes on without it.

inotify has limits and network file systems do not tell, so nothing may depend on being woken. What happened is not
passed on: the truth comes from stat and read. Watching costs more than reading where thousands of lines come in a
second, so it is for the idle: it is armed before a wait and disarmed by the first event.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Self

from watchdog.events import (
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

WRITES: list[type[FileSystemEvent]] = [FileCreatedEvent, FileDeletedEvent, FileModifiedEvent, FileMovedEvent]
"""Not the opening, reading and closing of files: that would be our own."""
_JOIN_SECONDS = 2.0


class Waker(FileSystemEventHandler):
    """Watches directories from threads that do nothing but set an event in the loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self._observer: BaseObserver | None = None
        self._armed: frozenset[str] | None = None
        """None where it is disarmed; the empty set waits, too, for there may be no directory now."""
        self.watched: frozenset[str] = frozenset()
        """The directories whose changes wake now; others are only polled."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def arm(self, directories: frozenset[str]) -> bool:
        """Let changes in these directories wake the next wait. Whether that is new: what came before was not seen."""
        if directories == self._armed:
            return False
        self.disarm()
        self._woken.clear()
        self._armed = directories
        self.watched = frozenset(directory for directory in directories if self._watch(directory))
        return True

    def disarm(self) -> None:
        """Watch nothing."""
        if self._observer is not None:
            self._observer.unschedule_all()
        self._armed, self.watched = None, frozenset()

    async def wait(self, seconds: float) -> None:
        """Return when something has happened since it was armed, at the latest after so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
                self.disarm()

    def on_any_event(self, event: FileSystemEvent) -> None:  # noqa: ARG002 - what happened is not passed on
        """Wake the loop; called in the observer's thread."""
        if not self._woken.is_set():
            with suppress(RuntimeError):  # the loop is closed: nobody is left to be woken
                self._loop.call_soon_threadsafe(self._woken.set)

    def close(self) -> None:
        """Stop the threads."""
        if self._observer is not None:
            self._observer.stop()
            self._observer.join(_JOIN_SECONDS)
            self._observer = None

    def _watch(self, directory: str) -> bool:
        try:
            if self._observer is None:
                self._observer = Observer()
                self._observer.start()
            self._observer.schedule(self, directory, event_filter=WRITES)
        except OSError:  # no such directory, or fs.inotify's limits
            return False
        return True
