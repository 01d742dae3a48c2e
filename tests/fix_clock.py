"""A clock that stands still until a test moves it, and wakes who sleeps by it."""

from __future__ import annotations

import asyncio

DEADLINE = 20.0


class SteppedClock:
    """Both clocks move together, and only in `advance`; `jump` moves the wall clock alone, as an administrator does."""

    def __init__(self, now: float = 1_795_310_000.0) -> None:
        self._wall = now
        self._monotonic = 1_000.0
        self._sleepers: dict[asyncio.Future[None], float] = {}
        self._changed = asyncio.Condition()

    def time(self) -> float:
        return self._wall

    def monotonic(self) -> float:
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        self._sleepers[woken] = self._monotonic + seconds
        async with self._changed:
            self._changed.notify_all()
        try:
            await woken
        finally:
            self._sleepers.pop(woken, None)

    def advance(self, seconds: float) -> None:
        """Let so much time pass, and wake whose time has come."""
        self._wall += seconds
        self._monotonic += seconds
        for woken, due in list(self._sleepers.items()):
            if due <= self._monotonic and not woken.done():
                woken.set_result(None)
                del self._sleepers[woken]

    def jump(self, seconds: float) -> None:
        self._wall += seconds

    async def asleep(self, count: int = 1) -> float:
        """Wait until so many sleep; the seconds until the first of them wakes."""
        async with asyncio.timeout(DEADLINE), self._changed:
            await self._changed.wait_for(lambda: len(self._sleepers) >= count)
        return min(self._sleepers.values()) - self._monotonic
