"""Who else is served while a log is read: logins, other files, other clusters; and what waits when there is no room."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import pytest

from pgoauthd.logs.events import AuthEvent
from pgoauthd.logs.readers import READ_BYTES
from pgoauthd.runtime.pace import SLICE_SECONDS, Pace
from pgoauthd.runtime.tailing.chunksize import LARGEST, SMALLEST, ChunkSize
from pgoauthd.runtime.tailing.tail import ROUND_SECONDS, LogTail
from tests.runtime.tailing.fix_tail import Rig, append, lines, rig

__all__ = ["rig"]

MICROSECOND = 1e-6


def each_takes(rig: Rig, seconds: float, then: Callable[[], object] = lambda: None) -> None:
    """Let the sink need so much time for each event, by the clock of the tail."""
    take = rig.on_events

    def on_events(cluster: str, events: Sequence[AuthEvent]) -> None:
        take(cluster, events)
        rig.clock.advance(seconds * len(events))
        then()

    rig.on_events = on_events  # type: ignore[method-assign]


def turns(tail: LogTail) -> Iterator[None]:
    """One step; the event loop has its turn wherever this stops."""
    step = tail.step()
    try:
        while True:
            yield step.send(None)
    except StopIteration:
        pass


# slices


async def test_the_loop_is_held_no_longer_than_a_slice_however_much_an_event_costs(rig: Rig) -> None:
    append(rig.directory / "postgresql.json", lines(1) * 3000)
    each_takes(rig, 10 * MICROSECOND)
    held, before = [], rig.clock.monotonic()
    for _ in turns(rig.tail()):
        held.append(rig.clock.monotonic() - before)
        before = rig.clock.monotonic()
    first, *others = held
    assert max(others) <= 1.5 * SLICE_SECONDS
    assert first <= 10 * MICROSECOND * LARGEST / len(lines(1))


async def test_where_nothing_costs_time_slices_are_large(rig: Rig) -> None:
    append(rig.directory / "postgresql.json", lines(1) * 3000)
    assert sum(1 for _ in turns(rig.tail())) == -(-3000 * len(lines(1)) // READ_BYTES)


def test_a_chunk_becomes_small_at_once_and_large_step_by_step() -> None:
    chunk = ChunkSize()
    assert chunk.bytes == LARGEST
    chunk.learn(LARGEST, 100 * SLICE_SECONDS)
    assert chunk.bytes == SMALLEST
    chunk.learn(SMALLEST, 0.0)
    assert chunk.bytes == 2 * SMALLEST
    for _ in range(10):
        chunk.learn(chunk.bytes, 0.0)
    assert chunk.bytes == LARGEST


def test_a_chunk_takes_half_a_slice() -> None:
    chunk = ChunkSize()
    chunk.learn(LARGEST, SLICE_SECONDS)
    assert chunk.bytes == LARGEST // 2


def test_a_few_bytes_at_the_end_of_a_file_teach_nothing() -> None:
    chunk = ChunkSize()
    chunk.learn(100, SLICE_SECONDS)
    assert chunk.bytes == LARGEST


async def test_tails_that_share_a_pace_read_in_turn(rig: Rig) -> None:
    pace = Pace(rig.clock, worked_seconds=lambda: 0.0)
    for number in (1, 2):
        append(rig.directory / f"{number}.json", lines(number) * 2000)
    order: list[int | None] = []

    def on_events(_: str, events: Sequence[AuthEvent]) -> None:
        order.append(events[0].client_port)

    rig.on_events = on_events  # type: ignore[method-assign, assignment]
    await asyncio.gather(*(rig.tail(f"{number}.json", pace=pace).step() for number in (1, 2)))
    assert sum(before != after for before, after in pairwise(order)) > 6


# rounds


async def test_a_round_that_takes_long_breaks_off_and_goes_on_where_it_was(rig: Rig) -> None:
    append(rig.directory / "postgresql.json", b"".join(map(lines, range(1, 1001))))
    each_takes(rig, ROUND_SECONDS / 100)
    tail = rig.tail()
    assert await tail.step()
    assert 0 < len(rig.numbers) < 1000
    assert not tail.caught_up
    while not tail.caught_up:
        await tail.step()
    assert rig.numbers == list(range(1, 1001))


async def test_between_the_parts_of_a_round_directories_are_looked_at(rig: Rig) -> None:
    """What is rotated away while a large file is read is not lost when it is removed later."""
    append(rig.directory / "a.json", b"".join(map(lines, range(1, 1001))))
    append(rig.directory / "b.json", lines(1001))
    each_takes(rig, ROUND_SECONDS / 100)
    tail = rig.tail(".")
    await tail.step()
    append(rig.directory / "c.json", lines(1002))
    await tail.step()
    (rig.directory / "c.json").unlink()
    while not tail.caught_up:
        await tail.step()
    assert rig.numbers == list(range(1, 1003))


async def test_an_older_file_is_read_to_its_end_before_a_newer_one(rig: Rig) -> None:
    append(rig.directory / "a.json", b"".join(map(lines, range(1, 501))))
    append(rig.directory / "b.json", lines(501))
    each_takes(rig, ROUND_SECONDS / 100)
    tail = rig.tail(".")
    while not tail.caught_up:
        await tail.step()
    assert rig.numbers == list(range(1, 502))


async def test_a_file_that_grows_faster_than_it_is_read_does_not_keep_others_from_their_turn(rig: Rig) -> None:
    append(rig.directory / "a.json", lines(1) * 500)
    append(rig.directory / "b.json", lines(2) * 500)
    each_takes(rig, ROUND_SECONDS / 100, lambda: append(rig.directory / "a.json", lines(1) * 500))
    tail = rig.tail(".")
    for _ in range(30):
        await tail.step()
    assert rig.numbers.count(2) == 500
    assert not tail.caught_up


async def test_a_truncated_file_whose_copy_is_large_comes_after_all_of_the_copy(rig: Rig) -> None:
    path = rig.directory / "postgresql.json"
    append(path, lines(1, 2))
    tail = rig.tail()
    await tail.step()
    append(path, b"".join(map(lines, range(3, 501))))
    (rig.directory / "postgresql.json.1").write_bytes(path.read_bytes())
    path.write_bytes(b"")
    append(path, lines(501))
    each_takes(rig, ROUND_SECONDS / 100)
    for _ in range(40):
        await tail.step()
    assert rig.numbers == list(range(1, 502))
    assert rig.count("log_lost_lines_total") == 0


async def test_a_file_whose_first_line_was_not_whole_has_all_of_its_turn_when_it_is(rig: Rig) -> None:
    append(rig.directory / "whatever", lines(1)[:9])
    tail = rig.tail("whatever")
    await tail.step()
    append(rig.directory / "whatever", lines(1)[9:] + lines(2))
    await tail.step()
    assert rig.numbers == [1, 2]


# room


async def test_without_room_nothing_is_read_and_the_watchdog_hears_of_it(rig: Rig) -> None:
    append(rig.directory / "postgresql.json", lines(1))
    tail = rig.tail()
    rig.room.clear()
    for _ in range(3):
        step = asyncio.create_task(tail.step())
        await rig.clock.asleep()
        rig.clock.advance(ROUND_SECONDS)
        assert await step
        assert tail.last_round == rig.clock.monotonic()
    assert rig.numbers == []
    assert not tail.caught_up
    rig.room.set()
    await tail.step()
    assert rig.numbers == [1]


async def test_when_there_is_room_again_reading_goes_on_at_once(rig: Rig) -> None:
    append(rig.directory / "postgresql.json", lines(1))
    rig.room.clear()
    step = asyncio.create_task(rig.tail().step())
    await rig.clock.asleep()
    rig.room.set()
    await step
    assert rig.numbers == [1]


async def test_room_that_ends_is_noticed_after_the_slice(rig: Rig) -> None:
    append(rig.directory / "postgresql.json", lines(1) * 3000)
    tail = rig.tail()
    each_takes(rig, 10 * MICROSECOND, rig.room.clear)
    step = asyncio.create_task(tail.step())
    await rig.clock.asleep()
    assert 0 < len(rig.numbers) <= LARGEST / len(lines(1))
    assert tail.positions()[0].offset == len(rig.numbers) * len(lines(1))
    step.cancel()
    with pytest.raises(asyncio.CancelledError):
        await step


async def test_an_entry_that_waits_for_the_end_of_its_file_waits_for_room(rig: Rig) -> None:
    """A file that is not read to its end is not taken to be idle."""
    append(rig.directory / "postgresql.json", lines(1, 2))
    tail = rig.tail()
    rig.room.clear()
    step = asyncio.create_task(tail.step())
    await rig.clock.asleep()
    rig.clock.advance(ROUND_SECONDS)
    await step
    assert all(file.idle_since is None for file in tail._followed.files)  # noqa: SLF001 - nothing else shows it
