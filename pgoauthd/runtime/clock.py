"""The clocks of this host, and waiting by them; handed to whoever needs time, so that tests can hand in their own."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks and a way to wait."""

    def time(self) -> float:
        """Seconds since the epoch, by the wall clock, which may jump: for claims and timestamps."""

    def monotonic(self) -> float:
        """Seconds since some moment, by the clock that never jumps: for lifetimes and deadlines."""

    async def sleep(self, seconds: float) -> None:
        """Return after so many monotonic seconds."""


class SystemClock:
    """The clocks of the operating system and of the running event loop."""

    def time(self) -> float:
        """time.time."""
        return time.time()

    def monotonic(self) -> float:
        """time.monotonic."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """asyncio.sleep."""
        await asyncio.sleep(seconds)
