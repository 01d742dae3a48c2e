from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec

from pgoauthd.config.values import Cluster
from pgoauthd.runtime.house import MAX_REST_SECONDS, REST_FACTOR, TICK_SECONDS, House
from pgoauthd.runtime.observation import Observation
from pgoauthd.runtime.store import Store
from pgoauthd.runtime.systemd import Notifier
from pgoauthd.runtime.tailing.tail import LogTail
from pgoauthd.telemetry.metrics import Metrics
from tests.fix_clock import DEADLINE, SteppedClock
from tests.fix_events import START, verdict
from tests.fix_log import logging_to


class Home:
    """A house with one cluster, whose log nobody follows, and what it said."""

    def __init__(self, store: Store, said: io.StringIO, house: House, observation: Observation) -> None:
        self.store = store
        self.said = said
        self.house = house
        self.observation = observation
        self.clock = SteppedClock(START)

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        with contextlib.closing(Notifier({})) as notifier:
            task = asyncio.create_task(self.house.keep(self.clock, notifier, None))
            await self.clock.asleep(2)
            yield
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def pass_time(self, seconds: float) -> None:
        """Let so much time pass, and wait until both tasks sleep again."""
        self.clock.advance(seconds)
        await self.clock.asleep(2)

    def saved(self) -> int:
        return len(self.store.load()[1])


@contextlib.contextmanager
def home(tmp_path: Path) -> Iterator[Home]:
    cluster, metrics, said = Cluster(name="main", logs=(str(tmp_path / "log"),)), Metrics(), io.StringIO()
    observation = Observation(
        (cluster,), states={}, verdicts=(), validates=True, publish=(), metrics=metrics, clock=SteppedClock(START)
    )
    with logging_to(said) as log, Store(tmp_path / "state.db") as store:
        tail = LogTail(cluster, (), sink=observation, metrics=metrics, log=log)
        yield Home(store, said, House(observation, {"main": tail}, store, log=log), observation)


async def test_the_state_is_saved_at_every_tick(tmp_path: Path) -> None:
    with home(tmp_path) as here:
        async with here.kept():
            for count in (1, 2, 3):
                here.observation.on_verdict(verdict(pid=count))
                await here.pass_time(TICK_SECONDS)
                assert here.saved() == count


async def test_after_a_save_that_took_long_the_next_one_comes_later(tmp_path: Path) -> None:
    with home(tmp_path) as here:
        async with here.kept():
            for pid in range(5_000):
                here.observation.on_verdict(verdict(pid=pid))
            here.clock.advance(TICK_SECONDS)
            for _ in range(3):
                await asyncio.sleep(0)  # it has begun
            here.clock.advance(1.0)  # and takes a second
            await here.clock.asleep(2)
            here.observation.on_verdict(verdict(pid=5_000))
            await here.pass_time(REST_FACTOR - 1.0)
            assert here.saved() == 5_000
            await here.pass_time(1.0)
            async with asyncio.timeout(DEADLINE):
                while here.saved() == 5_000:  # noqa: ASYNC110 - a file has no event
                    await asyncio.sleep(0)


async def test_at_the_end_the_state_is_saved_when_save_returns(tmp_path: Path) -> None:
    with home(tmp_path) as here:
        here.observation.on_verdict(verdict())
        here.house.save()
        assert here.saved() == 1


async def test_a_state_that_cannot_be_saved_is_told_once_and_the_house_goes_on(tmp_path: Path) -> None:
    with home(tmp_path) as here:
        here.observation.on_verdict(msgspec.structs.replace(verdict(pid=1), client_port=2**70))
        async with here.kept():
            for _ in range(3):
                await here.pass_time(MAX_REST_SECONDS)
            here.house.save()
            assert here.said.getvalue().count("state_not_saved") == 1
            here.observation.on_verdict(verdict(pid=1))
            await here.pass_time(MAX_REST_SECONDS)
            assert here.saved() == 1
