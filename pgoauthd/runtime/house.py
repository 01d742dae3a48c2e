"""Housekeeping beside the work: silence, saving, the service manager's watchdog. It never reads a log or a token."""

from __future__ import annotations

from collections.abc import Mapping

from structlog.typing import FilteringBoundLogger

from pgoauthd.errors import StateError
from pgoauthd.runtime.clock import Clock
from pgoauthd.runtime.observation import Observation
from pgoauthd.runtime.store import ClusterState, Store
from pgoauthd.runtime.systemd import Notifier
from pgoauthd.runtime.tail import LogTail

TICK_SECONDS = 0.5
"""How often silence is looked for, gauges are brought up to date and the state is saved."""
STUCK_SECONDS = 30.0
"""A tail that has not finished a round for so long is stuck, and the service manager may restart us."""


class House:
    """Keeps observation, tails and store in step."""

    def __init__(
        self,
        observation: Observation,
        tails: Mapping[str, LogTail],
        store: Store | None,
        *,
        log: FilteringBoundLogger,
    ) -> None:
        self._observation = observation
        self._tails = tails
        self._store = store
        self._log = log
        self._saving_fails = False

    async def keep(self, clock: Clock, notifier: Notifier, watchdog_seconds: float | None) -> None:
        """Tick for ever; the watchdog hears of us only while every tail gets on."""
        pinged = clock.monotonic()
        while True:
            await clock.sleep(TICK_SECONDS)
            self._observation.tick(self._tails)
            self.save()
            now = clock.monotonic()
            if watchdog_seconds is not None and now - pinged >= watchdog_seconds and self._all_get_on(now):
                notifier.watchdog()
                pinged = now

    def save(self) -> None:
        """Save positions, open sessions and verdicts of this very moment; a failure is told once and tried again."""
        if self._store is None:
            return
        engines = self._observation.states()
        clusters = {
            name: ClusterState(positions=tail.positions(), engine=engines[name]) for name, tail in self._tails.items()
        }
        try:
            self._store.save(clusters, self._observation.waiting_verdicts())
        except StateError as error:
            if not self._saving_fails:
                self._log.error("state_not_saved", problem=str(error))
            self._saving_fails = True
        else:
            self._saving_fails = False

    def _all_get_on(self, now: float) -> bool:
        return all(now - tail.last_round < STUCK_SECONDS for tail in self._tails.values())
