"""The outcome file: ended attempts as lines of JSON, for log shippers; never decides what an outcome says.

`offer` is what the rest of the daemon calls: it is synchronous, takes microseconds and waits for nothing. `run` does
the slow part. What cannot be taken is counted (`pgoauthd_sink_dropped_total`).
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
from structlog.typing import FilteringBoundLogger

from pgoauthd.correlation.outcome import Outcome
from pgoauthd.errors import StateError
from pgoauthd.runtime.linefile import LineFile
from pgoauthd.runtime.pace import Pace
from pgoauthd.telemetry.metrics import Metrics

OUTCOME_FILE = "outcome_file"
"""The `sink` label of the outcome file."""
MAX_BATCH = 1_000
"""Outcomes in one write."""
FLUSH_SECONDS = 5.0
"""At shutdown the outcomes still waiting are written within this time."""

Missed = Callable[[int], Iterator[bytes]]


class OutcomeFile:
    """A file of ended attempts, one JSON object a line; reopened when it is rotated away (no signal is needed).

    At most `max_waiting` outcomes wait for the disk; more are dropped and counted. A write that fails is taken back and
    tried again, so the file holds whole lines only. It is made with mode 0640, whatever the umask.

    After a kill the last line tells by its `id` what was written, and what the history has beyond that comes first.
    """

    def __init__(
        self,
        path: Path,
        encode: Callable[[Outcome], bytes],
        *,
        metrics: Metrics,
        log: FilteringBoundLogger,
        pace: Pace | None = None,
        missed: Missed | None = None,
        max_waiting: int = 10_000,
        retry_seconds: float = 5.0,
    ) -> None:
        """`missed`: the JSON lines of outcomes before this run that follow an id, where the last run was killed."""
        self._file = LineFile(path)
        self._encode = encode
        self._missed = missed
        self._pace = pace or Pace()
        self._dropped = metrics.sink_dropped.labels(OUTCOME_FILE)
        self._log = log.bind(sink=OUTCOME_FILE, path=str(path))
        self._max_waiting = max_waiting
        self._retry_seconds = retry_seconds
        self._waiting: deque[Outcome] = deque()
        self._news = asyncio.Event()
        self._writing: asyncio.Task[bool] | None = None
        self._failing = False
        self._encoding_fails = False
        """Told once; each outcome lost to it is counted."""

    def offer(self, outcome: Outcome) -> None:
        """Have the outcome written soon, or count it as dropped."""
        if len(self._waiting) >= self._max_waiting:
            self._dropped.inc()
            return
        self._waiting.append(outcome)
        self._news.set()

    async def run(self) -> None:
        """Write what is offered, until cancelled; then write what still waits and close the file."""
        try:
            await self._until_taken(self._catch_up)
            while True:
                await self._news.wait()
                self._news.clear()
                while self._waiting:
                    await self._until_taken(self._write_batch)
        finally:
            await self._finish()

    async def _until_taken(self, write: Callable[[], Awaitable[None]]) -> None:
        while True:
            if await self._whole(write):
                return
            await asyncio.sleep(self._retry_seconds)

    async def _whole(self, write: Callable[[], Awaitable[None]]) -> bool:
        """One write, also if we are cancelled meanwhile: what is written and not forgotten would be written twice.

        False if the disk does not take it now.
        """
        self._writing = asyncio.create_task(self._try(write))
        return await asyncio.shield(self._writing)

    async def _try(self, write: Callable[[], Awaitable[None]]) -> bool:
        try:
            await write()
        except OSError as error:
            self._tell_failure(error)
            return False
        if self._failing:
            self._failing = False
            self._log.info("outcome_file_written_again")
        return True

    async def _catch_up(self) -> None:
        """Cut off what a kill has torn, and write what it has kept from being written."""
        missed, self._missed = self._missed, None
        try:
            count = await asyncio.to_thread(_catch_up, self._file, missed)
        except BaseException:
            self._missed = missed
            raise
        if count:
            self._log.info("outcome_file_caught_up", count=count)

    async def _write_batch(self) -> None:
        """Write the oldest outcomes that wait."""
        batch = tuple(itertools.islice(self._waiting, MAX_BATCH))
        lines: list[bytes] = []
        await self._pace.in_slices(map(lines.append, map(self._line, batch)))
        # A disk can hang, and logins must not wait for it; the thread touches nothing but the file.
        await asyncio.to_thread(self._file.append, b"".join(lines))
        for _ in batch:
            self._waiting.popleft()

    def _line(self, outcome: Outcome) -> bytes:
        try:
            return self._encode(outcome) + b"\n"
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one outcome, the others are written
            self._dropped.inc()
            if not self._encoding_fails:
                self._encoding_fails = True
                self._log.error("outcome_not_encoded", problem=type(error).__name__)
            return b""

    def _tell_failure(self, error: OSError) -> None:
        if self._failing:
            return
        self._failing = True
        self._log.error(
            "outcome_file_not_written",
            problem=error.strerror or str(error),
            remedy=f"check the path, its permissions and the free space; {self._max_waiting} outcomes can wait",
        )

    async def _finish(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_SECONDS):
                if self._writing is not None:
                    await asyncio.shield(self._writing)
                while self._waiting and await self._whole(self._write_batch):
                    pass
        if self._waiting:
            self._dropped.inc(len(self._waiting))
            self._log.error("outcomes_lost_at_shutdown", count=len(self._waiting))
        if self._writing is None or self._writing.done():
            self._file.close()


class _Numbered(msgspec.Struct):
    id: int | None = None


def _catch_up(file: LineFile, missed: Missed | None) -> int:
    """In a thread: how many lines were written; OSError if the disk does not take them."""
    last = file.last_line()
    if last is None or missed is None:
        return 0
    try:
        written = msgspec.json.decode(last, type=_Numbered).id
        if written is None:
            return 0
        count = 0
        # One by one: if the disk is full amid them, the last line tells where to go on.
        for line in missed(written):
            file.append(line + b"\n")
            count += 1
    except (msgspec.MsgspecError, StateError):
        return 0  # the last line is nobody's we know, or the history cannot be read: there is nothing to go by
    return count
