"""Follows the log files of one cluster and hands on their events, each once; never decides what they mean.

Every step looks at names and facts, lets `logs.follow` judge them, and reads what is there. What wakes it or how long
it sleeps changes nothing but the delay. A file is known by device, inode and first bytes, so renaming, truncating,
copying and restarting lose nothing and repeat nothing; what cannot be had any more is counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from msgspec.structs import replace
from structlog.typing import FilteringBoundLogger

from pgoauthd.config.values import Cluster
from pgoauthd.logs.events import AuthEvent
from pgoauthd.logs.follow import Finding
from pgoauthd.logs.position import Position
from pgoauthd.logs.readers import LogFormat
from pgoauthd.runtime.clock import Clock, SystemClock
from pgoauthd.runtime.tailing.followed import OPEN_FILES, FollowedLogs
from pgoauthd.runtime.tailing.logfile import LogFile
from pgoauthd.runtime.tailing.waker import Waker
from pgoauthd.telemetry.metrics import Metrics

POLL_SECONDS = 1.0
"""How long a step waits at most for being woken."""
LOOK_SECONDS = 0.25
"""The least time between two looks at directories."""
SETTLE_SECONDS = 0.05
"""How long an entry in stderr format waits for further lines of its own."""
DRAIN_SECONDS = 30.0
"""How long a file that was rotated away stays open after its last byte: writers let go of it late."""


class EventSink(Protocol):
    """Takes what was read."""

    def on_events(self, cluster: str, events: Sequence[AuthEvent]) -> None:
        """Take events of one cluster in file order."""


class LogTail:
    """The logs of one cluster. At any moment `positions` fits the events handed on so far."""

    def __init__(
        self,
        cluster: Cluster,
        saved: Sequence[Position],
        *,
        sink: EventSink,
        metrics: Metrics,
        log: FilteringBoundLogger,
        clock: Clock | None = None,
    ) -> None:
        """Follow `cluster.logs` from the positions `saved` by the last run; LogFormatError for a bad prefix."""
        self._name = cluster.name
        self._followed = FollowedLogs(cluster, saved, metrics=metrics, log=log)
        self._sink = sink
        self._metrics = metrics
        self._log = log.bind(cluster=cluster.name)
        self._puzzling: set[str] = set()
        """Paths of which the log has been told that they cannot be understood."""
        self._clock = clock or SystemClock()
        self.last_round = self._clock.monotonic()
        """When it last got on, by the monotonic clock."""

    @property
    def caught_up(self) -> bool:
        """All that was written by the last look has been read, and nothing could not be read."""
        return self._followed.looked and not self._followed.problems and self.lag_bytes == 0

    @property
    def lag_bytes(self) -> int:
        """Bytes known to be written and not read."""
        return sum(file.lag for file in self._followed.files)

    def positions(self) -> tuple[Position, ...]:
        """Where to go on after a restart. What could not be opened yet keeps the position it had."""
        return (*self._followed.saved, *(file.position for file in self._followed.files))

    async def run(self) -> None:
        """Step for ever, woken by changes and at least once in POLL_SECONDS."""
        looked = float("-inf")
        with Waker() as waker:
            try:
                while True:
                    now = self._clock.monotonic()
                    look = now - looked >= LOOK_SECONDS
                    looked = now if look else looked
                    if await self.step(look=look):
                        await self._clock.sleep(SETTLE_SECONDS)
                    elif not waker.arm(self._followed.directories):
                        await waker.wait(POLL_SECONDS if look else LOOK_SECONDS)
            finally:
                self.close()

    async def step(self, *, look: bool = True) -> bool:
        """One round: look at the directories, read what is there, count. Whether anything was read.

        The event loop gets its turn after every chunk.
        """
        if look:
            self._followed.look()
        read = False
        for place, file in enumerate(files := tuple(self._followed.files)):
            read |= await self._advance(file)
            if place < len(files) - OPEN_FILES and not file.resting:
                self._put_to_rest(file)
        self._retire()
        self._metrics.log_lag.labels(self._name).set(self.lag_bytes)
        self.last_round = self._clock.monotonic()
        return read

    def close(self) -> None:
        """Close all files; `positions` stays as it is."""
        for file in self._followed.files:
            file.close()

    # reading

    async def _advance(self, file: LogFile) -> bool:
        """Read one file to the end that it has now. Whether there was anything."""
        if file.resting and file.idle_since is not None:
            return False
        before = file.position
        try:
            match file.look():
                case Finding.TRUNCATED:
                    await self._start_over(file, before)
                case Finding.REPLACED | Finding.GONE:
                    # it was closed and its name leads elsewhere now: the next look finds what is there
                    self._followed.let_go(file)
                    return False
                case Finding.CONTINUE:
                    pass
            read = await self._read(file)
        except OSError as error:
            self._followed.fail(file.path, error)
            return False
        self._followed.succeed(file.path)
        if read:
            file.idle_since = None
        elif file.idle_since is None:
            self._hand_on(file, file.flush())
            file.idle_since = self._clock.monotonic()
        return read

    async def _read(self, file: LogFile) -> bool:
        read = False
        while True:
            size, events = file.read()
            if not size:
                return read
            read = True
            self._metrics.log_read.labels(self._name).inc(size)
            self._hand_on(file, events)
            self.last_round = self._clock.monotonic()
            await asyncio.sleep(0)

    async def _start_over(self, file: LogFile, before: Position) -> None:
        """The file was truncated. What was not handed on of it may be in a copy, which comes first."""
        rest = self._followed.rest_of(before)
        if rest is None:
            self._hand_on(file, file.flush())
            before = replace(before, offset=file.position.offset)
        for older in self._followed.start_over(file, before, rest):
            await self._advance(older)

    def _hand_on(self, file: LogFile, events: list[AuthEvent]) -> None:
        if events:
            self._sink.on_events(self._name, events)
        if (complaints := file.complaints()) is not None:
            failures = self._metrics.log_parse_failures.labels(self._name, complaints.log_format)
            failures.inc(complaints.parse_failures)
            self._metrics.log_overlong.labels(self._name).inc(complaints.overlong)
            if complaints.parse_failures and file.path not in self._puzzling:
                self._tell_puzzling(file.path, complaints.log_format)

    def _tell_puzzling(self, path: str, log_format: LogFormat) -> None:
        """Say once of each path that entries in it cannot be understood; how many is counted."""
        self._puzzling.add(path)
        remedy = "look whether something else writes into the file"
        if log_format in (LogFormat.STDERR, LogFormat.JOURNAL):
            remedy = "is clusters.log_line_prefix the server's? SHOW log_line_prefix tells it"
        self._log.warning("log_not_understood", path=path, format=log_format.value, remedy=remedy)

    def _retire(self) -> None:
        """Let go of files that were rotated away and are read to their end; close old ones that are idle."""
        now = self._clock.monotonic()
        for file in tuple(self._followed.files):
            if file.named or file.idle_since is None:
                continue
            if file.resting or self._followed.is_outranked(file) or now - file.idle_since >= DRAIN_SECONDS:
                self._hand_on(file, file.finish())
                self._followed.let_go(file)

    def _put_to_rest(self, file: LogFile) -> None:
        """Close a file of long ago until it changes."""
        if file.named and file.lag == 0:
            self._hand_on(file, file.flush())
            file.idle_since = self._clock.monotonic()
            file.close()
