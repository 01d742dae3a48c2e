from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from pgoauthd.config.values import Cluster
from pgoauthd.correlation.outcome import Outcome
from pgoauthd.logs.events import Saying
from pgoauthd.runtime.house import (
    IDLE_SAVE_SECONDS,
    MAX_UNTOLD,
    REST_FACTOR,
    SAVE_SECONDS,
    TICK_SECONDS,
    TIDY_SECONDS,
    House,
)
from pgoauthd.runtime.observation import Observation
from pgoauthd.runtime.retention import Retention
from pgoauthd.runtime.staterows import MAX_UNWRITTEN_OUTCOMES
from pgoauthd.runtime.store import Store
from pgoauthd.runtime.systemd import Notifier
from pgoauthd.runtime.tailing.tail import LogTail
from pgoauthd.telemetry.metrics import Metrics
from pgoauthd.tokens.reasons import Reason
from tests.fix_clock import DEADLINE, SteppedClock
from tests.fix_events import START, authenticated, authorized, fatal, ready, received, verdict
from tests.fix_log import logging_to
from tests.fix_outcomes import outcome
from tests.runtime.fix_state import (
    failing_disk,
    files_no_larger_than,
    hanging_disk,
    ids_in,
    reading,
    rows_in,
    state_at,
    writing,
)

MAIN = Cluster(name="main", logs=("/log",))
LOGIN = [received(), authenticated(), authorized(), ready()]
TASKS = 3
"""That sleep: one ticks, one saves, one tidies."""


class Home:
    """A house with one cluster, whose log nobody follows, what it told and what it said."""

    def __init__(self, directory: Path, store: Store, log: FilteringBoundLogger, said: io.StringIO) -> None:
        self.path = directory / "state.db"
        self.store = store
        self.said = said
        self.clock = SteppedClock(START)
        self.metrics = Metrics()
        self.told: list[Outcome] = []
        self.on_tell: Callable[[Outcome], None] = lambda _: None
        self.observation = Observation(publish=[self._decided], metrics=self.metrics, clock=self.clock)
        tail = LogTail(MAIN, (), sink=self.observation, metrics=self.metrics, log=log)
        self.house = House(self.observation, {"main": tail}, tell=self._tell, metrics=self.metrics, log=log)

    def begin(self) -> None:
        """As the daemon does it."""
        self.metrics.restore(self.store.saved.counters)
        self.observation.restore(self.store.saved)
        self.house.use(self.store)
        self.metrics.declare(clusters=["main"], issuers=(), sinks=())
        self.observation.use((MAIN,), validates=True)

    def _decided(self, outcome: Outcome) -> None:
        self.metrics.count_outcome(outcome)
        self.house.offer(outcome)

    def _tell(self, outcome: Outcome) -> None:
        self.on_tell(outcome)
        self.told.append(outcome)

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[asyncio.Task[None]]:
        with contextlib.closing(Notifier({})) as notifier:
            task = asyncio.create_task(self.house.keep(self.clock, notifier, None))
            await self.clock.asleep(TASKS)
            yield task
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def pass_time(self, seconds: float) -> None:
        """Let so much time pass, and wait until all tasks sleep again."""
        self.clock.advance(seconds)
        await self.clock.asleep(TASKS)

    async def begin_to_save(self) -> None:
        """Let a save begin whose end is not waited for."""
        self.clock.advance(SAVE_SECONDS)
        for _ in range(20):
            await asyncio.sleep(0)

    def told_ids(self) -> list[int | None]:
        return [one.id for one in self.told]

    def attempts(self) -> float | None:
        stage = str(Reason.OK.stage)
        return self.value(
            "login_attempts_total", cluster="main", method="oauth", result="success", stage=stage, reason="ok"
        )

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"pgoauthd_{name}", labels)


@contextlib.contextmanager
def home(directory: Path, *, patience_seconds: float = 10.0, begun: bool = True) -> Iterator[Home]:
    said = io.StringIO()
    with logging_to(said) as log, state_at(directory, patience_seconds=patience_seconds) as store:
        here = Home(directory, store, log, said)
        if begun:
            here.begin()
        yield here


async def test_an_outcome_is_told_when_its_row_can_be_read_by_others_and_not_before(tmp_path: Path) -> None:
    with home(tmp_path) as here:
        rows: list[list[int]] = []
        here.on_tell = lambda _: rows.append(ids_in(here.path))
        async with here.kept():
            here.observation.on_events("main", LOGIN)
            with hanging_disk(here.path):
                await here.begin_to_save()
                assert (here.told, here.attempts()) == ([], 0)
            await here.clock.asleep(TASKS)
            assert (here.told_ids(), rows, here.attempts()) == ([1], [[1]], 1)


async def test_positions_counters_sessions_verdicts_and_outcomes_are_saved_in_one_transaction(tmp_path: Path) -> None:
    with home(tmp_path) as here:
        async with here.kept():
            here.house.on_verdict(verdict(pid=9))
            here.observation.on_events("main", [*LOGIN, received(pid=2)])
            await here.pass_time(SAVE_SECONDS)
    with state_at(tmp_path) as store:
        saved = store.saved
    assert [session.pid for session in saved.clusters["main"].engine.open] == [2]
    assert saved.verdicts == (verdict(pid=9),)
    assert sum(value for (name, _), value in saved.counters.added.items() if name == "login_attempts") == 1
    assert ids_in(tmp_path / "state.db") == [1]


async def test_a_save_that_fails_halfway_has_saved_nothing(tmp_path: Path) -> None:
    with home(tmp_path) as here:
        async with here.kept():
            with failing_disk(here.path, "outcome"):  # the last table that is written
                here.observation.on_events("main", [*LOGIN, received(pid=2)])
                await here.pass_time(SAVE_SECONDS)
                counts = [rows_in(here.path, name) for name in ("head", "cluster", "session", "counter", "outcome")]
    assert counts == [0, 0, 0, 0, 0]


async def test_an_outcome_is_told_once_though_saving_fails_first_and_is_there_once_when_it_works(
    tmp_path: Path,
) -> None:
    with home(tmp_path) as here:
        async with here.kept():
            with failing_disk(here.path):
                here.observation.on_events("main", LOGIN)
                await here.pass_time(SAVE_SECONDS)
                assert (here.told_ids(), here.attempts(), ids_in(here.path)) == ([1], 1, [])
            await here.pass_time(IDLE_SAVE_SECONDS)
            here.observation.on_events("main", [received(pid=2), fatal(Saying.OAUTH_FAILED, pid=2)])
            await here.pass_time(IDLE_SAVE_SECONDS)
        assert (here.told_ids(), here.attempts(), ids_in(here.path)) == ([1, 2], 1, [1, 2])
    with home(tmp_path) as again:
        assert again.attempts() == 1


async def test_an_outcome_is_told_though_the_disk_hangs_and_saved_once_it_does_not(tmp_path: Path) -> None:
    with home(tmp_path, patience_seconds=0.05) as here:
        async with here.kept():
            with hanging_disk(here.path):
                for pid in (1, 2):
                    here.observation.on_events("main", [received(pid=pid), fatal(Saying.OAUTH_FAILED, pid=pid)])
                    await here.pass_time(IDLE_SAVE_SECONDS)
                assert (here.told_ids(), ids_in(here.path)) == ([1, 2], [])
            for _ in range(100):
                here.house.on_verdict(verdict())
                await here.pass_time(IDLE_SAVE_SECONDS)
                if ids_in(here.path):
                    break
            here.house.on_verdict(verdict())
            await here.pass_time(IDLE_SAVE_SECONDS)
        await here.house.end()
        assert (here.told_ids(), ids_in(here.path)) == ([1, 2], [1, 2])


async def test_a_state_that_cannot_be_saved_is_said_once_each_time_it_begins(tmp_path: Path) -> None:
    with home(tmp_path) as here:
        async with here.kept():
            for _ in range(2):
                with failing_disk(here.path):
                    for pid in (1, 2):
                        here.observation.on_events("main", [received(pid=pid), fatal(pid=pid)])
                        await here.pass_time(IDLE_SAVE_SECONDS)
                here.house.on_verdict(verdict())
                await here.pass_time(IDLE_SAVE_SECONDS)
        said = [json.loads(line) for line in here.said.getvalue().splitlines()]
        assert [one["event"] for one in said].count("state_not_saved") == 2
        assert "disk full" in next(one["problem"] for one in said if one["event"] == "state_not_saved")
        assert here.value("state_save_failures_total") == 4


async def test_what_the_history_lacks_is_counted(tmp_path: Path) -> None:
    with home(tmp_path) as here:
        async with here.kept():
            with failing_disk(here.path):
                for _ in range(MAX_UNWRITTEN_OUTCOMES + 7):
                    here.house.offer(outcome())
                await here.pass_time(SAVE_SECONDS)
        assert here.value("sink_dropped_total", sink="history") == 7


async def test_outcomes_are_saved_soon_and_all_else_at_leisure(tmp_path: Path) -> None:
    with home(tmp_path) as here:
        async with here.kept():
            await here.pass_time(IDLE_SAVE_SECONDS)
            here.observation.on_events("main", [received()])
            await here.pass_time(SAVE_SECONDS)
            assert rows_in(here.path, "session") == 0
            here.observation.on_events("main", [received(pid=2), fatal(pid=2)])
            await here.pass_time(SAVE_SECONDS)
            assert (rows_in(here.path, "session"), here.told_ids()) == (1, [1])
            here.observation.on_events("main", [received(pid=3)])
            await here.pass_time(IDLE_SAVE_SECONDS)
            assert rows_in(here.path, "session") == 2


async def test_while_nothing_changes_nothing_is_written(tmp_path: Path) -> None:
    with home(tmp_path) as here:
        async with here.kept():
            here.observation.on_events("main", LOGIN)
            await here.pass_time(IDLE_SAVE_SECONDS)
            with reading(here.path) as connection:
                before = connection.execute("PRAGMA data_version").fetchone()
                for _ in range(5):
                    await here.pass_time(IDLE_SAVE_SECONDS)
                assert connection.execute("PRAGMA data_version").fetchone() == before


async def test_after_a_save_that_took_long_the_next_one_comes_later(tmp_path: Path) -> None:
    with home(tmp_path) as here:
        async with here.kept():
            here.house.offer(outcome())
            with hanging_disk(here.path):
                await here.begin_to_save()
                here.clock.advance(1.0)  # and takes a second
            await here.clock.asleep(TASKS)
            here.house.offer(outcome())
            await here.pass_time(REST_FACTOR - 0.5)
            assert ids_in(here.path) == [1]
            await here.pass_time(0.5)
            assert ids_in(here.path) == [1, 2]


async def test_the_room_is_closed_while_too_many_outcomes_wait_and_opens_when_they_are_taken(tmp_path: Path) -> None:
    with home(tmp_path) as here:
        async with here.kept():
            for _ in range(MAX_UNTOLD - 1):
                here.house.offer(outcome())
            assert here.observation.room.is_set()
            here.house.offer(outcome())
            assert not here.observation.room.is_set()
            await here.pass_time(SAVE_SECONDS)
            assert here.observation.room.is_set()
        assert len(here.told) == MAX_UNTOLD


async def test_a_disk_that_hangs_closes_the_room_so_that_what_waits_is_bounded(tmp_path: Path) -> None:
    with home(tmp_path) as here:
        async with here.kept():
            with hanging_disk(here.path):
                here.house.offer(outcome())
                await here.begin_to_save()
                for _ in range(MAX_UNTOLD):
                    here.house.offer(outcome())
                assert not here.observation.room.is_set()
            await here.clock.asleep(TASKS)
            await here.pass_time(10.0)
            assert here.observation.room.is_set()
        assert here.told_ids() == [*range(1, MAX_UNTOLD + 2)]


async def test_without_a_state_an_outcome_is_told_at_once_and_has_no_id() -> None:
    told: list[Outcome] = []
    metrics = Metrics()
    with logging_to(io.StringIO()) as log:
        observation = Observation(publish=(), metrics=metrics, clock=SteppedClock(START))
        house = House(observation, {}, tell=told.append, metrics=metrics, log=log)
        house.offer(outcome())
        house.on_verdict(verdict())
        await house.end()
    assert [one.id for one in told] == [None]


async def test_ids_ascend_in_the_order_of_decisions_and_go_on_after_a_restart(tmp_path: Path) -> None:
    told: list[int | None] = []
    for _ in range(2):
        with home(tmp_path) as here:
            for pid in (1, 2, 3):
                here.observation.on_events("main", [received(pid=pid), fatal(pid=pid)])
            await here.house.end()
            told += here.told_ids()
    assert told == [1, 2, 3, 4, 5, 6]


# the end


async def test_at_the_end_everything_is_saved_and_told_when_end_returns(tmp_path: Path) -> None:
    with home(tmp_path) as here:
        here.observation.on_events("main", [*LOGIN, received(pid=2)])
        here.house.on_verdict(verdict(pid=2))
        await here.house.end()
        here.house.leave()
        assert (here.told_ids(), ids_in(here.path), here.attempts()) == ([1], [1], 1)
    with state_at(tmp_path) as store:
        assert store.saved.clean is True
        assert (store.saved.verdicts, store.saved.verdicts_since) == ((verdict(pid=2),), ())


async def test_who_is_cancelled_in_the_middle_of_a_save_loses_nothing_and_tells_nothing_twice(tmp_path: Path) -> None:
    with home(tmp_path) as here:
        with hanging_disk(here.path):
            async with here.kept() as keeping:
                here.observation.on_events("main", LOGIN)
                await here.begin_to_save()
                keeping.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await keeping
            here.observation.on_events("main", [received(pid=2), fatal(pid=2)])
            ending = asyncio.create_task(here.house.end())
            await asyncio.sleep(0)
            assert here.told == []
        async with asyncio.timeout(DEADLINE):
            await ending
        assert (here.told_ids(), ids_in(here.path), here.attempts()) == ([1, 2], [1, 2], 1)


async def test_the_end_waits_until_what_a_save_before_it_has_written_is_told(tmp_path: Path) -> None:
    with home(tmp_path) as here:
        here.on_tell = lambda _: ids_in(here.path).clear()  # a sink that takes its time
        with hanging_disk(here.path):
            async with here.kept():
                for _ in range(200):
                    here.house.offer(outcome())
                await here.begin_to_save()
            here.house.offer(outcome())
            ending = asyncio.create_task(here.house.end())
            await asyncio.sleep(0)
        async with asyncio.timeout(DEADLINE):
            await ending
        assert here.told_ids() == [*range(1, 202)]


async def test_after_the_end_nothing_is_saved_or_told_any_more(tmp_path: Path) -> None:
    with home(tmp_path) as here:
        async with here.kept():
            await here.house.end()
            with reading(here.path) as connection:
                before = connection.execute("PRAGMA data_version").fetchone()
                here.observation.on_events("main", LOGIN)
                for _ in range(3):
                    here.clock.advance(TIDY_SECONDS)
                    await here.clock.asleep(2)  # nobody saves any more
                assert connection.execute("PRAGMA data_version").fetchone() == before
        assert here.told == []


async def test_an_end_that_cannot_save_tells_all_the_same_and_is_no_end_in_order(tmp_path: Path) -> None:
    with home(tmp_path) as here:
        async with here.kept():
            here.observation.on_events("main", [received(pid=9)])
            await here.pass_time(IDLE_SAVE_SECONDS)
        with failing_disk(here.path):
            here.observation.on_events("main", LOGIN)
            await here.house.end()
        here.house.leave()
        assert here.told_ids() == [1]
        assert "state_not_saved" in here.said.getvalue()
    with state_at(tmp_path) as store:
        assert store.saved.clean is False


async def test_a_daemon_whose_sinks_have_not_ended_has_not_ended_in_order(tmp_path: Path) -> None:
    with home(tmp_path) as here:
        here.observation.on_events("main", LOGIN)
        await here.house.end()
    with state_at(tmp_path) as store:
        assert store.saved.clean is False


async def test_a_daemon_that_is_killed_has_not_ended_in_order(tmp_path: Path) -> None:
    with home(tmp_path) as here:
        async with here.kept():
            here.observation.on_events("main", LOGIN)
            await here.pass_time(SAVE_SECONDS)
    with state_at(tmp_path) as store:
        assert store.saved.clean is False


# verdicts


async def test_a_verdict_survives_a_crash_before_it_is_saved(tmp_path: Path) -> None:
    with home(tmp_path) as here:
        here.house.on_verdict(verdict())
    with home(tmp_path) as here:
        here.observation.on_events("main", LOGIN)
        await here.house.end()
        assert [one.validation_seconds for one in here.told] == [0.0004]


async def test_a_verdict_whose_login_was_saved_does_not_wait_again_after_a_crash(tmp_path: Path) -> None:
    with home(tmp_path) as here:
        async with here.kept():
            here.house.on_verdict(verdict())
            here.observation.on_events("main", LOGIN)
            await here.pass_time(SAVE_SECONDS)
    with state_at(tmp_path) as store:
        assert (store.saved.verdicts, store.saved.verdicts_since) == ((), ())


async def test_a_verdict_that_cannot_be_kept_at_once_is_said_once_and_saved_with_the_rest(tmp_path: Path) -> None:
    with home(tmp_path) as here:
        with files_no_larger_than(10):
            for pid in (1, 2):
                here.house.on_verdict(verdict(pid=pid))
        assert here.said.getvalue().count("verdict_not_kept") == 1
        here.house.on_verdict(verdict(pid=3))
        await here.house.end()
    with state_at(tmp_path) as store:
        assert {it.pid for it in store.saved.verdicts} == {1, 2, 3}
        assert store.saved.verdicts_since == ()


# housekeeping


async def test_gauges_are_brought_up_to_date_at_every_tick(tmp_path: Path) -> None:
    with home(tmp_path) as here:
        async with here.kept():
            await here.pass_time(TICK_SECONDS)
            here.observation.on_events("main", [received()])
            await here.pass_time(TICK_SECONDS)
            assert here.value("sessions_open", cluster="main") == 1


async def test_the_history_is_tidied_as_was_asked_for_and_that_is_counted(tmp_path: Path) -> None:
    with home(tmp_path) as here:
        async with here.kept():
            here.house.retain(Retention(seconds=0.0, max_bytes=1 << 62))
            here.house.offer(outcome(time=1.0))
            await here.pass_time(SAVE_SECONDS)
            assert ids_in(here.path) == [1]
            await here.pass_time(TIDY_SECONDS)
            assert ids_in(here.path) == []
            assert here.value("history_deleted_outcomes_total", cause="age") == 1
            assert (here.value("state_size_bytes") or 0) > 0


async def test_a_history_that_cannot_be_tidied_is_said_and_the_house_goes_on(tmp_path: Path) -> None:
    with home(tmp_path) as here:
        here.house.retain(Retention(seconds=0.0, max_bytes=1 << 62))
        async with here.kept():
            here.house.offer(outcome(time=1.0))
            await here.pass_time(SAVE_SECONDS)
            with writing(here.path) as connection:
                connection.execute(
                    "CREATE TRIGGER stuck BEFORE DELETE ON outcome BEGIN SELECT RAISE(ABORT, 'stuck'); END"
                )
                await here.pass_time(TIDY_SECONDS)
                assert "stuck" in here.said.getvalue()
                connection.execute("DROP TRIGGER stuck")
            await here.pass_time(TIDY_SECONDS)
            assert ids_in(here.path) == []


async def test_a_state_that_is_taken_up_later_holds_back_from_then_on(tmp_path: Path) -> None:
    with home(tmp_path, begun=False) as here:
        here.house.offer(outcome())
        assert here.told_ids() == [None]
        here.begin()
        here.house.offer(outcome())
        assert here.told_ids() == [None]
        await here.house.end()
        assert here.told_ids() == [None, 1]


async def test_what_cannot_be_written_is_said_and_all_else_is_saved_and_told(tmp_path: Path) -> None:
    with home(tmp_path) as here:
        async with here.kept() as keeping:
            here.observation.on_events("main", [received(pid=2**64), *LOGIN])
            await here.pass_time(IDLE_SAVE_SECONDS)
            assert not keeping.done()
            assert (here.told_ids(), ids_in(here.path)) == ([1], [1])
            assert "a part of the state could not be saved" in here.said.getvalue()
