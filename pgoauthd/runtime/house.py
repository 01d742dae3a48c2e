"""Housekeeping beside the work: silence, saving, the service manager's watchdog. It never reads a log or a token.

What the logs have led to is told, by metrics and sinks, once it is saved: what was told is never taken back by a crash,
nor told again after it. Only where saving fails it is told all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec
from structlog.typing import FilteringBoundLogger

from pgoauthd.correlation.outcome import Outcome
from pgoauthd.correlation.verdicts import SessionVerdict
from pgoauthd.errors import StateError
from pgoauthd.logs.position import Position
from pgoauthd.runtime.clock import Clock
from pgoauthd.runtime.observation import Observation
from pgoauthd.runtime.pace import Pace
from pgoauthd.runtime.retention import Retention
from pgoauthd.runtime.staterows import ClusterChanges, StateChanges
from pgoauthd.runtime.store import Store
from pgoauthd.runtime.systemd import Notifier
from pgoauthd.runtime.tailing.tail import LogTail
from pgoauthd.telemetry.metrics import HISTORY, Metrics

TICK_SECONDS = 0.5
"""How often silence is looked for and gauges are brought up to date."""
LATE_SECONDS = 2.0
"""Who wakes so much too late was stopped with all else, tails included: what is silent shows when they have looked."""
SAVE_SECONDS = 0.2
"""How often at most outcomes are saved, and told."""
IDLE_SAVE_SECONDS = 1.0
"""How often at most the state is saved while nothing is decided: all else would be found again in the logs."""
REST_FACTOR = 4
"""Between two saves is a rest of so many times as long as the last one took."""
TIDY_SECONDS = 60.0
STUCK_SECONDS = 30.0
"""A tail that has not finished a round for so long is stuck, and the service manager may restart us."""
MAX_UNTOLD = 5_000
"""Outcomes that wait for being saved; with more, the tails wait, too."""

Tell = Callable[[Outcome], None]


class Part(NamedTuple):
    """What is saved together, and told then."""

    changes: StateChanges
    positions: Mapping[str, tuple[Position, ...]]


class House:
    """Keeps observation, tails and store in step."""

    def __init__(
        self,
        observation: Observation,
        tails: Mapping[str, LogTail],
        *,
        tell: Tell,
        metrics: Metrics,
        log: FilteringBoundLogger,
        pace: Pace | None = None,
        left: Mapping[str, tuple[Position, ...]] | None = None,
    ) -> None:
        """`tails` are those that run and `left` what others have left; both may change meanwhile."""
        self._observation = observation
        self._tails = tails
        self._left = left if left is not None else {}
        self._tell = tell
        self._metrics = metrics
        self._log = log
        self._pace = pace or Pace()
        self._store: Store | None = None
        self._retention = Retention(float("inf"), 1 << 62)
        self._untold: list[Outcome] = []
        self._saved_positions: Mapping[str, tuple[Position, ...]] = {}
        self._saving: asyncio.Task[None] | None = None
        self._saving_fails = False
        self._keeping_fails = False
        self._ended = False

    @property
    def store(self) -> Store | None:
        """Where to save; None as long as there is no cluster."""
        return self._store

    def use(self, store: Store) -> None:
        """Save there from now on, and tell only what is saved."""
        self._store = store
        self._metrics.ledger.hold_back()

    def retain(self, retention: Retention) -> None:
        """Keep the history for so long from now on."""
        self._retention = retention

    def offer(self, outcome: Outcome) -> None:
        """Take an outcome, to be saved and told."""
        if self._store is None:
            self._tell(outcome)
            return
        self._untold.append(msgspec.structs.replace(outcome, id=self._store.next_id()))
        if len(self._untold) >= MAX_UNTOLD:
            self._observation.room.clear()

    def on_verdict(self, verdict: SessionVerdict) -> None:
        """Take a verdict, before its reply is sent."""
        waiting = self._observation.on_verdict(verdict)
        if waiting is None or self._store is None:
            return
        try:
            self._store.keep(waiting.at_rest())
        except OSError as error:
            if not self._keeping_fails:
                self._log.error("verdict_not_kept", problem=error.strerror or str(error), remedy="check state.path")
            self._keeping_fails = True
        else:
            self._keeping_fails = False

    async def keep(self, clock: Clock, notifier: Notifier, watchdog_seconds: float | None) -> None:
        """Tick, save and tidy for ever; the watchdog hears of us only while every tail gets on."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_saving(clock))
            group.create_task(self._keep_tidy(clock))
            await self._keep_ticking(clock, notifier, watchdog_seconds)

    async def end(self) -> None:
        """Save and tell all of this very moment, at the daemon's end; what comes later is left to the next run."""
        self._ended = True
        if self._saving is not None:
            await asyncio.wait([self._saving])
        if self._store is not None:
            await self._save(self._store)

    def leave(self) -> None:
        """Note that nothing is left to be made good at the next start: sinks have written what they were told, too."""
        if self._store is None or self._saving_fails:
            return
        try:
            self._store.mark_clean()
        except StateError as error:
            self._tell_failure(error)

    async def _keep_ticking(self, clock: Clock, notifier: Notifier, watchdog_seconds: float | None) -> None:
        pinged, held_up = clock.monotonic(), False
        while True:
            begun = clock.monotonic()
            await clock.sleep(TICK_SECONDS)
            now = clock.monotonic()
            held_up = not held_up and now - begun >= TICK_SECONDS + LATE_SECONDS
            if held_up:
                continue
            self._observation.tick(self._tails)
            if watchdog_seconds is not None and now - pinged >= watchdog_seconds and self._all_get_on(now):
                notifier.watchdog()
                pinged = now

    async def _keep_saving(self, clock: Clock) -> None:
        """Save again and again beside the other work: neither logins nor the watchdog wait for the disk."""
        rest, saved = SAVE_SECONDS, clock.monotonic()
        while True:
            await clock.sleep(rest)
            begun = clock.monotonic()
            rest = SAVE_SECONDS
            if self._ended:
                return
            if self._store is not None and (self._untold or begun - saved >= IDLE_SAVE_SECONDS):
                # Whoever cancels us does not cancel what is written, and told when it is.
                self._saving = asyncio.create_task(self._save(self._store))
                await asyncio.shield(self._saving)
                saved = clock.monotonic()
                # Tails that wait for room wait for the next save.
                rest = max(rest, REST_FACTOR * (saved - begun)) if self._observation.room.is_set() else 0.0

    async def _keep_tidy(self, clock: Clock) -> None:
        while True:
            await clock.sleep(TIDY_SECONDS)
            if self._store is None or self._ended:
                continue
            try:
                tidied = await self._store.tidy(self._retention)
            except StateError as error:
                self._tell_failure(error)
            else:
                self._metrics.history_deleted.labels("age").inc(tidied.for_age)
                self._metrics.history_deleted.labels("size").inc(tidied.for_size)
                self._metrics.state_size.set(tidied.used_bytes)

    async def _save(self, store: Store) -> None:
        part = self._take(store)
        if part is None:
            return
        try:
            with self._metrics.state_save_duration.time():
                await store.save(part.changes)
        except StateError as error:
            self._tell_failure(error)
        else:
            self._saving_fails = False
            self._metrics.state_saved.set_to_current_time()
        finally:
            self._saved_positions = part.positions
            self._metrics.sink_dropped.labels(HISTORY).inc(store.take_left_out())
            self._metrics.ledger.show(part.changes.counters)
            await self._pace.in_slices(map(self._tell_one, part.changes.outcomes))

    def _take(self, store: Store) -> Part | None:
        """All that has changed, as of this moment; None if that is nothing."""
        engines, verdicts = self._observation.take_changes()
        positions = {**self._left, **{name: tail.positions() for name, tail in self._tails.items()}}
        outcomes, self._untold = self._untold, []
        self._observation.room.set()
        counters = self._metrics.ledger.take()
        matters = any(counters) or verdicts.matter or any(it.matter for it in engines.values())
        if not (outcomes or matters or self._saving_fails or positions != self._saved_positions):
            return None
        changes = StateChanges(
            clusters={
                name: ClusterChanges(positions[name], engine) for name, engine in engines.items() if name in positions
            },
            verdicts=verdicts,
            verdicts_up_to=store.verdict_number,
            counters=counters,
            outcomes=outcomes,
        )
        return Part(changes, positions)

    def _tell_one(self, outcome: Outcome) -> None:
        """Whatever goes wrong with one, the others are told: none of them is told again."""
        try:
            self._tell(outcome)
        except Exception as error:  # noqa: BLE001 - see above
            self._log.error("outcome_not_told", id=outcome.id, problem=type(error).__name__)

    def _tell_failure(self, error: StateError) -> None:
        """Once; the next save tries again."""
        self._metrics.state_failures.inc()
        if not self._saving_fails:
            self._log.error("state_not_saved", problem=str(error))
        self._saving_fails = True

    def _all_get_on(self, now: float) -> bool:
        return all(now - tail.last_round < STUCK_SECONDS for tail in self._tails.values())
