"""A storm: what happens to a daemon under load, one thing after the other."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import NamedTuple

import aiohttp

from tests.crash.fix_deaths import INSTRUCTION, STATEMENT
from tests.crash.fix_lives import Life
from tests.crash.fix_load import Load
from tests.crash.fix_place import Place
from tests.fix_daemon import until

DEADLINE = 120.0
SAVE_SIGHT_SECONDS = 2.0
COLD_SHARE = 0.1
STEPS = {STATEMENT: 250, INSTRUCTION: 30_000}
"""So many are more than a start and a save together take."""
KILLS = (
    "killed at its start",
    "killed under load",
    "killed under load",
    "killed while it saves",
    "killed while it saves",
    "killed at a statement",
    "killed at an instruction",
    "killed while it ends",
)
DISTURBANCES = ("killed under load", "restarted", "suspended", "reloaded")


@dataclass(frozen=True, kw_only=True)
class Weather:
    """What a storm is like."""

    seed: int
    log_format: str = "csvlog"
    deaths: Sequence[str] = ()
    """What happens to the daemon, one after the other; see `Storm.happenings`."""
    statements: Sequence[int] = ()
    """At which it is killed, where it is killed at a statement; at any after those."""
    silent: bool = False
    """Some logins fall silent, which takes a while to be decided."""
    impatient: bool = False
    """Some shims do not wait."""
    copies: int = 0
    """How many copies of the state are made meanwhile."""


class Copy(NamedTuple):
    """The state as a `kill -9` would have left it at some moment."""

    directory: Path
    replies: int
    """Verdicts that had been told by then."""


class Storm:
    """One daemon in bad weather."""

    def __init__(self, weather: Weather, place: Place, load: Load) -> None:
        self.happened: Counter[str] = Counter()
        self.exits: Counter[int] = Counter()
        self.copies: list[Copy] = []
        self._weather = weather
        self._place = place
        self._load = load
        self._chance = Random(weather.seed + 1)  # noqa: S311 - a test's dice
        self._statements = iter(weather.statements)
        self._life: Life | None = None
        self.happenings: dict[str, Callable[[], Awaitable[None]]] = {
            "killed at its start": self._killed_at_its_start,
            "killed under load": self._killed_under_load,
            "killed while it saves": self._killed_while_it_saves,
            "killed at a statement": lambda: self._killed_at(STATEMENT),
            "killed at an instruction": lambda: self._killed_at(INSTRUCTION),
            "killed while it ends": self._killed_while_it_ends,
            "restarted": self._restarted,
            "suspended": self._suspended,
            "reloaded": self._reloaded,
        }

    async def rage(self) -> None:
        """Let all happen that is to happen, copies at moments in between."""
        copy_after = set(self._chance.sample(range(len(self._weather.deaths)), self._weather.copies))
        for number, what in enumerate(self._weather.deaths):
            await self.happenings[what]()
            self.happened[what] += 1
            if number in copy_after:
                await self._copy()

    def begin(self) -> Life:
        """A new life, if there is none."""
        if self._life is None:
            cold = self._chance.random() < COLD_SHARE
            self._life = Life(self._place.config_path, self._place.said, cold=cold)
        return self._life

    async def serving(self) -> Life:
        """A life that has come as far as to serve."""
        life = self.begin()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:

            async def healthy() -> bool:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with session.get(f"http://{self._place.listen}/healthz") as reply:
                        return reply.status == 200
                return False

            await until(healthy, "the daemon serves", DEADLINE)
        return life

    async def end(self, number: signal.Signals) -> None:
        """End the life that there is."""
        if self._life is not None:
            self._life.send(number)
            life, self._life = self._life, None
            self.exits[await life.ended()] += 1

    async def _killed_at_its_start(self) -> None:
        life = self.begin()
        await asyncio.sleep(self._chance.uniform(0, 1.2 if life.cold else 0.25))
        await self.end(signal.SIGKILL)

    async def _killed_under_load(self) -> None:
        await self.serving()
        await asyncio.sleep(self._chance.uniform(0, 0.4))
        await self.end(signal.SIGKILL)

    async def _killed_while_it_saves(self) -> None:
        """As soon as the write-ahead log is seen to change, or a moment later."""
        await self.serving()
        wal = Path(f"{self._place.state}-wal")
        before, deadline = _changed(wal), time.monotonic() + SAVE_SIGHT_SECONDS
        while _changed(wal) == before and time.monotonic() < deadline:  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0)
        await asyncio.sleep(self._chance.choice([0, 0, 0.001, 0.005]))
        await self.end(signal.SIGKILL)

    async def _killed_at(self, kind: str) -> None:
        """Under load there is always something more to save."""
        await self.end(signal.SIGKILL)
        step = next(self._statements, None) if kind == STATEMENT else None
        step = step or self._chance.randint(1, STEPS[kind])
        self._life = Life(self._place.config_path, self._place.said, dies_at=(kind, step))
        self.exits[await self._life.ended()] += 1
        self._life = None

    async def _killed_while_it_ends(self) -> None:
        """The service manager loses patience."""
        life = await self.serving()
        await asyncio.sleep(self._chance.uniform(0, 0.3))
        life.send(signal.SIGTERM)
        await asyncio.sleep(self._chance.uniform(0, 0.05))
        await self.end(signal.SIGKILL)

    async def _restarted(self) -> None:
        await self.serving()
        await asyncio.sleep(self._chance.uniform(0, 0.4))
        await self.end(signal.SIGTERM)

    async def _suspended(self) -> None:
        life = await self.serving()
        await asyncio.sleep(self._chance.uniform(0, 0.3))
        life.send(signal.SIGSTOP)
        await asyncio.sleep(self._chance.uniform(0.2, 2.0))
        life.send(signal.SIGCONT)

    async def _reloaded(self) -> None:
        """With another limit of tokens and another one of sessions: judging and joining are both gone on with anew."""
        life = await self.serving()
        text = self._place.config_path.read_text(encoding="utf-8")
        limit = self._chance.randint(10_000, 20_000)
        head, _, tail = text.partition("[callout]\n")
        lines = [line for line in tail.splitlines() if not line.startswith(("max_token_bytes", "settle_seconds"))]
        settle = f"settle_seconds = {self._chance.randint(5, 50)}"
        changed = "\n".join([f"max_token_bytes = {limit}", *lines, settle])
        self._place.config_path.write_text(f"{head}[callout]\n{changed}\n", encoding="utf-8")
        life.send(signal.SIGHUP)
        await asyncio.sleep(self._chance.uniform(0, 0.2))

    async def _copy(self) -> None:
        """Copy the state while the daemon stands still at some moment."""
        life = await self.serving()
        await asyncio.sleep(self._chance.uniform(0, 0.5))
        life.send(signal.SIGSTOP)
        await until(lambda: _stands_still(life.pid), "the daemon stands still")
        replies = self._load.replies
        directory = self._place.directory / f"copy-{len(self.copies)}"
        directory.mkdir()
        for path in self._place.state.parent.glob(f"{self._place.state.name}*"):
            (directory / path.name).write_bytes(path.read_bytes())
        life.send(signal.SIGCONT)
        self.copies.append(Copy(directory, replies))


async def _stands_still(pid: int) -> bool:
    """All of its threads do; the last system call of each is done by then."""
    return _states(pid) == {"T"}


def _states(pid: int) -> set[str]:
    """Of all threads of a process: proc(5), the third word of `stat`."""
    stats = [(task / "stat").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    return {stat.rpartition(") ")[2][0] for stat in stats}


def _changed(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_mtime_ns
    return 0
