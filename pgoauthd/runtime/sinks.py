"""Where outcomes go besides the metrics: a file of JSON lines, and receivers of alerts; never decides what is news.

`offer` is what the rest of the daemon calls: it is synchronous, takes microseconds and waits for nothing. `run` does
the slow part and belongs to the daemon's TaskGroup. What a sink cannot take is counted (`pgoauthd_sink_dropped_total`).
"""

from __future__ import annotations

import asyncio
import itertools
import os
import stat
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import Enum, auto
from pathlib import Path
from typing import assert_never

import aiohttp
from structlog.typing import FilteringBoundLogger

from pgoauthd import __version__
from pgoauthd.config.values import Notify
from pgoauthd.correlation import alert_json
from pgoauthd.correlation.alerts import Alert, Alerts, Policy
from pgoauthd.correlation.outcome import Outcome
from pgoauthd.telemetry.log import redact
from pgoauthd.telemetry.metrics import Metrics
from pgoauthd.tokens.reasons import Reason

OUTCOME_FILE = "outcome_file"
"""The `sink` label of the outcome file."""
FILE_MODE = 0o640
MAX_BATCH = 1_000
"""Outcomes in one write."""
FLUSH_SECONDS = 5.0
"""At shutdown the outcomes still waiting are written within this time."""
MAX_WAIT_SECONDS = 60.0
"""The longest time between two posts to a receiver that is away."""
RETRY_STATUSES = frozenset({408, 429})
"""Besides 5xx: the receiver asks to try again."""


class OutcomeFile:
    """A file of ended attempts, one JSON object a line; reopened when it is rotated away (no signal is needed).

    At most `max_waiting` outcomes wait for the disk; more are dropped and counted. A write that fails is taken back and
    tried again, so the file holds whole lines only. It is made with mode 0640, whatever the umask.
    """

    def __init__(
        self,
        path: Path,
        encode: Callable[[Outcome], bytes],
        *,
        metrics: Metrics,
        log: FilteringBoundLogger,
        max_waiting: int = 10_000,
        retry_seconds: float = 5.0,
    ) -> None:
        self._file = _LineFile(path)
        self._encode = encode
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
            while True:
                await self._news.wait()
                self._news.clear()
                await self._write_waiting()
        finally:
            await self._finish()

    async def _write_waiting(self) -> None:
        while self._waiting:
            if not await self._write_whole():
                await asyncio.sleep(self._retry_seconds)

    async def _write_whole(self) -> bool:
        """One batch, also if we are cancelled meanwhile: a batch written and not forgotten would be written twice."""
        self._writing = asyncio.create_task(self._write_batch())
        return await asyncio.shield(self._writing)

    async def _write_batch(self) -> bool:
        """Write the oldest outcomes that wait; False if the disk does not take them now."""
        batch = tuple(itertools.islice(self._waiting, MAX_BATCH))
        lines = b"".join(self._line(outcome) for outcome in batch)
        try:
            # A disk can hang, and logins must not wait for it; the thread touches nothing but the file.
            await asyncio.to_thread(self._file.append, lines)
        except OSError as error:
            self._tell_failure(error)
            return False
        for _ in batch:
            self._waiting.popleft()
        if self._failing:
            self._failing = False
            self._log.info("outcome_file_written_again")
        return True

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
                while self._waiting and await self._write_whole():
                    pass
        if self._waiting:
            self._dropped.inc(len(self._waiting))
            self._log.error("outcomes_lost_at_shutdown", count=len(self._waiting))
        if self._writing is None or self._writing.done():
            self._file.close()


class _LineFile:
    """Appends whole lines to the regular file at a path, whichever file that is at the moment; one writer only."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def append(self, lines: bytes) -> None:
        """Append all of `lines` or nothing; OSError if that cannot be."""
        descriptor = self._current()
        written = os.write(descriptor, lines)
        if written != len(lines):
            os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
            raise OSError("no space for more lines")

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _current(self) -> int:
        """The open file, opened anew if another file, or none, is at the path now."""
        if self._descriptor is not None and not self._is_at_path(self._descriptor):
            self.close()
        if self._descriptor is None:
            self._descriptor = self._open()
        return self._descriptor

    def _is_at_path(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.lstat())
        except FileNotFoundError:
            return False

    def _open(self) -> int:
        # O_NONBLOCK, so that opening a FIFO that nobody reads does not hang; regular files do not care.
        # O_NOFOLLOW: who may write to the directory could lead us to any file of ours.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK | os.O_NOFOLLOW
        try:
            descriptor = os.open(self._path, flags | os.O_CREAT | os.O_EXCL, FILE_MODE)
        except FileExistsError:
            descriptor = os.open(self._path, flags)
        else:
            os.fchmod(descriptor, FILE_MODE)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError("is not a regular file")
        return descriptor


class _Answer(Enum):
    TAKEN = auto()
    REFUSED = auto()
    AWAY = auto()


class AlertPoster:
    """Posts the alerts of one [[notify]] table to its receiver.

    While the receiver is away the alerts are kept and brought up to date, and tried again after 1, 2, 4 … seconds, at
    most MAX_WAIT_SECONDS apart. Redirects are not followed: an alert goes to the URL in the configuration or nowhere.
    """

    def __init__(
        self,
        notify: Notify,
        *,
        metrics: Metrics,
        log: FilteringBoundLogger,
        generator_url: str = "",
        clock: Callable[[], float] = time.time,
        post_timeout_seconds: float = 10.0,
        first_retry_seconds: float = 1.0,
    ) -> None:
        self._notify = notify
        self._alerts = Alerts(
            Policy(
                reasons=frozenset(reason for reason in Reason if reason in notify.reasons),
                group_interval=notify.group_interval_seconds,
                resolve_after=notify.resolve_after_seconds,
            )
        )
        self._sent = metrics.notifications.labels(notify.name, "sent")
        self._failed = metrics.notifications.labels(notify.name, "failed")
        self._dropped = metrics.sink_dropped.labels(notify.name)
        # The URL stays out of the log: that of a chat service is a secret.
        self._log = log.bind(sink=notify.name)
        self._generator_url = generator_url
        self._clock = clock
        self._timeout = aiohttp.ClientTimeout(total=post_timeout_seconds)
        self._first_retry_seconds = first_retry_seconds
        self._failures = 0
        """In a row."""
        self._not_before = 0.0
        """While the receiver is away: when to try again."""
        self._given_up = 0
        self._news = asyncio.Event()

    def offer(self, outcome: Outcome) -> None:
        """Take an outcome; if it is news, a post follows as soon as the group's interval allows."""
        if self._alerts.add(outcome, self._clock()):
            self._news.set()
        self._count_given_up()

    async def run(self) -> None:
        """Post what is due, until cancelled."""
        headers = {"Content-Type": "application/json", "User-Agent": f"pgoauthd/{__version__}"}
        jar = aiohttp.DummyCookieJar()
        async with aiohttp.ClientSession(timeout=self._timeout, headers=headers, cookie_jar=jar) as session:
            while True:
                await self._wait()
                now = self._clock()
                if now >= self._not_before and (alerts := self._alerts.due(now)):
                    self._settle(alerts, await self._post(session, alerts))

    async def _wait(self) -> None:
        """Until there is news or something is due."""
        self._news.clear()
        next_due = self._alerts.next_due()
        due_at = float("inf") if next_due is None else max(next_due, self._not_before)
        seconds = min(due_at - self._clock(), MAX_WAIT_SECONDS)
        if seconds > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._news.wait()

    async def _post(self, session: aiohttp.ClientSession, alerts: Sequence[Alert]) -> _Answer:
        try:
            body = self._body(alerts)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with these alerts, others are to be posted
            self._log.error("alerts_not_encoded", problem=type(error).__name__)
            return _Answer.REFUSED
        try:
            async with session.post(self._url, data=body, allow_redirects=False) as response:
                status = response.status
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            self._log.warning("alerts_not_posted", problem=type(error).__name__)
            return _Answer.AWAY
        if 200 <= status < 300:  # noqa: PLR2004 - RFC 9110 section 15.3
            return _Answer.TAKEN
        self._log.warning("alerts_not_taken", status=status)
        return _Answer.AWAY if status >= 500 or status in RETRY_STATUSES else _Answer.REFUSED  # noqa: PLR2004

    def _settle(self, alerts: Sequence[Alert], answer: _Answer) -> None:
        now = self._clock()
        match answer:
            case _Answer.TAKEN:
                self._alerts.delivered(alerts, now)
                self._sent.inc(len(alerts))
                self._failures = 0
            case _Answer.REFUSED:
                self._alerts.rejected(alerts, now)
                self._failed.inc(len(alerts))
                self._failures = 0
            case _Answer.AWAY:
                delay = min(self._first_retry_seconds * 2 ** min(self._failures, 16), MAX_WAIT_SECONDS)
                self._not_before = now + delay
                self._alerts.missed(now)
                self._failed.inc(len(alerts))
                self._failures += 1
            case _:
                assert_never(answer)
        self._count_given_up()

    def _count_given_up(self) -> None:
        self._dropped.inc(self._alerts.given_up - self._given_up)
        self._given_up = self._alerts.given_up

    @property
    def _url(self) -> str:
        base = self._notify.url
        return f"{base.rstrip('/')}/api/v2/alerts" if self._notify.kind == "alertmanager" else base

    def _body(self, alerts: Sequence[Alert]) -> bytes:
        if self._notify.kind == "alertmanager":
            body = alert_json.alertmanager(alerts, generator_url=self._generator_url)
        else:
            body = alert_json.webhook(alerts)
        # Somebody may have given a token for a user name, and this leaves the host.
        return redact(body.decode()).encode()
