"""Hands events and verdicts to the engines and publishes what they decide; never decides anything itself.

One engine per cluster, one waiting room for verdicts. Everything here runs in the event loop's thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from pgoauthd.config.values import Cluster
from pgoauthd.correlation.engine import Engine, EngineChanges, Limits
from pgoauthd.correlation.outcome import Outcome, Unmatched
from pgoauthd.correlation.verdicts import SessionVerdict, VerdictChanges, Verdicts
from pgoauthd.logs.events import AuthEvent
from pgoauthd.runtime.clock import Clock
from pgoauthd.runtime.identfiles import IdentFiles
from pgoauthd.runtime.store import Saved
from pgoauthd.telemetry.metrics import Metrics

VERDICT_SLACK_SECONDS = 30.0
"""How much longer than the longest login a verdict waits for its log lines."""
UNREAD_PATIENCE = 10
"""How many of the longest logins a verdict waits for a log that cannot be read to its end."""
UNKNOWN_CLUSTER = "unknown"
"""The `cluster` label of a verdict that no log line asked for, where it could be any of several clusters."""

Publish = Callable[[Outcome], None]


class CaughtUp(Protocol):
    """What is asked of a tail: has all of its log been read?"""

    @property
    def caught_up(self) -> bool:
        """Nothing written is unread, as far as is known."""


class Observation:
    """All clusters' engines, and the verdicts that wait for their log lines."""

    def __init__(
        self,
        *,
        publish: Sequence[Publish],
        metrics: Metrics,
        clock: Clock,
        ident: IdentFiles | None = None,
        log: FilteringBoundLogger | None = None,
    ) -> None:
        """`publish` gets each outcome as it is decided. There is no cluster until `use`."""
        self._verdicts = Verdicts(max_age=VERDICT_SLACK_SECONDS)
        self._engines: dict[str, Engine] = {}
        """Those of clusters that were configured once included: their sessions wait for the cluster's return."""
        self._followed: tuple[str, ...] = ()
        """The clusters that are configured."""
        self._publish = publish
        self._metrics = metrics
        self._clock = clock
        self._ident = ident
        self._log = log
        self._epoch = clock.time() - clock.monotonic()
        self._counted: dict[tuple[str, Unmatched], int] = {}
        self._matched: dict[str, int] = {}
        self._validated_cluster = UNKNOWN_CLUSTER
        self._longest = 60.0
        self._room = asyncio.Event()
        self._room.set()

    @property
    def room(self) -> asyncio.Event:
        """Set while more events may be handed over; cleared and set by whoever saves what comes of them."""
        return self._room

    def restore(self, saved: Saved) -> None:
        """Go on from what the last run has left, before the first `use` of the clusters in it."""
        now = self._now()
        self._verdicts.restore(saved.verdicts, now)
        for verdict in saved.verdicts_since:
            self._verdicts.add(verdict, now)
        for name, state in saved.clusters.items():
            self._engines[name] = engine = Engine(name, self._verdicts, state=state.engine)
            if saved.verdicts_lost:
                engine.use(Limits(), validated_since=None)

    def use(self, clusters: tuple[Cluster, ...], *, validates: bool) -> None:
        """Join the logs of these clusters from now on; those that were there before go on from where they are.

        `validates`: tokens are judged by this daemon, too. Verdicts that wait go on waiting.
        """
        self.count()
        now = self._clock.time()
        for cluster in clusters:
            engine = self._engines.setdefault(cluster.name, Engine(cluster.name, self._verdicts))
            # What was logged before validation was watched needs no verdict.
            since = engine.validated_since if engine.validated_since is not None else now
            engine.use(
                _limits(cluster),
                validated_since=since if validates and cluster.validated_here else None,
                takes_verdicts=cluster.validated_here,
            )
        self._followed = tuple(cluster.name for cluster in clusters)
        ours = [cluster.name for cluster in clusters if cluster.validated_here]
        self._validated_cluster = ours[0] if len(ours) == 1 else UNKNOWN_CLUSTER
        self._longest = max((cluster.authentication_timeout_seconds for cluster in clusters), default=60.0)

    def on_events(self, cluster: str, events: Sequence[AuthEvent]) -> None:
        """Take what a tail has read."""
        engine = self._engines[cluster]
        self._out(engine.observe(events, self._now()))
        if engine.leaks:
            self._tell_leaks(cluster, engine.leaks)
            engine.leaks = []

    def on_verdict(self, verdict: SessionVerdict) -> SessionVerdict | None:
        """Take a verdict, before its reply is sent: it as it waits now, None if there is no log to wait for."""
        if not self._followed:
            return None
        if self._ident is not None:
            verdict = self._ident.foresee(verdict)
        if self._verdicts.add(verdict, self._now()):
            self._metrics.unmatched.labels(self._validated_cluster, Unmatched.EVICTED).inc()
        return verdict

    def tick(self, tails: Mapping[str, CaughtUp]) -> None:
        """Let time pass where a log has been read to its end: silence in an unread log says nothing."""
        now = self._now()
        for name in self._followed:
            if tails[name].caught_up:
                self._out(self._engines[name].advance(now))
        self.count()
        read = all(tail.caught_up for tail in tails.values())
        kind = Unmatched.VALIDATED_NOT_LOGGED if read else Unmatched.EVICTED
        patience = self._longest + VERDICT_SLACK_SECONDS if read else UNREAD_PATIENCE * self._longest
        over = self._verdicts.expire(now, patience)
        self._metrics.unmatched.labels(self._validated_cluster, kind).inc(over)

    def count(self) -> None:
        """Bring the metrics up to what the engines have counted."""
        for name in self._followed:
            self._count(name, self._engines[name])

    def take_changes(self) -> tuple[dict[str, EngineChanges], VerdictChanges]:
        """What to save that was not taken before, of every cluster; what the engines have counted is in the metrics."""
        self.count()
        engines = {name: engine.take_changes() for name, engine in self._engines.items()}
        return engines, self._verdicts.take_changes()

    def _tell_leaks(self, cluster: str, leaks: Sequence[AuthEvent]) -> None:
        """Who reads the server's log can log in with what stands in it: not even a piece of it is said again."""
        self._metrics.log_leaked_tokens.labels(cluster).inc(len(leaks))
        if self._log is not None:
            last = leaks[-1]
            self._log.warning(
                "token_leaked",
                cluster=cluster,
                logins=len(leaks),
                session_id=last.session_id,
                pid=last.pid,
                remedy="the server's validator writes tokens into its log: revoke the token of this session, restrict "
                "who reads the log and its copies, and upgrade or replace the validator (docs/log-only.md)",
            )

    def _now(self) -> float:
        """Seconds since the epoch as it was when we started: a jump of the wall clock makes no session older."""
        return self._epoch + self._clock.monotonic()

    def _out(self, outcomes: Iterable[Outcome]) -> None:
        for outcome in outcomes:
            known = outcome if self._ident is None else self._ident.settle(outcome)
            for publish in self._publish:
                publish(known)

    def _count(self, name: str, engine: Engine) -> None:
        self._metrics.sessions_open.labels(name).set(len(engine))
        self._metrics.matched.labels(name).inc(engine.matched - self._matched.get(name, 0))
        self._matched[name] = engine.matched
        for kind, count in engine.unmatched.items():
            self._metrics.unmatched.labels(name, kind).inc(count - self._counted.get((name, kind), 0))
            self._counted[name, kind] = count


def _limits(cluster: Cluster) -> Limits:
    return Limits(
        authentication_timeout=cluster.authentication_timeout_seconds,
        settle=cluster.settle_seconds,
        max_open=cluster.max_open_sessions,
    )
