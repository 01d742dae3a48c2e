"""What a storm leaves: all that was, and all that the daemon knows of it in the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.crash.fix_lives import Life
from tests.crash.fix_load import Attempt, Load
from tests.crash.fix_place import history_of, placed
from tests.crash.fix_scrapes import Scrapes
from tests.crash.fix_serverlog import ServerLog
from tests.crash.fix_storm import DEADLINE, Copy, Storm, Weather
from tests.fix_daemon import until

STANDSTILL_SECONDS = {False: 30.0, True: 45.0}
"""When nothing new has been told for so long, nothing more will come; longer where silence is waited for."""
SILENCE_SECONDS = {False: 60.0, True: 20.0}
"""When a login is over that says nothing more, where that is to be seen and where it must not happen by chance."""


@dataclass
class Aftermath:
    """What there was to know, and what is known."""

    weather: Weather
    directory: Path
    attempts: list[Attempt]
    outcomes: list[dict[str, Any]]
    """Of the history, by id."""
    told: list[dict[str, Any]]
    """Of the outcome file, in the order of its lines."""
    scrapes: Scrapes
    log_bytes: int
    happened: Counter[str]
    exits: Counter[int]
    copies: list[Copy] = field(default_factory=list)


async def weathered(directory: Path, weather: Weather) -> Aftermath:
    """Go through a storm, and see what is left."""
    print(f"storm in {directory}: {weather}")  # noqa: T201 - so that what fails can be done again
    chance = Random(weather.seed)  # noqa: S311 - a test's dice
    async with placed(directory, directory, silence_seconds=SILENCE_SECONDS[weather.silent]) as place:
        log = ServerLog(place.logs, weather.log_format, chance, renames=chance.random() < 0.5)
        load = Load(log, place.socket, place.issuer, chance, silent=weather.silent, impatient=weather.impatient)
        storm, scrapes = Storm(weather, place, load), Scrapes(f"http://{place.listen}")
        await storm.serving()
        await until(lambda: _knows_its_cluster(place.state), "the state knows the cluster", DEADLINE)
        async with _beside(scrapes.run()):
            async with _beside(load.write()), _beside(load.run()):
                # Of a file without a line nobody knows what was to be in it.
                await until(lambda: _has_a_line(place.outcomes), "the outcome file has a line", DEADLINE)
                await storm.rage()
            log.close()
            await storm.serving()
            await _all_told(scrapes, len(load.attempts), log.size, STANDSTILL_SECONDS[weather.silent])
        await storm.end(signal.SIGTERM)
    return Aftermath(
        weather=weather,
        directory=directory,
        attempts=load.attempts,
        outcomes=history_of(place.state),
        told=[json.loads(line) for line in place.outcomes.read_bytes().splitlines()],
        scrapes=scrapes,
        log_bytes=log.size,
        happened=storm.happened,
        exits=+storm.exits,
        copies=storm.copies,
    )


async def continued(aftermath: Aftermath, copy: Copy) -> tuple[list[dict[str, Any]], Scrapes]:
    """Have a daemon go on from a copy of the state, to the end of the same logs: its history and metrics."""
    silent = aftermath.weather.silent
    async with placed(aftermath.directory, copy.directory, silence_seconds=SILENCE_SECONDS[silent]) as place:
        scrapes = Scrapes(f"http://{place.listen}")
        life = Life(place.config_path, place.said)
        async with _beside(scrapes.run()):
            await _all_told(scrapes, len(aftermath.attempts), aftermath.log_bytes, STANDSTILL_SECONDS[silent])
        life.send(signal.SIGTERM)
        assert await life.ended() == 0
        return history_of(place.state), scrapes


async def _knows_its_cluster(state: Path) -> bool:
    with contextlib.closing(sqlite3.connect(f"file:{state}?mode=ro", uri=True)) as connection:
        return bool(connection.execute("SELECT 1 FROM cluster").fetchall())


async def _has_a_line(path: Path) -> bool:
    return _size(path) > 0


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


async def _all_told(scrapes: Scrapes, attempts: int, log_bytes: int, standstill_seconds: float) -> None:
    """Until all is read and told, or nothing new has been told for long; whoever looks then finds out what is wrong."""
    wanted = {"login_attempts_total": attempts, "log_read_bytes_total": log_bytes, "log_lag_bytes": 0}
    told, since = dict[str, float](), time.monotonic()
    while told != wanted and time.monotonic() - since < standstill_seconds:
        await until(_scraped_after(scrapes, scrapes.count), "a scrape", DEADLINE)
        before, told = told, {name: scrapes.total(name) for name in wanted}
        since = since if told == before else time.monotonic()


def _scraped_after(scrapes: Scrapes, count: int) -> Callable[[], Awaitable[bool]]:
    async def fact() -> bool:
        return scrapes.count > count

    return fact


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Do this while the block runs; what goes wrong with it goes wrong with the block."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
