"""In which order files are read: what was written before comes before, whenever anybody looked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from pgoauthd.logs.events import AuthEvent
from pgoauthd.logs.readers import LogFormat
from pgoauthd.runtime.pace import SLICE_SECONDS, Pace
from pgoauthd.runtime.tailing.tail import ROUND_SECONDS
from tests.runtime.tailing.fix_tail import Rig, append, lines, rig, touch

__all__ = ["rig"]


def at_events(rig: Rig, do: Callable[[], object]) -> None:
    """Have something done whenever events are handed on."""
    take = rig.on_events

    def on_events(cluster: str, events: Sequence[AuthEvent]) -> None:
        take(cluster, events)
        do()

    rig.on_events = on_events  # type: ignore[method-assign]


async def test_the_last_entry_of_an_older_file_comes_before_the_newer_file(rig: Rig) -> None:
    """In stderr format it waits for further lines of its own."""
    path = rig.directory / "postgresql.log"
    append(path, lines(1, log_format=LogFormat.STDERR))
    tail = rig.tail("postgresql.log")
    await tail.step()
    await tail.step()
    append(path, lines(2, 3, log_format=LogFormat.STDERR))
    path.rename(rig.directory / "postgresql.log.1")
    append(path, lines(4, 5, 6, log_format=LogFormat.STDERR))
    for _ in range(3):
        await tail.step()
    assert rig.numbers == [1, 2, 3, 4, 5, 6]


async def test_a_slice_that_begins_late_reads_one_chunk_all_the_same(rig: Rig) -> None:
    """The thread had to wait for the processor."""
    append(rig.directory / "a.json", lines(1))
    append(rig.directory / "b.json", lines(2))
    tail = rig.tail(".", pace=Pace(rig.clock, worked_seconds=lambda: 0.0))
    now, late = rig.clock.monotonic, 0.0

    def monotonic() -> float:
        nonlocal late
        late += 10 * SLICE_SECONDS
        return now() + late

    rig.clock.monotonic = monotonic  # type: ignore[method-assign]
    await tail.step()
    assert rig.numbers == [1, 2]


async def test_what_an_older_file_got_after_its_turn_began_comes_before_a_newer_file(rig: Rig) -> None:
    """A round broke off in it, and when it went on there was a newer one."""
    path = rig.directory / "a.json"
    append(path, b"".join(map(lines, range(1, 501))))
    at_events(rig, lambda: rig.clock.advance(ROUND_SECONDS))
    tail = rig.tail(".")
    await tail.step()
    assert not tail.caught_up
    append(path, lines(501))
    append(rig.directory / "b.json", lines(502))
    while not tail.caught_up:
        await tail.step()
    assert rig.numbers == list(range(1, 503))


async def test_what_comes_into_an_older_file_before_the_newer_one_has_anything_is_read_before_it(rig: Rig) -> None:
    path, newer = rig.directory / "a.json", rig.directory / "b.json"
    append(path, lines(1))
    newer.touch()
    touch(newer)
    done: list[Path] = []

    def grow() -> None:
        if not done:
            done.append(path)
            append(path, lines(2))
            append(newer, lines(3))

    at_events(rig, grow)
    tail = rig.tail(".")
    await tail.step()
    await tail.step()
    assert rig.numbers == [1, 2, 3]
