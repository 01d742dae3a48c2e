from __future__ import annotations

import asyncio
import io

from pgoauthd.runtime.background import FIRST_RESTART_SECONDS, LONGEST_RESTART_SECONDS, Background, stop
from tests.fix_clock import SteppedClock
from tests.fix_log import logging_to


class Part:
    """Fails whenever it is run, or waits for ever."""

    def __init__(self, *, fails: bool = True) -> None:
        self.fails = fails
        self.runs = 0
        self.ended = False

    async def run(self) -> None:
        self.runs += 1
        if self.fails:
            raise RuntimeError("broken")
        try:
            await asyncio.Event().wait()
        finally:
            self.ended = True


async def test_a_part_that_fails_is_run_again_after_longer_and_longer() -> None:
    clock, part, said = SteppedClock(), Part(), io.StringIO()
    with logging_to(said) as log:
        async with Background(log, clock) as background:
            background.start(part.run)
            delays = []
            for _ in range(8):
                delays.append(await clock.asleep())
                clock.advance(delays[-1])
    assert delays == [FIRST_RESTART_SECONDS * 2**n for n in range(6)] + [LONGEST_RESTART_SECONDS] * 2
    assert said.getvalue().count("part_failed_unforeseen") == part.runs


async def test_a_part_that_is_to_run_once_is_not_run_again() -> None:
    part, said = Part(), io.StringIO()
    with logging_to(said) as log:
        async with Background(log, SteppedClock()) as background:
            await background.start_once(part.run)
    assert part.runs == 1
    assert "part_failed_unforeseen" in said.getvalue()


async def test_a_part_can_be_stopped_before_the_others() -> None:
    first, second = Part(fails=False), Part(fails=False)
    with logging_to(io.StringIO()) as log:
        async with Background(log, SteppedClock()) as background:
            task = background.start(first.run)
            background.start(second.run)
            await asyncio.sleep(0)
            await stop(task)
            assert (first.ended, second.ended) == (True, False)
    assert second.ended


async def test_what_is_started_while_all_end_ends_too() -> None:
    late = Part(fails=False)
    with logging_to(io.StringIO()) as log:
        background = Background(log, SteppedClock())

        async def last_act() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                background.start(late.run)

        async with asyncio.timeout(20), background:
            background.start(last_act)
            await asyncio.sleep(0)
    assert late.ended or late.runs == 0
