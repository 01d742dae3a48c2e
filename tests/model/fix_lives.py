"""The daemon's following, joining and saving, put together as `daemon.py` does, stepped by a test, and killed by it.

What a kill leaves is what is in the files: they are copied at that moment, and what goes on with the old ones is a
ghost to which nobody listens.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, cast

from structlog.typing import FilteringBoundLogger

from pgoauthd.config.values import Cluster, Config, State
from pgoauthd.correlation.outcome import Outcome
from pgoauthd.correlation.verdicts import SessionVerdict
from pgoauthd.generation import InUse
from pgoauthd.logs.position import Position
from pgoauthd.observing import Sinks, Tails
from pgoauthd.runtime.background import Background, Work
from pgoauthd.runtime.house import House
from pgoauthd.runtime.identfiles import IdentFiles
from pgoauthd.runtime.observation import Observation
from pgoauthd.runtime.pace import Pace
from pgoauthd.runtime.systemd import Notifier
from pgoauthd.runtime.tailing.tail import LogTail
from pgoauthd.site import Site
from pgoauthd.telemetry.metrics import Metrics
from pgoauthd.validating import Validating
from tests.fix_clock import SteppedClock

STATE = "state.db"
QUIET_TURNS = 25
"""Turns of the loop in which everything comes to rest that has nothing to wait for but its turn."""
MANY_TURNS = 20_000


class Told(NamedTuple):
    """An outcome that metrics and sinks were told of."""

    id: int
    cluster: str
    pid: int


class Disk(ThreadPoolExecutor):
    """Does what threads are given to do when it is told to: at once, later, or never well."""

    def __init__(self) -> None:
        super().__init__(max_workers=1)
        self.held = False
        self.full = False
        self._waiting: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:  # noqa: ANN401
        future: Future[Any] = Future()
        self._waiting.append((future, lambda: work(*args, **kwargs)))
        if not self.held:
            self.go_on()
        return future

    def work(self) -> Callable[[], None]:
        """Do what waits, and give what says so to who waits."""
        done: list[tuple[Future[Any], Any, Exception | None]] = []
        waiting, self._waiting = self._waiting, []
        for future, work in waiting:
            try:
                if self.full:
                    raise sqlite3.OperationalError("database or disk is full")  # noqa: TRY301
                done.append((future, work(), None))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is whose who waits
                done.append((future, None, error))

        def say() -> None:
            for future, result, error in done:
                if error is None:
                    future.set_result(result)
                else:
                    future.set_exception(error)

        return say

    def go_on(self) -> None:
        self.held = False
        self.work()()


class Steps(Background):
    """Parts that run beside each other; the tails among them only when they are told to step."""

    def __init__(self, log: FilteringBoundLogger, clock: SteppedClock) -> None:
        super().__init__(log, clock)
        self.walks: dict[LogTail, Walk] = {}

    def start(self, work: Work) -> asyncio.Task[None]:
        tail = getattr(work, "__self__", None)
        assert isinstance(tail, LogTail)
        self.walks[tail] = walk = Walk(tail)
        task = asyncio.get_running_loop().create_task(walk.go())
        task.add_done_callback(lambda done: self._over(tail, done))
        return task

    def _over(self, tail: LogTail, task: asyncio.Task[None]) -> None:
        del self.walks[tail]
        tail.close()
        if not task.cancelled():
            task.result()


class Walk:
    """A tail that steps when told to."""

    def __init__(self, tail: LogTail) -> None:
        self.tail = tail
        self.stepping = asyncio.Event()
        self.has_read = False
        self.failure: BaseException | None = None

    async def go(self) -> None:
        while True:
            await self.stepping.wait()
            try:
                self.has_read = await self.tail.step()
            except Exception as error:
                self.failure = error
                raise
            self.stepping.clear()


class SteppedTails(Tails):
    """Tails of which the clock is stepped, too."""

    def _tail(self, cluster: Cluster, positions: tuple[Position, ...]) -> LogTail:
        site = self._site
        return LogTail(
            cluster,
            positions,
            sink=self._observation,
            metrics=site.metrics,
            log=site.log,
            clock=site.clock,
            pace=site.pace,
        )


class Life:
    """One run of the daemon, from its start to its end or death. `told` are those of all lives."""

    def __init__(
        self, directory: Path, clusters: tuple[Cluster, ...], now: float, log: FilteringBoundLogger, told: list[Told]
    ) -> None:
        self.directory = directory
        self.disk = Disk()
        self.loop = asyncio.new_event_loop()
        self.loop.set_default_executor(self.disk)
        self.clock = SteppedClock(now)
        self.metrics = Metrics()
        self._told = told
        self._dead = False
        self._stores = ExitStack()
        self._notifier = Notifier({})
        self._clusters: tuple[Cluster, ...] = ()
        self.loop.run_until_complete(self._begin(clusters, log))

    async def _begin(self, clusters: tuple[Cluster, ...], log: FilteringBoundLogger) -> None:
        self._steps = Steps(log, self.clock)
        # What goes on in a turn of this loop is the test's own, and nothing to make room for.
        pace = Pace(self.clock, worked_seconds=lambda: 0.0)
        site = Site(self.metrics, log, self.clock, self._steps, pace)
        ident = IdentFiles((), metrics=self.metrics, log=log, clock=self.clock)

        def decided(outcome: Outcome) -> None:
            self.metrics.count_outcome(outcome)
            self.house.offer(outcome)

        observation = Observation(publish=[decided], metrics=self.metrics, clock=self.clock, ident=ident)
        self._tails = SteppedTails(site, observation, ident)
        self.house = House(
            observation,
            self._tails.running,
            tell=self._tell,
            metrics=self.metrics,
            log=log,
            pace=pace,
            left=self._tails.left,
        )
        in_use = InUse(
            site,
            validating=Validating(site, self.house.on_verdict),
            observation=observation,
            tails=self._tails,
            sinks=Sinks(site),
            house=self.house,
            stores=self._stores,
        )
        in_use.begin(Config(state=State(path=str(self.directory / STATE)), clusters=clusters))
        await self._use(clusters)
        self._keeping = asyncio.create_task(self.house.keep(self.clock, self._notifier, None))
        await self._rest()

    def _tell(self, outcome: Outcome) -> None:
        if not self._dead:
            assert outcome.id is not None
            self._told.append(Told(outcome.id, outcome.cluster, outcome.pid))

    # what a history does with it

    def use(self, clusters: tuple[Cluster, ...]) -> None:
        """Reload with these clusters."""
        self.loop.run_until_complete(self._use(clusters))

    def on_verdict(self, verdict: SessionVerdict) -> None:
        self.house.on_verdict(verdict)

    def step(self, turns: int) -> None:
        """Have all tails step, for so many turns of the loop; what is not over then goes on the next time."""
        self.loop.run_until_complete(self._step(turns))

    def finish_step(self) -> None:
        """Go on with the steps that are not over until they are."""
        self.loop.run_until_complete(self._finish_step())

    def drain(self) -> None:
        """Step until nothing is left to be read."""
        self.loop.run_until_complete(self._drain())

    def pass_time(self, seconds: float, at_once: float = 0.5) -> None:
        """Let time pass, and everything come to rest in between."""
        self.loop.run_until_complete(self._pass(seconds, at_once))

    def crash(self, to: Path) -> None:
        """Be killed; the files as they are now are copied to another directory."""
        for path in self.directory.iterdir():
            if not path.name.endswith("-shm"):
                shutil.copy(path, to / path.name)
        self.die()

    def die(self) -> None:
        """Be over; nobody hears of it any more."""
        self._dead = True
        if not self.loop.is_closed():
            self._close()

    def end(self) -> None:
        """End as on SIGTERM."""
        self.loop.run_until_complete(self.house.end())
        self.house.leave()
        self._close()

    def counted(self, metric: str, *names: str) -> dict[tuple[str, ...], float]:
        """The values of a counter other than 0, as they are shown, by the values of these labels."""
        found = defaultdict[tuple[str, ...], float](float)
        for family in self.metrics.registry.restricted_registry([f"pgoauthd_{metric}_total"]).collect():
            for sample in family.samples:
                if sample.value:
                    found[tuple(sample.labels[name] for name in names)] += sample.value
        return found

    # how

    async def _use(self, clusters: tuple[Cluster, ...]) -> None:
        names = [{cluster.name for cluster in which} for which in (clusters, self._clusters)]
        self.metrics.declare(clusters=sorted(names[0] - names[1]), issuers=(), sinks=())
        await self._tails.use(clusters, validates=True)
        self._clusters = clusters

    async def _step(self, turns: int) -> None:
        self._go()
        for _ in range(turns):
            await asyncio.sleep(0)

    def _go(self) -> None:
        for walk in self._steps.walks.values():
            walk.stepping.set()

    async def _drain(self) -> None:
        idle = 0
        while idle < 4:
            self._go()
            walks = tuple(self._steps.walks.values())
            await self._finish_step()
            idle = 0 if any(walk.has_read for walk in walks) else idle + 1
        assert all(tail.caught_up or tail.lag_bytes == 0 for tail in self._tails.running.values())

    async def _finish_step(self) -> None:
        walks = tuple(self._steps.walks.values())
        turns = 0
        while any(walk.stepping.is_set() for walk in walks):
            await asyncio.sleep(0)
            turns += 1
            assert turns < MANY_TURNS, "a step does not come to its end"
            assert all(walk.failure is None for walk in walks), [walk.failure for walk in walks]

    async def _pass(self, seconds: float, at_once: float) -> None:
        while seconds > 0:
            self.clock.advance(min(seconds, at_once))
            seconds -= at_once
            await self._rest()

    async def _rest(self) -> None:
        for _ in range(QUIET_TURNS):
            await asyncio.sleep(0)
        if self._keeping.done():
            self._keeping.result()

    def _close(self) -> None:
        self.disk.full = False
        self.disk.go_on()
        self.loop.run_until_complete(self._stop_all())
        self._stores.close()
        self._notifier.close()
        self.loop.close()
        self.disk.shutdown()

    async def _stop_all(self) -> None:
        while others := asyncio.all_tasks() - {cast("asyncio.Task[Any]", asyncio.current_task())}:
            for task in others:
                task.cancel()
            await asyncio.wait(others)
