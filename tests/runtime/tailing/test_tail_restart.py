"""Stopping and starting: nothing is lost, nothing comes twice, and what cannot be had is counted."""

from __future__ import annotations

import asyncio
import os

import msgspec
import pytest

from pgoauthd.logs.position import Position
from pgoauthd.logs.readers import LogFormat
from pgoauthd.runtime.tailing.tail import ROUND_SECONDS, LogTail
from tests.logs.fix_lines import Entry, render
from tests.runtime.tailing.fix_tail import Rig, append, copy_and_truncate, lines, rig

__all__ = ["rig"]


def stop(tail: LogTail) -> tuple[Position, ...]:
    """What the state file keeps of a tail that is gone."""
    tail.close()
    saved = msgspec.msgpack.encode(tail.positions())
    return msgspec.msgpack.decode(saved, type=tuple[Position, ...])


@pytest.mark.parametrize("start", ["beginning", "end"])
async def test_reading_goes_on_where_it_stopped(rig: Rig, start: str) -> None:
    path = rig.directory / "postgresql.json"
    append(path, lines(1, 2))
    tail = rig.tail()
    await tail.step()
    saved = stop(tail)
    append(path, lines(3))
    await rig.tail(saved=saved, start=start).step()
    assert rig.numbers == [1, 2, 3]
    assert rig.count("log_rotations_total") == 0


@pytest.mark.parametrize("log_format", LogFormat)
async def test_a_half_line_that_was_read_is_read_again_with_its_rest(rig: Rig, log_format: LogFormat) -> None:
    path = rig.directory / "whatever"
    data = lines(1, 2, log_format=log_format)
    append(path, data[:-20])
    tail = rig.tail("whatever")
    await tail.step()
    await tail.step()
    saved = stop(tail)
    append(path, data[-20:])
    tail = rig.tail("whatever", saved=saved)
    await tail.step()
    await tail.step()
    assert rig.numbers == [1, 2]
    assert rig.count("log_parse_failures_total", format=log_format) == 0


async def test_an_entry_that_waited_for_further_lines_is_read_again_and_emitted_once(rig: Rig) -> None:
    path = rig.directory / "postgresql.log"
    append(path, lines(1, 2, log_format=LogFormat.STDERR))
    tail = rig.tail("postgresql.log")
    await tail.step()
    assert rig.numbers == [1]
    saved = stop(tail)
    tail = rig.tail("postgresql.log", saved=saved)
    await tail.step()
    await tail.step()
    assert rig.numbers == [1, 2]


async def test_stopping_after_every_step_changes_nothing(rig: Rig) -> None:
    path = rig.directory / "postgresql.csv"
    data = render(
        LogFormat.CSVLOG,
        *(
            Entry(message="connection received: host=x port=1", port=number, statement="select\n1,\n'2'")
            for number in range(1, 40)
        ),
    )
    saved: tuple[Position, ...] = ()
    for at in range(0, len(data), 333):
        append(path, data[at : at + 333])
        tail = rig.tail("postgresql.csv", saved=saved)
        await tail.step()
        saved = stop(tail)
    assert rig.numbers == list(range(1, 40))


@pytest.mark.parametrize("logs", ["postgresql.json", "postgresql.json*", "."])
async def test_a_file_rotated_while_stopped_is_read_to_its_end(rig: Rig, logs: str) -> None:
    path = rig.directory / "postgresql.json"
    append(path, lines(1))
    tail = rig.tail(logs)
    await tail.step()
    saved = stop(tail)
    append(path, lines(2))
    path.rename(rig.directory / "postgresql.json.1")
    append(path, lines(3))
    tail = rig.tail(logs, saved=saved, start="end")
    await tail.step()
    assert rig.numbers == [1, 2, 3]
    assert rig.count("log_lost_lines_total") == 0


async def test_files_rotated_twice_while_stopped_are_all_read(rig: Rig) -> None:
    path = rig.directory / "postgresql.json"
    append(path, lines(1))
    tail = rig.tail()
    await tail.step()
    saved = stop(tail)
    append(path, lines(2))
    path.rename(rig.directory / "postgresql.json.2")
    append(path, lines(3))
    path.rename(rig.directory / "postgresql.json.1")
    append(path, lines(4))
    await rig.tail(saved=saved, start="end").step()
    assert rig.numbers == [1, 2, 3, 4]


async def test_a_file_that_was_being_drained_is_drained_after_a_restart(rig: Rig) -> None:
    path = rig.directory / "postgresql.json"
    append(path, lines(1))
    tail = rig.tail()
    await tail.step()
    path.rename(rig.directory / "postgresql.json.1")
    append(path, lines(3))
    await tail.step()
    saved = stop(tail)
    append(rig.directory / "postgresql.json.1", lines(2))
    append(path, lines(4))
    await rig.tail(saved=saved).step()
    assert rig.numbers == [1, 3, 2, 4]


async def test_what_copytruncate_copied_while_stopped_is_read_from_the_copy(rig: Rig) -> None:
    path = rig.directory / "postgresql.json"
    append(path, lines(1, 2))
    tail = rig.tail()
    await tail.step()
    saved = stop(tail)
    append(path, lines(3))
    copy_and_truncate(path, rig.directory / "postgresql.json.1")
    append(path, lines(4))
    await rig.tail(saved=saved).step()
    assert rig.numbers == [1, 2, 3, 4]
    assert (rig.count("log_truncations_total"), rig.count("log_lost_lines_total")) == (1, 0)


async def test_files_that_appeared_while_stopped_are_read_from_their_beginning(rig: Rig) -> None:
    append(rig.directory / "postgresql-1.json", lines(1))
    tail = rig.tail(".")
    await tail.step()
    saved = stop(tail)
    append(rig.directory / "postgresql-2.json", lines(2))
    await rig.tail(".", saved=saved, start="end").step()
    assert rig.numbers == [1, 2]


async def test_start_counts_for_a_directory_that_is_new_to_the_configuration(rig: Rig) -> None:
    append(rig.directory / "postgresql.json", lines(1))
    tail = rig.tail()
    await tail.step()
    saved = stop(tail)
    (rig.directory / "other").mkdir()
    append(rig.directory / "other" / "postgresql.json", lines(2))
    tail = rig.tail("postgresql.json", "other", saved=saved, start="end")
    await tail.step()
    append(rig.directory / "other" / "postgresql.json", lines(3))
    await tail.step()
    assert rig.numbers == [1, 3]


async def test_the_file_being_written_that_was_deleted_while_stopped_is_counted_as_lost(rig: Rig) -> None:
    path = rig.directory / "postgresql.json"
    append(path, lines(1))
    tail = rig.tail()
    await tail.step()
    saved = stop(tail)
    path.unlink()
    append(path, lines(2))
    tail = rig.tail(saved=saved)
    await tail.step()
    await tail.step()
    assert rig.numbers == [1, 2]
    assert rig.count("log_lost_lines_total") + rig.count("log_truncations_total") == 1
    assert len(tail.positions()) == 1


async def test_an_old_file_removed_by_retention_while_stopped_is_no_loss(rig: Rig) -> None:
    for number in (1, 2):
        append(rig.directory / f"postgresql-{number}.json", lines(number))
        os.utime(rig.directory / f"postgresql-{number}.json", (number, number))
    tail = rig.tail(".")
    await tail.step()
    saved = stop(tail)
    (rig.directory / "postgresql-1.json").unlink()
    tail = rig.tail(".", saved=saved)
    await tail.step()
    assert rig.count("log_lost_lines_total") == 0
    assert len(tail.positions()) == 1


async def test_an_old_file_removed_before_it_was_read_is_a_loss(rig: Rig) -> None:
    for number in (1, 2):
        append(rig.directory / f"postgresql-{number}.json", lines(number) + lines(number)[: 10 * (2 - number)])
        os.utime(rig.directory / f"postgresql-{number}.json", (number, number))
    tail = rig.tail(".")
    await tail.step()
    saved = stop(tail)
    (rig.directory / "postgresql-1.json").unlink()
    await rig.tail(".", saved=saved).step()
    assert rig.count("log_lost_lines_total") == 1


async def test_a_saved_offset_beyond_the_end_is_a_truncation(rig: Rig) -> None:
    path = rig.directory / "postgresql.json"
    append(path, lines(1, 2, 3))
    tail = rig.tail()
    await tail.step()
    saved = stop(tail)
    os.truncate(path, 0)
    append(path, lines(4))
    await rig.tail(saved=saved, start="end").step()
    assert rig.numbers == [1, 2, 3, 4]
    assert rig.count("log_truncations_total") == 1


async def test_a_file_that_begins_differently_is_read_from_its_beginning(rig: Rig) -> None:
    """The inode is used again, or the file was truncated and has grown."""
    path = rig.directory / "postgresql.json"
    append(path, lines(1))
    tail = rig.tail()
    await tail.step()
    saved = stop(tail)
    os.truncate(path, 0)
    append(path, lines(2, 3, 4))
    await rig.tail(saved=saved, start="end").step()
    assert rig.numbers == [1, 2, 3, 4]


async def test_a_device_with_another_number_is_no_other_file(rig: Rig) -> None:
    path = rig.directory / "postgresql.json"
    append(path, lines(1))
    tail = rig.tail()
    await tail.step()
    saved = tuple(msgspec.structs.replace(position, device=position.device + 1) for position in stop(tail))
    append(path, lines(2))
    await rig.tail(saved=saved).step()
    assert rig.numbers == [1, 2]


async def test_a_position_whose_directory_is_not_there_yet_is_kept(rig: Rig) -> None:
    path = rig.directory / "postgresql.json"
    append(path, lines(1))
    tail = rig.tail()
    await tail.step()
    saved = stop(tail)
    away = rig.directory.with_name("away")
    rig.directory.rename(away)
    tail = rig.tail(saved=saved)
    await tail.step()
    assert stop(tail) == saved
    away.rename(rig.directory)
    append(path, lines(2))
    await tail.step()
    assert rig.numbers == [1, 2]
    assert rig.count("log_lost_lines_total") == 0


async def test_a_position_whose_file_cannot_be_opened_is_kept(rig: Rig) -> None:
    path = rig.directory / "postgresql.json"
    append(path, lines(1))
    tail = rig.tail()
    await tail.step()
    saved = stop(tail)
    aside = path.rename(rig.directory / "aside")
    path.symlink_to(path)
    tail = rig.tail(saved=saved)
    await tail.step()
    path.unlink()
    aside.rename(path)
    append(path, lines(2))
    await tail.step()
    assert rig.numbers == [1, 2]


async def test_the_format_is_remembered(rig: Rig) -> None:
    append(rig.directory / "whatever", lines(1, log_format=LogFormat.CSVLOG))
    tail = rig.tail("whatever")
    await tail.step()
    assert [position.log_format for position in stop(tail)] == [LogFormat.CSVLOG]


async def test_positions_of_another_cluster_do_no_harm(rig: Rig) -> None:
    append(rig.directory / "postgresql.json", lines(1))
    tail = rig.tail()
    await tail.step()
    saved = stop(tail)
    (rig.directory / "b").mkdir()
    append(rig.directory / "b" / "postgresql.json", lines(2))
    await rig.tail("b", saved=saved).step()
    assert rig.numbers == [1, 2]


async def test_rotated_files_with_unread_rests_are_read_in_order(rig: Rig) -> None:
    """The last run found them and was killed before it had read any."""
    path = rig.directory / "postgresql.json"
    append(path, lines(1))
    tail = rig.tail()
    await tail.step()
    saved = stop(tail)
    append(path, lines(2))
    path.rename(rig.directory / "postgresql.json.2")
    append(path, lines(3))
    path.rename(rig.directory / "postgresql.json.1")
    append(path, lines(4))
    tail = rig.tail(saved=saved)
    rig.room.clear()
    step = asyncio.create_task(tail.step())
    await rig.clock.asleep()
    saved = stop(tail)
    rig.clock.advance(ROUND_SECONDS)
    await step
    rig.room.set()
    path.rename(rig.directory / "postgresql.json.0")
    append(path, lines(5))
    await rig.tail(saved=saved).step()
    assert rig.numbers == [1, 2, 3, 4, 5]
