"""How work that can wait shares the event loop with logins, which cannot: one slice at a time; knows no work itself.

A login needs several turns of the loop (accept, read, answer). If something else took a slice in each of them, the
login would wait for all of these. So after a slice the loop is the others' until it has nothing to do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from pgoauthd.runtime.clock import Clock, SystemClock

SLICE_SECONDS = 0.000_2
"""How long the loop is held at once, but for a single step that takes longer."""
QUIET_FACTOR = 4
"""A turn of the loop that took no more than so many times as long as the shortest ever had nothing to do."""
AWAY_SECONDS = 0.001
"""How long the others may keep the loop between two slices: also in a storm of logins a fifth of it is left."""


class Pace:
    """Shared by all of one event loop that can wait; they take their slices one after the other."""

    def __init__(self, clock: Clock | None = None, *, worked_seconds: Callable[[], float] = time.thread_time) -> None:
        """`worked_seconds`: how long the loop's thread has had the processor; waiting for others is no work."""
        self._clock = clock or SystemClock()
        self._worked_seconds = worked_seconds
        self._lock = asyncio.Lock()
        self._shortest_turn = float("inf")

    @asynccontextmanager
    async def slice(self) -> AsyncIterator[None]:
        """In this block, which should take no more than SLICE_SECONDS, nobody else takes a slice."""
        async with self._lock:
            yield
            await self._give_way()

    async def in_slices(self, steps: Iterable[None]) -> None:
        """Take all steps."""
        steps, more = iter(steps), True
        while more:
            async with self.slice():
                more = self._take(steps)

    def _take(self, steps: Iterable[None]) -> bool:
        until = self._clock.monotonic() + SLICE_SECONDS
        return any(self._clock.monotonic() >= until for _ in steps)

    async def _give_way(self) -> None:
        """Let the others go on until the loop has nothing to do: at least for one turn, at most for AWAY_SECONDS."""
        until = self._clock.monotonic() + AWAY_SECONDS
        after = self._worked_seconds()
        while True:
            await asyncio.sleep(0)
            before, after = after, self._worked_seconds()
            turn = after - before
            self._shortest_turn = min(self._shortest_turn, turn)
            if turn <= QUIET_FACTOR * self._shortest_turn or self._clock.monotonic() >= until:
                return
