"""Posts alerts to one receiver, Alertmanager or a webhook; never decides what is news (`correlation.alerts` does).

`offer` is what the rest of the daemon calls: it is synchronous, takes microseconds and waits for nothing. `run` does
the slow part. What cannot be taken is counted (`pgoauthd_sink_dropped_total`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import Enum, auto
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

MAX_WAIT_SECONDS = 60.0
"""The longest time between two posts to a receiver that is away."""
RETRY_STATUSES = frozenset({408, 429})
"""Besides 5xx: the receiver asks to try again."""


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
