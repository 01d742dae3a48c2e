"""Runs the real pipeline over old logs: files in, outcomes out; follows nothing, saves nothing, asks nobody.

The clock of a replay is the log's own newest timestamp, so an attempt times out as it would have in life.
"""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path
from typing import BinaryIO, cast

from pgoauthd.correlation.engine import Engine, Limits
from pgoauthd.correlation.outcome import Outcome, Unmatched
from pgoauthd.correlation.verdicts import Verdicts
from pgoauthd.errors import LogFormatError
from pgoauthd.logs.prefix import LinePrefix
from pgoauthd.logs.readers import READ_BYTES, LogFormat, LogReader, open_reader, recognise

HEAD_BYTES = 64 * 1024
"""How much of a file may be looked at to recognise its format."""
STDIN = Path("-")


@dataclass(frozen=True, slots=True)
class ReplaySettings:
    """How the server that wrote the logs was set up."""

    cluster: str
    prefix: LinePrefix
    timezone: tzinfo
    limits: Limits = field(default_factory=Limits)


@dataclass(slots=True)
class ReplayReport:
    """What was read, to be believed only as far as `parse_failures` and `overlong` allow."""

    files: int = 0
    bytes_read: int = 0
    understood: int = 0
    """Entries that concern a login."""
    parse_failures: int = 0
    overlong: int = 0
    unfinished: int = 0
    leaked_tokens: int = 0
    """Logins whose token the server's validator wrote into the log."""
    formats: set[LogFormat] = field(default_factory=set)


class Replay:
    """One pass over files in the order given; `outcomes` yields as they are decided and fills `report`."""

    def __init__(self, settings: ReplaySettings, progress: Callable[[int], None] | None = None) -> None:
        self.report = ReplayReport()
        self._settings = settings
        self._progress = progress or (lambda _: None)
        self._engine = Engine(settings.cluster, Verdicts(max_age=0), settings.limits)

    def outcomes(self, paths: list[Path]) -> Iterator[Outcome]:
        """Every outcome of the files; LogFormatError for a file that is no log, OSError for an unreadable one."""
        for path in paths:
            with _open(path) as stream:
                yield from self._file(path, stream)
            self.report.files += 1
        yield from self._engine.finish()
        self.report.unfinished = self._engine.unmatched[Unmatched.UNFINISHED]

    def _file(self, path: Path, stream: BinaryIO) -> Iterator[Outcome]:
        chunk = stream.read(READ_BYTES)
        if not chunk:
            return
        reader = self._reader(path, chunk)
        while chunk:
            self.report.bytes_read += len(chunk)
            yield from self._engine.follow(reader.feed(chunk))
            self._count_leaks()
            self._progress(len(chunk))
            chunk = stream.read(READ_BYTES)
        yield from self._engine.follow(reader.finish())
        self._count_leaks()
        self.report.understood += reader.stats.entries_seen
        self.report.parse_failures += reader.stats.parse_failures
        self.report.overlong += reader.stats.overlong

    def _count_leaks(self) -> None:
        self.report.leaked_tokens += len(self._engine.leaks)
        self._engine.leaks = []

    def _reader(self, path: Path, head: bytes) -> LogReader:
        log_format = recognise(head[:HEAD_BYTES], self._settings.prefix)
        if log_format is None:
            raise LogFormatError(
                f"{path}: is not a PostgreSQL log in csvlog or jsonlog format, nor that of a CloudNativePG pod or of "
                "journalctl --output=json, nor in stderr format with the prefix "
                f"{self._settings.prefix.setting!r}; give the server's log_line_prefix with --prefix"
            )
        self.report.formats.add(log_format)
        return open_reader(log_format, prefix=self._settings.prefix, timezone=self._settings.timezone)


def _open(path: Path) -> BinaryIO:
    if path == STDIN:
        return sys.stdin.buffer
    if path.suffix == ".gz":
        return cast("BinaryIO", gzip.open(path, "rb"))
    return path.open("rb")
