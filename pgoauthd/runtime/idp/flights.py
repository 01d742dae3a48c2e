"""Lets many wait for one piece of work: whoever asks for what is under way joins it. It never keeps a result."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import Refusal

K = TypeVar("K")
T = TypeVar("T")


class Flights(Generic[K, T]):
    """Work under way, by key. A flight goes on when all who wait for it have gone, so it must have an end by itself."""

    def __init__(self) -> None:
        self._tasks: dict[K, asyncio.Task[T]] = {}
        self.closed = False

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, key: object) -> bool:
        return key in self._tasks

    async def fly(self, key: K, work: Callable[[], Coroutine[Any, Any, T]]) -> T | None:
        """The result of the flight with this key, begun with `work` where there is none; None if `close` ended it.

        After `close` there is no flight, and None at once.
        """
        if self.closed:
            return None
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.get_running_loop().create_task(work())
            task.add_done_callback(lambda _: self._tasks.pop(key, None))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            waiter = asyncio.current_task()
            if not task.cancelled() or waiter is None or waiter.cancelling():
                raise  # it is the waiter that gives up, not the flight
            return None

    async def close(self) -> None:
        """Give up what is under way, and let go who waits for it."""
        self.closed = True
        if tasks := list(self._tasks.values()):
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


def given_up(what: str) -> Refusal:
    """Why there is no answer for who waited for a flight that `close` ended."""
    return Refusal(Reason.IDP_UNREACHABLE, f"{what} was given up for a new configuration")
