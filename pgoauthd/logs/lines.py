"""Puts chunks of any size together again for a scanner that wants whole lines; never looks into a line itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum, auto
from typing import NamedTuple, Protocol

import msgspec

from pgoauthd.logs.events import AuthEvent


class Ending(Enum):
    """What is known of the bytes that follow those at hand."""

    OPEN = auto()
    """More may come at any moment: an entry may go on in lines to come."""
    IDLE = auto()
    """Nothing has come for a while: an entry whose last line is complete is complete."""
    OVER = auto()
    """Nothing will come any more: an entry that has begun and not ended is damaged."""


class ReadStats(msgspec.Struct):
    """What a reader has seen so far."""

    bytes: int = 0
    entries_seen: int = 0
    """Entries that might concern a login and were read; most entries are skipped unseen."""
    parse_failures: int = 0
    """Entries that should concern a login and could not be read as their format."""
    overlong: int = 0
    """Lines given up because they were longer than allowed."""


class Scan(NamedTuple):
    """What a scanner found in the bytes at hand."""

    events: list[AuthEvent]
    used: int
    """How many of the bytes are done with: entries before are emitted or none of ours."""


def lines_with(pattern: re.Pattern[bytes], data: bytes, end: int) -> Iterator[tuple[int, int]]:
    """Where each line before `end` begins and ends that has a match in it; `end` is just behind a line break."""
    done = 0
    for hit in pattern.finditer(data, 0, end):
        at = hit.start()
        if at >= done:
            done = data.find(b"\n", at) + 1
            yield data.rfind(b"\n", 0, at) + 1, done


class Scanner(Protocol):
    """Finds entries of one log format."""

    def scan(self, data: bytes, ending: Ending, stats: ReadStats) -> Scan:
        """Read what is complete in `data`, which begins where the last scan had used up to; count in `stats`."""


class ChunkReader:
    """A LogReader: keeps what a scanner could not use yet, and gives up what grows beyond `max_line_bytes`."""

    def __init__(self, scanner: Scanner, max_line_bytes: int) -> None:
        self.stats = ReadStats()
        self.consumed = 0
        self._scanner = scanner
        self._max_line_bytes = max_line_bytes
        self._kept = b""
        self._skipped: int | None = None
        """In the rest of a line that was given up: how much of it there was so far. It counts when it is whole, so that
        who goes on from `consumed` counts it once."""

    def feed(self, chunk: bytes) -> list[AuthEvent]:
        """Events of the entries that this chunk completes."""
        self.stats.bytes += len(chunk)
        if self._skipped is not None:
            chunk = self._skip(chunk, self._skipped)
        events = self._scan(self._kept + chunk if self._kept else chunk, Ending.OPEN)
        if len(self._kept) > self._max_line_bytes:
            events += self._give_up()
        return events

    def flush(self) -> list[AuthEvent]:
        """The source is idle: events of entries whose last line is complete. A partial line keeps waiting."""
        return self._scan(self._kept, Ending.IDLE) if self._kept else []

    def finish(self) -> list[AuthEvent]:
        """The source has ended: the last line may lack its newline. The reader takes no more."""
        if self._skipped is not None:
            self._give_up_line(self._skipped)
        if not self._kept:
            return []
        whole = self._kept if self._kept.endswith(b"\n") else self._kept + b"\n"
        events = self._scan(whole, Ending.OVER)
        self.consumed, self._kept = self.stats.bytes, b""
        return events

    def _scan(self, data: bytes, ending: Ending) -> list[AuthEvent]:
        events, used = self._scanner.scan(data, ending, self.stats)
        self.consumed += used
        self._kept = data[used:]
        return events

    def _give_up(self) -> list[AuthEvent]:
        """What is kept is too long: emit what is complete in it, then drop the line it ends in."""
        events = self._scan(self._kept, Ending.IDLE)
        if len(self._kept) > self._max_line_bytes:
            if self._kept.endswith(b"\n"):
                self._give_up_line(len(self._kept))
            else:
                self._skipped = len(self._kept)
            self._kept = b""
        return events

    def _skip(self, chunk: bytes, before: int) -> bytes:
        end = chunk.find(b"\n") + 1
        if end == 0:
            self._skipped = before + len(chunk)
            return b""
        self._give_up_line(before + end)
        return chunk[end:]

    def _give_up_line(self, size: int) -> None:
        self.stats.overlong += 1
        self.consumed += size
        self._skipped = None
