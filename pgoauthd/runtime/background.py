"""Parts that run beside each other, each started again when it fails; never decides what a part does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Self

from structlog.typing import FilteringBoundLogger

from pgoauthd.runtime.clock import Clock

FIRST_RESTART_SECONDS = 1.0
LONGEST_RESTART_SECONDS = 60.0
"""A part that fails is started again after 1, 2, 4 … seconds."""

Work = Callable[[], Awaitable[None]]


class Background:
    """Parts that run inside the `async with` and are cancelled at its end."""

    def __init__(self, log: FilteringBoundLogger, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._group = asyncio.TaskGroup()
        self._running: set[asyncio.Task[None]] = set()
        self._ending = False

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending = True
        for task in tuple(self._running):
            task.cancel()
        await self._group.__aexit__(kind, error, trace)

    def start(self, work: Work) -> asyncio.Task[None]:
        """Run `work` from now on, again whenever it fails or returns; cancel the task to end it before the block."""
        return self._begin(_again_and_again(work, self._log, self._clock))

    def start_once(self, work: Work) -> asyncio.Task[None]:
        """Run `work` to its end; what goes wrong in it is logged."""
        return self._begin(_once(work, self._log))

    def _begin(self, running: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = self._group.create_task(running)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        if self._ending:
            task.cancel()
        return task


async def stop(task: asyncio.Task[None]) -> None:
    """Cancel a part and wait until it has ended."""
    task.cancel()
    await asyncio.wait([task])


async def _once(work: Work, log: FilteringBoundLogger) -> None:
    try:
        await work()
    except Exception:
        log.exception("part_failed_unforeseen", part=_name_of(work))


async def _again_and_again(work: Work, log: FilteringBoundLogger, clock: Clock) -> None:
    """Whatever goes wrong in one part, a log line or a receiver of alerts, must not end the validation of logins."""
    delay = FIRST_RESTART_SECONDS
    while True:
        started = clock.monotonic()
        try:
            await work()
        except Exception:
            log.exception("part_failed_unforeseen", part=_name_of(work), again_in=delay)
        delay = FIRST_RESTART_SECONDS if clock.monotonic() - started > LONGEST_RESTART_SECONDS else delay
        await clock.sleep(delay)
        delay = min(2 * delay, LONGEST_RESTART_SECONDS)


def _name_of(work: Work) -> str:
    return getattr(work, "__qualname__", str(work))
