"""The loop around the steps, woken by real file system events or by nothing but the clock."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest
from watchdog.events import FileModifiedEvent

from pgoauthd.logs.events import AuthEvent
from pgoauthd.runtime.clock import SystemClock
from pgoauthd.runtime.tailing.tail import LogTail
from pgoauthd.runtime.tailing.waker import Waker
from tests.runtime.tailing.fix_tail import CLUSTER, Rig, append, lines, rig

__all__ = ["rig"]

DEADLINE = 20.0


class Sink:
    """Collects events, and lets a test wait for them."""

    def __init__(self) -> None:
        self.numbers: list[int | None] = []
        self._changed = asyncio.Event()

    def on_events(self, cluster: str, events: Sequence[AuthEvent]) -> None:
        assert cluster == CLUSTER
        self.numbers += [event.client_port for event in events]
        self._changed.set()

    async def wait_for(self, count: int) -> None:
        async with asyncio.timeout(DEADLINE):
            while len(self.numbers) < count:
                self._changed.clear()
                await self._changed.wait()


@pytest.fixture
async def sink(rig: Rig) -> Sink:
    made = Sink()
    rig.on_events = made.on_events  # type: ignore[method-assign]
    return made


@contextlib.asynccontextmanager
async def running(tail: LogTail) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(tail.run())
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def real(rig: Rig, *logs: str) -> LogTail:
    rig.clock = SystemClock()  # type: ignore[assignment]
    return rig.tail(*logs)


async def test_what_is_written_and_rotated_while_it_runs_arrives(rig: Rig, sink: Sink) -> None:
    path = rig.directory / "postgresql.json"
    append(path, lines(1))
    async with running(real(rig)):
        await sink.wait_for(1)
        append(path, lines(2))
        path.rename(rig.directory / "postgresql.json.1")
        append(path, lines(3))
        await sink.wait_for(3)
        append(path, lines(4))
        await sink.wait_for(4)
    assert sink.numbers == [1, 2, 3, 4]


async def test_without_file_system_events_polling_carries_on(rig: Rig, sink: Sink) -> None:
    """The file lies outside the directory that is watched: a link leads to it."""
    elsewhere = rig.directory.with_name("elsewhere")
    elsewhere.mkdir()
    append(elsewhere / "postgresql.json", lines(1))
    (rig.directory / "postgresql.json").symlink_to(elsewhere / "postgresql.json")
    async with running(real(rig)):
        await sink.wait_for(1)
        append(elsewhere / "postgresql.json", lines(2))
        await sink.wait_for(2)


async def test_when_it_is_cancelled_its_files_are_closed_and_positions_kept(rig: Rig, sink: Sink) -> None:
    append(rig.directory / "postgresql.json", lines(1))
    tail = real(rig)
    async with running(tail) as task:
        await sink.wait_for(1)
    assert task.cancelled()
    assert all(file.resting for file in tail._followed.files)  # noqa: SLF001 - descriptors leave no other trace
    assert tail.positions()[0].offset == len(lines(1))


async def test_every_round_is_told_to_the_watchdog(rig: Rig, sink: Sink) -> None:
    append(rig.directory / "postgresql.json", lines(1))
    tail = real(rig)
    before = tail.last_round
    async with running(tail):
        await sink.wait_for(1)
    assert tail.last_round > before


async def is_woken(waker: Waker, act: Callable[[], object]) -> bool:
    """Whether the wait returns before its time when `act` has been done."""
    async with asyncio.timeout(DEADLINE):
        waiting = asyncio.create_task(waker.wait(2 * DEADLINE))
        await asyncio.sleep(0)
        act()
        await waiting
    return True


async def test_a_change_in_a_watched_directory_wakes_and_disarms(tmp_path: Path) -> None:
    directories = frozenset({str(tmp_path)})
    with Waker() as waker:
        assert waker.arm(directories)
        assert waker.watched == directories
        assert await is_woken(waker, lambda: append(tmp_path / "a", b"x"))
        assert waker.watched == frozenset()
        assert waker.arm(directories)
        assert await is_woken(waker, lambda: append(tmp_path / "a", b"x"))


async def test_what_is_armed_already_is_not_armed_anew(tmp_path: Path) -> None:
    with Waker() as waker:
        assert waker.arm(frozenset({str(tmp_path)}))
        assert not waker.arm(frozenset({str(tmp_path)}))


async def test_each_of_several_directories_wakes_until_it_is_given_up(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    first.mkdir()
    second.mkdir()
    with Waker() as waker:
        assert waker.arm(frozenset({str(first), str(second)}))
        assert await is_woken(waker, lambda: append(second / "a", b"x"))
        assert waker.arm(frozenset({str(first), str(second)}))
        assert waker.arm(frozenset({str(second)}))
        assert waker.watched == {str(second)}


async def test_a_directory_that_cannot_be_watched_is_passed_over(tmp_path: Path) -> None:
    with Waker() as waker:
        assert waker.arm(frozenset({str(tmp_path / "none"), str(tmp_path)}))
        assert waker.watched == {str(tmp_path)}


async def test_a_wait_ends_when_its_time_is_over_and_stays_armed(tmp_path: Path) -> None:
    with Waker() as waker:
        waker.arm(frozenset({str(tmp_path)}))
        async with asyncio.timeout(DEADLINE):
            await waker.wait(0.01)
        assert waker.watched == {str(tmp_path)}


async def test_what_happens_between_arming_and_waiting_is_not_missed(tmp_path: Path) -> None:
    with Waker() as waker:
        waker.arm(frozenset({str(tmp_path)}))
        waker.on_any_event(FileModifiedEvent(str(tmp_path / "a")))
        async with asyncio.timeout(DEADLINE):
            await waker.wait(2 * DEADLINE)


async def test_after_a_wakening_there_may_be_no_directory_left_and_the_next_wait_takes_its_time(tmp_path: Path) -> None:
    with Waker() as waker:
        waker.arm(frozenset({str(tmp_path)}))
        assert await is_woken(waker, lambda: waker.on_any_event(FileModifiedEvent(str(tmp_path / "a"))))
        assert waker.arm(frozenset())
        begun = asyncio.get_running_loop().time()
        await waker.wait(0.05)
        assert asyncio.get_running_loop().time() - begun >= 0.04  # and others had their turn meanwhile
