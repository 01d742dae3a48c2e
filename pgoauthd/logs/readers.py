"""The log formats behind one interface: bytes in any chunking -> AuthEvents in file order; never opens a file.

Lines that do not concern a login are skipped in C and never decoded. Feed chunks of READ_BYTES.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import tzinfo
from enum import StrEnum
from typing import Protocol, assert_never

from pgoauthd.logs.cnpglog import CNPG_HEAD, CnpgScanner
from pgoauthd.logs.cri import CriScanner
from pgoauthd.logs.csvlog import ENTRY_HEAD, CsvlogScanner
from pgoauthd.logs.events import AuthEvent
from pgoauthd.logs.journal import JOURNAL_HEAD, JournalScanner
from pgoauthd.logs.jsonlog import JsonlogScanner
from pgoauthd.logs.lines import ChunkReader, ReadStats, Scanner
from pgoauthd.logs.prefix import LinePrefix
from pgoauthd.logs.stderrlog import StderrScanner
from pgoauthd.logs.times import Timestamps

READ_BYTES = 124 * 1024
"""The chunk size at which reading is fastest: from 128 KiB on glibc's malloc maps fresh pages for every chunk, and
filling those costs as much again as all the rest. One chunk holds up an event loop for a few milliseconds at most."""

_JSON_HEAD = rb'\{"timestamp":"'


class LogFormat(StrEnum):
    """The values of PostgreSQL's log_destination that end in files, and what others make of them."""

    STDERR = "stderr"
    CSVLOG = "csvlog"
    JSONLOG = "jsonlog"
    CNPG = "cnpg"
    """csvlog, as CloudNativePG's instance manager writes it into the log of a pod."""
    JOURNAL = "journal"
    """stderr, as journalctl writes what journald has taken."""


class LogReader(Protocol):
    """Reads one log from wherever feeding begins."""

    @property
    def stats(self) -> ReadStats:
        """What was seen so far."""

    @property
    def consumed(self) -> int:
        """Bytes, of all that were fed, that never need to be read again: what lies before is emitted or not ours."""

    def feed(self, chunk: bytes) -> list[AuthEvent]:
        """Events of the entries that this chunk completes."""

    def flush(self) -> list[AuthEvent]:
        """The source is idle: events of entries whose last line is complete. A partial line keeps waiting."""

    def finish(self) -> list[AuthEvent]:
        """The source has ended: the last line may lack its newline. The reader takes no more."""


def open_reader(
    log_format: LogFormat, *, prefix: LinePrefix, timezone: tzinfo, max_line_bytes: int = 1 << 20
) -> LogReader:
    """A reader of a log written in `timezone` (log_timezone); `prefix` matters to stderr format and journal."""
    return ChunkReader(_scanner(log_format, prefix, Timestamps(timezone)), max_line_bytes)


def _scanner(log_format: LogFormat, prefix: LinePrefix, timestamps: Timestamps) -> Scanner:
    match log_format:
        case LogFormat.STDERR:
            return StderrScanner(prefix, timestamps)
        case LogFormat.CSVLOG:
            return CsvlogScanner(timestamps)
        case LogFormat.JSONLOG:
            return JsonlogScanner(timestamps)
        case LogFormat.CNPG:
            return CriScanner(CnpgScanner(timestamps))
        case LogFormat.JOURNAL:
            return JournalScanner(prefix, timestamps)
        case _:
            assert_never(log_format)


def recognise(head: bytes, prefix: LinePrefix) -> LogFormat | None:
    """The format of a log that begins with `head`; None if none of its lines shows one: too little of it, or no log."""
    begins = {
        LogFormat.JSONLOG: re.compile(_JSON_HEAD),
        LogFormat.CSVLOG: re.compile(ENTRY_HEAD),
        LogFormat.CNPG: re.compile(CNPG_HEAD),
        LogFormat.JOURNAL: re.compile(JOURNAL_HEAD),
        LogFormat.STDERR: prefix.line,
    }
    lines = _line_starts(head)
    return next((which for start in lines for which, shown in begins.items() if shown.match(head, start)), None)


def _line_starts(head: bytes) -> Iterator[int]:
    start = 0
    while start < len(head):
        yield start
        newline = head.find(b"\n", start)
        if newline < 0:
            return
        start = newline + 1
