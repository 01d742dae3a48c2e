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
from pgoauthd.logs.readers import READ_BYTES, LogFormat
from pgoauthd.runtime.clock import Clock, SystemClock
from pgoauthd.runtime.pace import SLICE_SECONDS, Pace
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
ROUND_SECONDS = LOOK_SECONDS
"""After so long a round breaks off, to be gone on with after a look at the directories: there files come and go."""


class EventSink(Protocol):
    """Takes what was read."""

    @property
    def room(self) -> asyncio.Event:
        """Set while more events may be handed over. Those of the slice that is being read come all the same."""

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
        pace: Pace | None = None,
    ) -> None:
        """Follow `cluster.logs` from the positions `saved` by the last run; LogFormatError for a bad prefix.

        Tails that run side by side share a `pace`.
        """
        self._name = cluster.name
        self._sink = sink
        self._metrics = metrics
        self._log = log.bind(cluster=cluster.name)
        self._puzzling: set[str] = set()
        """Paths of which the log has been told that they cannot be understood."""
        self._broken: set[str] = set()
        """Paths of which it has been told that lines are missing in them."""
        self._clock = clock or SystemClock()
        self._followed = FollowedLogs(cluster, saved, metrics=metrics, log=log, clock=self._clock)
        self._pace = pace or Pace(self._clock)
        self._round_ends = 0.0
        self._unfinished: LogFile | None = None
        """The file at which the last round broke off, with more of its turn to come."""
        self._waiting: LogFile | None = None
        """The file that is not begun yet, as those before it are read to their ends."""
        self.last_round = self._clock.monotonic()
        """When it last got on, or waited for room, by the monotonic clock."""

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
        read = (file.position for file in self._followed.files)
        return (*self._followed.saved, *read, *self._followed.outranked_positions())

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
                        if self._unfinished is None:
                            await self._clock.sleep(SETTLE_SECONDS)
                    elif not waker.arm(self._followed.directories):
                        await waker.wait(POLL_SECONDS if look else LOOK_SECONDS)
            finally:
                self.close()

    async def step(self, *, look: bool = True) -> bool:
        """One round: look at the directories, read what is there, count. Whether anything was read or waits for that.

        Each file is read as far as it reached when its turn came, before the next one has its turn. A round that takes
        long breaks off there, and the next step goes on with it. The event loop gets its turns after every slice.
        """
        if look:
            self._followed.look()
        self._round_ends = self._clock.monotonic() + ROUND_SECONDS
        read = False
        for place, file in self._rest_of_round():
            read |= await self._advance(file)
            if self._unfinished is not None:
                break
            if place >= OPEN_FILES and not file.resting:
                self._put_to_rest(file)
        else:
            self._retire()
        self._metrics.log_lag.labels(self._name).set(self.lag_bytes)
        self.last_round = self._clock.monotonic()
        return read

    def close(self) -> None:
        """Close all files; `positions` stays as it is."""
        for file in self._followed.files:
            file.close()

    # reading

    def _rest_of_round(self) -> list[tuple[int, LogFile]]:
        """The files whose turn it is, each with the number of those after it; all, or from where a round broke off."""
        files = self._followed.files
        unfinished, self._unfinished = self._unfinished, None
        begin = files.index(unfinished) if unfinished in files else 0
        if unfinished is None:
            for file in files:
                file.in_order = file.begun or file.facts.size > 0
        return [(len(files) - 1 - place, files[place]) for place in range(begin, len(files))]

    async def _advance(self, file: LogFile) -> bool:
        """Let a file have its turn. Whether there was anything to read."""
        if file.resting and file.idle_since is not None:
            return False
        before = file.position
        try:
            match file.look():
                case Finding.TRUNCATED:
                    if not await self._start_over(file, before):
                        return True
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

    async def _finish_older(self, file: LogFile) -> bool:
        """What was written before the first line of a file comes before it. False if the round breaks off meanwhile.

        Older files of its directory may have grown since their turn, before there was anything in this one.
        """
        if file.begun or file.is_done:
            return True
        older = self._followed.before(file)
        if not file.in_order and self._waiting is not file:
            self._waiting = file
            for other in older:
                await self._advance(other)
                if self._unfinished is not None:
                    return False
        for other in older:
            self._hand_on(other, other.flush())
        self._waiting, file.begun = None, True
        return True

    async def _read(self, file: LogFile) -> bool:
        """Read a file until its turn or the round is over. Whether there was anything."""
        if not await self._finish_older(file):
            return True
        read = False
        while not file.is_done:
            if not await self._has_room():
                self._unfinished = file
                return True
            async with self._pace.slice():
                more = self._read_slice(file)
            read |= more
            if not more:
                break
            if self.last_round >= self._round_ends and not file.is_done:
                self._unfinished = file
                break
        return read

    def _read_slice(self, file: LogFile) -> bool:
        """Read up to READ_BYTES, and hand on what they say, for SLICE_SECONDS. Whether there was anything."""
        left, took = READ_BYTES, 0.0
        now = self._clock.monotonic()
        until = now + SLICE_SECONDS
        try:
            while left and now + took / 2 < until:
                size, events = file.read(left)
                if not size:
                    break
                left -= size
                if events:
                    self._give(file, events)
                before, now = now, self._clock.monotonic()
                took = now - before
                file.learn(size, took)
        finally:
            self._count(file)
        self.last_round = now
        return left < READ_BYTES

    async def _has_room(self) -> bool:
        """Wait until events may be handed over, or until the round is over."""
        room = self._sink.room
        if room.is_set():
            return True
        waits = [asyncio.ensure_future(wait) for wait in (room.wait(), self._clock.sleep(ROUND_SECONDS))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return room.is_set()

    async def _start_over(self, file: LogFile, before: Position) -> bool:
        """The file was truncated. What was not handed on of it may be in a copy, which comes first; whether it did."""
        rest = self._followed.rest_of(before)
        if rest is None:
            self._hand_on(file, file.flush())
            before = replace(before, offset=file.position.offset)
        for older in self._followed.start_over(file, before, rest):
            await self._advance(older)
            if self._unfinished is not None:
                return False
        return True

    def _hand_on(self, file: LogFile, events: list[AuthEvent]) -> None:
        if events:
            self._give(file, events)
        self._count(file)

    def _give(self, file: LogFile, events: list[AuthEvent]) -> None:
        """Give the events away; what lies between them and was never read is counted, and told once of each path."""
        self._sink.on_events(self._name, events)
        if lost := file.gaps.find(events):
            self._metrics.log_lost.labels(self._name).inc(lost)
            if file.path not in self._broken:
                self._broken.add(file.path)
                remedy = "lines of logins are missing in it: is its file system full, or does something else limit it?"
                self._log.warning("log_lines_lost", path=file.path, lines=lost, remedy=remedy)

    def _count(self, file: LogFile) -> None:
        """Count what was read, before anybody else has the loop: a save finds positions, events and counts that fit."""
        consumed, parse_failures, overlong = file.progress()
        if consumed:
            self._metrics.log_read.labels(self._name).inc(consumed)
        if overlong:
            self._metrics.log_overlong.labels(self._name).inc(overlong)
        if parse_failures and file.log_format is not None:
            self._metrics.log_parse_failures.labels(self._name, file.log_format).inc(parse_failures)
            if file.path not in self._puzzling:
                self._tell_puzzling(file.path, file.log_format)

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
