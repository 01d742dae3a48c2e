"""Slices: one at a time, as long as they may be, and the loop for others in between."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from pgoauthd.runtime.pace import AWAY_SECONDS, QUIET_FACTOR, SLICE_SECONDS, Pace
from tests.fix_clock import SteppedClock

SHORT = 0.000_001


class Loop:
    """The work of an event loop, as its clock and its thread see it."""

    def __init__(self) -> None:
        self.clock = SteppedClock()
        self.worked = 0.0
        self.pace = Pace(self.clock, worked_seconds=lambda: self.worked)

    def work(self, seconds: float) -> None:
        self.worked += seconds
        self.clock.advance(seconds)

    async def count_turns(self, turns: list[float]) -> int:
        """How many turns others get after a slice, if their work in each takes so long."""
        taken = 0

        async def others() -> None:
            nonlocal taken
            for seconds in turns:
                await asyncio.sleep(0)
                self.work(seconds)
                taken += 1

        task = asyncio.create_task(others())
        await asyncio.sleep(0)
        async with self.pace.slice():
            pass
        counted = taken
        await task
        return counted


@pytest.fixture
async def loop() -> Loop:
    """One that has had a turn in which it had nothing to do."""
    made = Loop()
    await made.count_turns([SHORT, SHORT])
    return made


async def test_one_slice_is_taken_at_a_time_in_the_order_of_asking(loop: Loop) -> None:
    said: list[str] = []

    async def take(name: str) -> None:
        for _ in range(2):
            async with loop.pace.slice():
                said.append(f"{name} in")
                await asyncio.sleep(0)
                said.append(f"{name} out")

    await asyncio.gather(take("a"), take("b"))
    assert said == ["a in", "a out", "b in", "b out"] * 2


async def test_after_a_slice_others_have_the_loop_until_it_has_nothing_to_do(loop: Loop) -> None:
    busy = 2 * QUIET_FACTOR * SHORT
    assert await loop.count_turns([busy, busy, busy, SHORT, busy, busy]) == 4


async def test_without_anything_to_do_it_is_one_turn(loop: Loop) -> None:
    assert await loop.count_turns([SHORT] * 5) == 1


async def test_others_that_never_end_are_interrupted(loop: Loop) -> None:
    assert await loop.count_turns([AWAY_SECONDS / 4] * 20) == 4


async def test_waiting_for_other_threads_and_processes_is_no_work(loop: Loop) -> None:
    async def others() -> None:
        await asyncio.sleep(0)
        loop.clock.advance(AWAY_SECONDS / 4)
        await asyncio.sleep(0)
        said.append("second turn")

    said: list[str] = []
    task = asyncio.create_task(others())
    await asyncio.sleep(0)
    async with loop.pace.slice():
        pass
    assert said == []
    await task


async def test_steps_are_taken_in_slices(loop: Loop) -> None:
    slices = 0

    def steps() -> Iterator[None]:
        for _ in range(30):
            loop.work(SLICE_SECONDS / 9.5)
            yield

    async def others() -> None:
        nonlocal slices
        while True:
            await asyncio.sleep(0)
            slices += 1

    task = asyncio.create_task(others())
    await loop.pace.in_slices(steps())
    task.cancel()
    assert slices == 3


async def test_who_is_cancelled_keeps_nobody_from_a_slice(loop: Loop) -> None:
    async def hold() -> None:
        async with loop.pace.slice():
            await asyncio.Event().wait()

    task = asyncio.create_task(hold())
    await asyncio.sleep(0)
    waiting = asyncio.create_task(hold())
    await asyncio.sleep(0)
    for one in (waiting, task):
        one.cancel()
    await asyncio.gather(task, waiting, return_exceptions=True)
    async with loop.pace.slice():
        pass
