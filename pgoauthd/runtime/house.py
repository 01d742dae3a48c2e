"""Housekeeping beside the work: silence, saving, the service manager's watchdog. It never reads a log or a token."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from structlog.typing import FilteringBoundLogger

from pgoauthd.errors import StateError
from pgoauthd.runtime.clock import Clock
from pgoauthd.runtime.observation import Observation
from pgoauthd.runtime.store import ClusterState, Store
from pgoauthd.runtime.systemd import Notifier
from pgoauthd.runtime.tailing.tail import LogTail

TICK_SECONDS = 0.5
"""How often silence is looked for and gauges are brought up to date, and how often at most the state is saved."""
REST_FACTOR = 20
"""Between two saves is a rest of so many times as long as the last one took, so a large state is saved less often."""
MAX_REST_SECONDS = 60.0
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
        left: Mapping[str, ClusterState] | None = None,
    ) -> None:
        """`tails` are those that run and `left` is to be saved beside them; both may change meanwhile."""
        self._observation = observation
        self._tails = tails
        self._left = left if left is not None else {}
        self.store = store
        self._log = log
        self._saving_fails = False

    async def keep(self, clock: Clock, notifier: Notifier, watchdog_seconds: float | None) -> None:
        """Tick and save for ever; the watchdog hears of us only while every tail gets on."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_saving(clock))
            await self._keep_ticking(clock, notifier, watchdog_seconds)

    def save(self) -> None:
        """Save positions, open sessions and verdicts of this very moment before it returns, at the daemon's end."""
        if self.store is None:
            return
        try:
            self.store.save(self._states(), self._observation.waiting_verdicts())
        except StateError as error:
            self._tell_failure(error)
        else:
            self._saving_fails = False

    async def _keep_ticking(self, clock: Clock, notifier: Notifier, watchdog_seconds: float | None) -> None:
        pinged = clock.monotonic()
        while True:
            await clock.sleep(TICK_SECONDS)
            self._observation.tick(self._tails)
            now = clock.monotonic()
            if watchdog_seconds is not None and now - pinged >= watchdog_seconds and self._all_get_on(now):
                notifier.watchdog()
                pinged = now

    async def _keep_saving(self, clock: Clock) -> None:
        """Save again and again beside the other work: neither logins nor the watchdog wait for the disk."""
        rest = TICK_SECONDS
        while True:
            await clock.sleep(rest)
            if self.store is None:
                continue
            begun = clock.monotonic()
            try:
                await self.store.save_gently(self._states(), self._observation.waiting_verdicts())
            except StateError as error:
                self._tell_failure(error)
            else:
                self._saving_fails = False
            rest = min(max(TICK_SECONDS, REST_FACTOR * (clock.monotonic() - begun)), MAX_REST_SECONDS)

    def _states(self) -> dict[str, ClusterState]:
        engines = self._observation.states()
        return dict(self._left) | {
            name: ClusterState(positions=tail.positions(), engine=engines[name]) for name, tail in self._tails.items()
        }

    def _tell_failure(self, error: StateError) -> None:
        """Once; the next save tries again."""
        if not self._saving_fails:
            self._log.error("state_not_saved", problem=str(error))
        self._saving_fails = True

    def _all_get_on(self, now: float) -> bool:
        return all(now - tail.last_round < STUCK_SECONDS for tail in self._tails.values())
