"""One log file while it is followed: descriptor, reader and position; reads forward and never chooses files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from pgoauthd.correlation.gaps import Gaps
from pgoauthd.logs.events import AuthEvent
from pgoauthd.logs.follow import FileFacts, Finding, judge
from pgoauthd.logs.position import FINGERPRINT_BYTES, Fingerprint, Position
from pgoauthd.logs.prefix import LinePrefix
from pgoauthd.logs.readers import LogFormat, LogReader, recognise
from pgoauthd.runtime.readable import open_to_read
from pgoauthd.runtime.tailing.chunksize import ChunkSize
from pgoauthd.runtime.tailing.logdir import facts_of

HEAD_BYTES = 64 * 1024
"""How much of a file may be looked at to recognise its format, or for the beginning of its last line."""

OpenReader = Callable[[LogFormat], LogReader]


class Progress(NamedTuple):
    """How far a reader has come, in all; what it has not emitted yet, or given up for good, is in none of it."""

    consumed: int = 0
    parse_failures: int = 0
    overlong: int = 0


class LogFile:
    """A file that is read. `path` is the name it was last seen under; what it is goes by the descriptor."""

    def __init__(self, path: str, *, prefix: LinePrefix, open_reader: OpenReader) -> None:
        """Open the file; OSError if that fails. `begin` says from where it is read."""
        self.path = path
        self.named = True
        """A name that is followed leads to it; else it was rotated away and is read to its end."""
        self.idle_since: float | None = None
        """By the monotonic clock; None while there is something to read."""
        self._prefix = prefix
        self._open_reader = open_reader
        self._descriptor: int | None = None
        self.facts: FileFacts = facts_of(os.fstat(self._open()))
        """As of the last look."""
        self._reader: LogReader | None = None
        self._format: LogFormat | None = None
        self._fingerprint = Fingerprint()
        self._base = 0
        """Where in the file the reader began."""
        self._read_to = 0
        self._unflushed = False
        self._too_short = False
        """It has no whole line yet, and does not show its format."""
        self._told = Progress()
        self.limit: int | None = None
        """It is not read beyond that: a richer file has it."""
        self._goal = 0
        """How far it is to be read before others get their turn: a file that grows for ever must come to an end."""
        self.begun = False
        """Something of it has been read, or is about to be: those before it have been read to their ends."""
        self.in_order = False
        """It had content before those before it had their turn."""
        self._chunk = ChunkSize()
        self.gaps = Gaps()
        """Of what is read from where it began."""

    @property
    def log_format(self) -> LogFormat | None:
        """None as long as it does not show."""
        return self._format

    @property
    def lag(self) -> int:
        """Bytes known to be written that could be read."""
        return 0 if self._too_short else max(self._end - self._read_to, 0)

    @property
    def position(self) -> Position:
        """How far its events are emitted."""
        return Position(
            path=self.path,
            device=self.facts.device,
            inode=self.facts.inode,
            fingerprint=self._fingerprint,
            offset=self._base + (self._reader.consumed if self._reader is not None else 0),
            size=self.facts.size,
            modified=self.facts.modified,
            log_format=self._format,
        )

    @property
    def resting(self) -> bool:
        """It is closed for having been idle for long."""
        return self._descriptor is None

    @property
    def _end(self) -> int:
        """How far it may be read."""
        return self.facts.size if self.limit is None else min(self.facts.size, self.limit)

    def head(self) -> bytes:
        """The first bytes, as many as a fingerprint needs."""
        return os.pread(self._open(), FINGERPRINT_BYTES, 0)

    def begin(self, offset: int, head: bytes, log_format: LogFormat | None = None) -> None:
        """Read from `offset` on a file that begins with `head`; whatever was read before is forgotten."""
        self._base = self._read_to = offset
        self._goal = self.facts.size
        self._reader, self._format, self._told = None, None, Progress()
        self._fingerprint = Fingerprint.of(head[:offset])
        self._unflushed = self.begun = self.in_order = False
        self.gaps = Gaps()
        if log_format is not None:
            self._use(log_format)

    def begin_at_end(self, size: int, head: bytes) -> None:
        """Read what is written after the first `size` bytes, and the line in which they end as a whole."""
        start = max(size - HEAD_BYTES, 0)
        newline = os.pread(self._open(), size - start, start).rfind(b"\n")
        self.begin(start + newline + 1 if newline >= 0 or start == 0 else size, head)

    def look(self) -> Finding:
        """Stat it, and find out whether it is still what was read."""
        before = self.facts
        known = replace(self.position, offset=self._read_to)
        self.facts = facts_of(os.fstat(self._open()))
        if self.is_done or self._reader is None or self.facts.size < self._goal:
            self._goal = self._end
        if self.facts == before and self.facts.size >= self._read_to:
            return Finding.CONTINUE
        return judge(known, self.facts, self.head())

    @property
    def is_done(self) -> bool:
        """It has been read as far as it reached when its turn came."""
        return self._read_to >= self._goal

    def read(self, most: int) -> tuple[int, list[AuthEvent]]:
        """Read one chunk of at most so many bytes, of this turn: how many bytes, and the events that they complete."""
        reader = self._reader or self._recognise()
        size = min(most, self._chunk.bytes, self._goal - self._read_to)
        if reader is None or size <= 0:
            return 0, []
        # all that can fail comes before anything is changed: what fails is tried again
        head = self.head() if self._fingerprint.length < FINGERPRINT_BYTES else None
        chunk = os.pread(self._open(), size, self._read_to)
        self._read_to += len(chunk)
        self._unflushed = True
        if head is not None:
            self._fingerprint = Fingerprint.of(head[: self._read_to])
        return len(chunk), reader.feed(chunk)

    def flush(self) -> list[AuthEvent]:
        """Nothing more has come: the events of entries that only waited for that."""
        if not self._unflushed or self._reader is None:
            return []
        self._unflushed = False
        return self._reader.flush()

    def finish(self) -> list[AuthEvent]:
        """The file is over: the events of what is left, a last line without newline included."""
        return self._reader.finish() if self._reader is not None else []

    def learn(self, size: int, seconds: float) -> None:
        """So many bytes took so long to read and to hand on: the next chunk is to be of a good size."""
        self._chunk.learn(size, seconds)

    def progress(self) -> Progress:
        """How far it has come since the last time this was asked; it fits `position`."""
        if self._reader is None:
            return Progress()
        stats, told = self._reader.stats, self._told
        self._told = Progress(self._reader.consumed, stats.parse_failures, stats.overlong)
        return Progress(*(now - before for now, before in zip(self._told, told, strict=True)))

    def close(self) -> None:
        """Close the descriptor; the next look or read opens the path again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int:
        if self._descriptor is None:
            self._descriptor = open_to_read(self.path)
        return self._descriptor

    def _recognise(self) -> LogReader | None:
        """Find out the format from the content, or from the name once there is a whole line of whatever."""
        head = os.pread(self._open(), HEAD_BYTES, 0)
        log_format = recognise(head, self._prefix)
        if log_format is None and b"\n" in head:
            by_name = {".json": LogFormat.JSONLOG, ".csv": LogFormat.CSVLOG}
            log_format = by_name.get(Path(self.path).suffix, LogFormat.STDERR)
        self._too_short = log_format is None
        return self._use(log_format) if log_format is not None else None

    def _use(self, log_format: LogFormat) -> LogReader:
        self._format, self._reader = log_format, self._open_reader(log_format)
        return self._reader
