"""Kills without end: `python -m tests.crash.soak --kills 100 --seed 7` says what was done, and what became untrue.

A seed gives the same storm, though not the same moments: run it several times. Exit status 1 where a fact is untrue;
the directory with the state and the logs is kept then.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

from tests.crash.fix_aftermath import Aftermath, continued, weathered
from tests.crash.fix_logins import RENDER
from tests.crash.fix_storm import DISTURBANCES, KILLS, Weather
from tests.crash.fix_truth import FACTS, lost_from_copy

COPIES = 3
STATEMENTS = 240
"""A start takes some thirty, a save under load up to two hundred."""


def weathers(kills: int, seed: int, formats: list[str]) -> Iterator[Weather]:
    """As many kills together: of each format half at moments of all kinds, half at one statement after another.

    And a tenth as many disturbances, with kills among them.
    """
    chance = Random(seed)  # noqa: S311 - a test's dice
    each = max(kills // len(formats) // 2, COPIES)
    first, step = chance.randint(1, STATEMENTS // each + 1), max(STATEMENTS // each, 1)
    for log_format in formats:
        common: dict[str, Any] = {"log_format": log_format, "copies": COPIES}
        yield Weather(seed=chance.getrandbits(32), deaths=chance.choices(KILLS, k=each), silent=True, **common)
        statements = range(first, first + each * step, step)
        yield Weather(
            seed=chance.getrandbits(32), deaths=["killed at a statement"] * each, statements=statements, **common
        )
        deaths = chance.choices(DISTURBANCES, k=max(each // 5, COPIES))
        yield Weather(seed=chance.getrandbits(32), deaths=deaths, impatient=True, **common)


async def untrue_after(aftermath: Aftermath) -> list[str]:
    """What should be true and is not, of the daemon and of those that went on from copies of its state."""
    found = [f"{fact}: {it}" for fact, check in FACTS.items() for it in check(aftermath)]
    for number, copy in enumerate(aftermath.copies):
        outcomes, _ = await continued(aftermath, copy)
        found += [f"copy {number}: {it}" for it in lost_from_copy(aftermath, copy, outcomes)]
    return found


async def go_through(weather: Weather) -> bool:
    """One storm in a directory of its own; whether all is true afterwards."""
    directory, begun = Path(tempfile.mkdtemp(prefix="pgoauthd-soak-")), time.monotonic()
    aftermath = await weathered(directory, weather)
    untrue = await untrue_after(aftermath)
    asked = [it for it in aftermath.attempts if it.asked]
    say(
        f"{weather.log_format}: {aftermath.exits[-signal.SIGKILL]} kills, {len(aftermath.attempts)} logins, "
        f"{len(asked)} asked, {sum(it.reply is not None for it in asked)} answered, {aftermath.log_bytes:,} bytes, "
        f"{aftermath.scrapes.count} scrapes, {time.monotonic() - begun:.0f} s; {dict(aftermath.happened)}"
    )
    for what in untrue:
        say(f"UNTRUE {what}")
    if untrue:
        say(f"kept: {directory}")
    else:
        shutil.rmtree(directory)
    return not untrue


def say(line: str) -> None:
    """Tell at once: a soak takes a while."""
    print(line, flush=True)  # noqa: T201 - its output


def soak() -> int:
    """Do what the command line says; the exit status."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--kills", type=int, default=100, help="of all formats together")
    arguments.add_argument("--seed", type=int, default=None, help="another one each time if it is not given")
    arguments.add_argument("--formats", nargs="+", choices=RENDER, default=list(RENDER))
    given = arguments.parse_args()
    seed = given.seed if given.seed is not None else SystemRandom().getrandbits(32)
    say(f"seed {seed}")
    # Not one that stops at the first: the others may tell more about it.
    true = [asyncio.run(go_through(weather)) for weather in weathers(given.kills, seed, given.formats)]
    return 0 if all(true) else 1


if __name__ == "__main__":
    sys.exit(soak())
