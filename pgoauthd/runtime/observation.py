"""Hands events and verdicts to the engines and publishes what they decide; never decides anything itself.

One engine per cluster, one waiting room for verdicts. Everything here runs in the event loop's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from pgoauthd.config.values import Cluster
from pgoauthd.correlation.engine import Engine, EngineState, Limits
from pgoauthd.correlation.outcome import Outcome, Unmatched
from pgoauthd.correlation.verdicts import SessionVerdict, Verdicts
from pgoauthd.logs.events import AuthEvent
from pgoauthd.runtime.clock import Clock
from pgoauthd.runtime.identfiles import IdentFiles
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
        clusters: tuple[Cluster, ...],
        *,
        states: Mapping[str, EngineState],
        verdicts: Iterable[SessionVerdict],
        validates: bool,
        publish: Sequence[Publish],
        metrics: Metrics,
        clock: Clock,
        ident: IdentFiles | None = None,
    ) -> None:
        """`states` and `verdicts` are those of the last run; `validates`: tokens are judged by this daemon, too."""
        self._verdicts = Verdicts(max_age=VERDICT_SLACK_SECONDS)
        for verdict in verdicts:
            self._verdicts.add(verdict, clock.time())
        self._engines: dict[str, Engine] = {}
        self._publish = publish
        self._metrics = metrics
        self._clock = clock
        self._ident = ident
        self._epoch = clock.time() - clock.monotonic()
        self._counted: dict[tuple[str, Unmatched], int] = {}
        self._matched: dict[str, int] = {}
        self.use(clusters, states=states, validates=validates)

    def use(self, clusters: tuple[Cluster, ...], *, states: Mapping[str, EngineState], validates: bool) -> None:
        """Join the logs of these clusters from now on; those that were there before go on from where they are.

        `states` is for those that were not. Verdicts that wait go on waiting, open sessions stay open.
        """
        for name, engine in self._engines.items():
            self._count(name, engine)
        states = {**states, **self.states()}
        now = self._clock.time()
        self._engines = {
            cluster.name: Engine(
                cluster.name,
                self._verdicts,
                _limits(cluster),
                _start(states.get(cluster.name), now if validates and cluster.validated_here else None),
            )
            for cluster in clusters
        }
        self._counted.clear()
        self._matched.clear()
        ours = [cluster.name for cluster in clusters if cluster.validated_here]
        self._validated_cluster = ours[0] if len(ours) == 1 else UNKNOWN_CLUSTER
        self._longest = max((cluster.authentication_timeout_seconds for cluster in clusters), default=60.0)

    def on_events(self, cluster: str, events: Sequence[AuthEvent]) -> None:
        """Take what a tail has read."""
        self._out(self._engines[cluster].observe(events, self._now()))

    def on_verdict(self, verdict: SessionVerdict) -> None:
        """Take a verdict, before its reply is sent."""
        if self._engines and self._ident is not None:
            verdict = self._ident.foresee(verdict)
        if self._engines and self._verdicts.add(verdict, self._now()):
            self._metrics.unmatched.labels(self._validated_cluster, Unmatched.EVICTED).inc()

    def tick(self, tails: Mapping[str, CaughtUp]) -> None:
        """Let time pass where a log has been read to its end: silence in an unread log says nothing."""
        now = self._now()
        for name, engine in self._engines.items():
            if tails[name].caught_up:
                self._out(engine.advance(now))
            self._count(name, engine)
        read = all(tail.caught_up for tail in tails.values())
        kind = Unmatched.VALIDATED_NOT_LOGGED if read else Unmatched.EVICTED
        patience = self._longest + VERDICT_SLACK_SECONDS if read else UNREAD_PATIENCE * self._longest
        over = self._verdicts.expire(now, patience)
        self._metrics.unmatched.labels(self._validated_cluster, kind).inc(over)

    def _now(self) -> float:
        """Seconds since the epoch as it was when we started: a jump of the wall clock makes no session older."""
        return self._epoch + self._clock.monotonic()

    def states(self) -> dict[str, EngineState]:
        """What the next run needs, by cluster."""
        return {name: engine.state for name, engine in self._engines.items()}

    def waiting_verdicts(self) -> tuple[SessionVerdict, ...]:
        """Verdicts that no log line has asked for yet."""
        return tuple(self._verdicts)

    def _out(self, outcomes: Iterable[Outcome]) -> None:
        for outcome in outcomes:
            known = outcome if self._ident is None else self._ident.settle(outcome)
            for publish in self._publish:
                publish(known)

    def _count(self, name: str, engine: Engine) -> None:
        """Bring the metrics up to what the engine has counted."""
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


def _start(saved: EngineState | None, now_validated: float | None) -> EngineState:
    """The state to go on from. What was logged before validation was watched needs no verdict."""
    state = saved or EngineState()
    since = state.validated_since if now_validated is not None and state.validated_since is not None else now_validated
    return msgspec.structs.replace(state, validated_since=since)
