"""Following the log files of a cluster: every line once, whatever happens to its file."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgoauthd.errors import LogFormatError
from pgoauthd.logs.events import EventKind, Saying
from pgoauthd.logs.readers import READ_BYTES, LogFormat
from pgoauthd.runtime.tailing.followed import OPEN_FILES
from pgoauthd.runtime.tailing.tail import DRAIN_SECONDS
from tests.logs.fix_corpus import EXTENSIONS
from tests.logs.fix_lines import Entry, render
from tests.runtime.tailing.fix_tail import Rig, append, copy_and_truncate, lines, rig

__all__ = ["rig"]


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def rotate(path: Path) -> None:
    """As logrotate does: the oldest first."""
    for older, newer in ((".2", ".3"), (".1", ".2"), ("", ".1")):
        if Path(f"{path}{older}").exists():
            Path(f"{path}{older}").rename(f"{path}{newer}")


@contextlib.contextmanager
def no_descriptors() -> Iterator[None]:
    """Nothing can be opened."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = os.open("/dev/null", os.O_RDONLY)
    os.close(spare)
    resource.setrlimit(resource.RLIMIT_NOFILE, (spare, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# where it begins


async def test_what_is_there_at_first_is_read_if_so_configured(rig: Rig) -> None:
    append(rig.directory / "postgresql.json", lines(1, 2))
    assert await rig.tail(start="beginning").step()
    assert rig.numbers == [1, 2]


async def test_what_is_there_at_first_is_passed_over_otherwise(rig: Rig) -> None:
    path = rig.directory / "postgresql.json"
    append(path, lines(1, 2))
    tail = rig.tail(start="end")
    await tail.step()
    append(path, lines(3))
    await tail.step()
    assert rig.numbers == [3]


async def test_a_line_half_written_when_reading_begins_at_the_end_is_read_whole(rig: Rig) -> None:
    path = rig.directory / "postgresql.json"
    append(path, lines(1, 2)[:-20])
    tail = rig.tail(start="end")
    await tail.step()
    append(path, lines(1, 2)[-20:])
    await tail.step()
    assert rig.numbers == [2]


async def test_a_long_log_without_a_newline_near_its_end_begins_exactly_there(rig: Rig) -> None:
    path = rig.directory / "postgresql.json"
    append(path, lines(1) + b"x" * 200_000)
    tail = rig.tail(start="end")
    await tail.step()
    append(path, b"\n" + lines(2))
    await tail.step()
    assert rig.numbers == [2]


async def test_a_file_that_appears_later_is_read_from_its_beginning(rig: Rig) -> None:
    tail = rig.tail(start="end")
    await tail.step()
    append(rig.directory / "postgresql.json", lines(1))
    await tail.step()
    assert rig.numbers == [1]


async def test_a_directory_that_appears_later_is_read_from_its_beginning(rig: Rig) -> None:
    tail = rig.tail("later", start="end")
    await tail.step()
    (rig.directory / "later").mkdir()
    append(rig.directory / "later" / "postgresql.json", lines(1))
    await tail.step()
    assert rig.numbers == [1]


async def test_older_files_are_read_before_newer_ones(rig: Rig) -> None:
    for name, number, age in (("a.json", 3, 10), ("b.json", 1, 30), ("c.json", 2, 20)):
        append(rig.directory / name, lines(number))
        moment = (rig.directory / name).stat().st_mtime - age
        os.utime(rig.directory / name, (moment, moment))
    await rig.tail(".").step()
    assert rig.numbers == [1, 2, 3]


# lines


async def test_a_half_line_waits_for_its_rest(rig: Rig) -> None:
    path = rig.directory / "postgresql.json"
    append(path, lines(1)[:50])
    tail = rig.tail()
    await tail.step()
    assert rig.numbers == []
    append(path, lines(1)[50:])
    await tail.step()
    assert rig.numbers == [1]


async def test_an_entry_in_stderr_format_is_complete_when_nothing_has_followed(rig: Rig) -> None:
    path = rig.directory / "postgresql.log"
    why = "Message does not contain an auth value."
    entry = Entry(severity="FATAL", message="malformed OAUTHBEARER message", detail=why)
    first, detail = render(LogFormat.STDERR, entry).splitlines(keepends=True)
    append(path, first)
    tail = rig.tail("postgresql.log")
    await tail.step()
    append(path, detail)
    await tail.step()
    assert rig.events == []
    await tail.step()
    assert [event.saying for event in rig.events] == [Saying.SASL_NO_AUTH_VALUE]


@pytest.mark.parametrize("log_format", LogFormat)
async def test_each_format_is_recognised_by_its_content(rig: Rig, log_format: LogFormat) -> None:
    append(rig.directory / "whatever", lines(1, 2, log_format=log_format))
    tail = rig.tail("whatever")
    await tail.step()
    await tail.step()
    assert rig.numbers == [1, 2]


async def test_a_log_under_another_prefix_is_read_and_its_failures_counted(rig: Rig) -> None:
    append(rig.directory / "postgresql.log", lines(1, 2, log_format=LogFormat.STDERR))
    tail = rig.tail("postgresql.log", log_line_prefix="%p %m ")
    await tail.step()
    assert rig.count("log_parse_failures_total", format="stderr") == 2
    assert tail.caught_up


async def test_lines_that_are_damaged_are_counted(rig: Rig) -> None:
    append(rig.directory / "postgresql.json", lines(1) + lines(9)[:-9] + b"\n" + lines(2))
    await rig.tail().step()
    assert rig.numbers == [1, 2]
    assert rig.count("log_parse_failures_total", format="jsonlog") == 1


async def test_a_line_of_ten_megabytes_is_skipped_and_counted(rig: Rig) -> None:
    path = rig.directory / "postgresql.json"
    append(path, lines(1) + b'{"timestamp":"' + b"x" * 10_000_000 + b'"}\n' + lines(2))
    await rig.tail().step()
    assert rig.numbers == [1, 2]
    assert rig.count("log_overlong_lines_total") == 1


def test_a_prefix_that_cannot_be_used_is_refused(rig: Rig) -> None:
    with pytest.raises(LogFormatError, match="neither %c nor %p"):
        rig.tail(log_line_prefix="%m ")


# rotation


async def test_a_renamed_file_is_read_to_its_end_and_the_new_one_after_it(rig: Rig) -> None:
    path = rig.directory / "postgresql.json"
    append(path, lines(1))
    tail = rig.tail()
    await tail.step()
    append(path, lines(2))
    path.rename(rig.directory / "postgresql.json.1")
    append(path, lines(3))
    await tail.step()
    assert rig.numbers == [1, 2, 3]
    assert rig.count("log_rotations_total") == 1
    assert rig.count("log_lost_lines_total") == 0


async def test_a_writer_that_keeps_the_renamed_file_open_is_heard(rig: Rig) -> None:
    path = rig.directory / "postgresql.json"
    append(path, lines(1))
    tail = rig.tail()
    await tail.step()
    path.rename(rig.directory / "postgresql.json.1")
    append(path, lines(10))
    await tail.step()
    append(rig.directory / "postgresql.json.1", lines(2))
    await tail.step()
    rig.clock.advance(DRAIN_SECONDS - 1)
    append(rig.directory / "postgresql.json.1", lines(3))
    await tail.step()
    assert rig.numbers == [1, 10, 2, 3]


async def test_a_renamed_file_is_let_go_when_it_has_long_been_idle(rig: Rig) -> None:
    path = rig.directory / "postgresql.json"
    append(path, lines(1))
    tail = rig.tail()
    await tail.step()
    path.rename(rig.directory / "postgresql.json.1")
    append(path, lines(2))
    await tail.step()
    await tail.step()
    assert len(tail.positions()) == 2
    rig.clock.advance(DRAIN_SECONDS)
    await tail.step()
    assert [position.path for position in tail.positions()] == [str(path)]


async def test_a_last_line_without_newline_of_a_renamed_file_is_read_when_it_is_let_go(rig: Rig) -> None:
    path = rig.directory / "postgresql.json"
    append(path, lines(1).rstrip(b"\n"))
    tail = rig.tail()
    await tail.step()
    path.rename(rig.directory / "postgresql.json.1")
    await tail.step()
    assert rig.numbers == []
    rig.clock.advance(DRAIN_SECONDS)
    await tail.step()
    assert rig.numbers == [1]


async def test_files_rotated_twice_between_two_looks_are_all_read(rig: Rig) -> None:
    path = rig.directory / "postgresql.json"
    append(path, lines(1))
    tail = rig.tail()
    await tail.step()
    append(path, lines(2))
    path.rename(rig.directory / "postgresql.json.2")
    append(path, lines(3))
    path.rename(rig.directory / "postgresql.json.1")
    append(path, lines(4))
    await tail.step()
    assert rig.numbers == [1, 2, 3, 4]


async def test_rotated_files_of_before_are_not_taken_for_new_ones(rig: Rig) -> None:
    path = rig.directory / "postgresql.json"
    append(rig.directory / "postgresql.json.1", lines(99))
    os.utime(rig.directory / "postgresql.json.1", (1, 1))
    append(path, lines(1))
    tail = rig.tail()
    await tail.step()
    (rig.directory / "postgresql.json.1").rename(rig.directory / "postgresql.json.2")
    path.rename(rig.directory / "postgresql.json.1")
    append(path, lines(2))
    await tail.step()
    assert rig.numbers == [1, 2]


async def test_files_rotated_in_one_tick_of_the_clock_are_all_read(rig: Rig) -> None:
    path = rig.directory / "postgresql.json"
    append(path, lines(1))
    tail = rig.tail()
    await tail.step()
    time = path.stat().st_mtime
    for number in (2, 3, 4):
        rotate(path)
        append(path, lines(number))
        os.utime(path, (time, time))
    await tail.step()
    assert rig.numbers == [1, 2, 3, 4]


async def test_rotated_files_of_before_are_not_read_again_after_the_clock_was_set_back(rig: Rig) -> None:
    path = rig.directory / "postgresql.json"
    append(rig.directory / "postgresql.json.1", lines(99))
    os.utime(rig.directory / "postgresql.json.1", (2e9, 2e9))
    append(path, lines(1))
    tail = rig.tail()
    await tail.step()
    (rig.directory / "postgresql.json.1").rename(rig.directory / "postgresql.json.2")
    path.rename(rig.directory / "postgresql.json.1")
    append(path, lines(2))
    await tail.step()
    assert rig.numbers == [1, 2]


async def test_new_files_of_a_name_pattern_are_followed(rig: Rig) -> None:
    tail = rig.tail(".")
    for number in range(1, 6):
        append(rig.directory / f"postgresql-2026-11-2{number}.json", lines(number))
        await tail.step()
    assert rig.numbers == [1, 2, 3, 4, 5]
    assert rig.count("log_rotations_total") == 4


async def test_a_glob_follows_what_matches_and_nothing_else(rig: Rig) -> None:
    tail = rig.tail("postgresql-*.json")
    await tail.step()
    append(rig.directory / "postgresql-a.json", lines(1))
    append(rig.directory / "other.json", lines(2))
    append(rig.directory / "postgresql-b.json.gz", lines(3))
    await tail.step()
    assert rig.numbers == [1]


async def test_a_file_renamed_to_another_name_that_is_followed_is_not_read_again(rig: Rig) -> None:
    path = rig.directory / "postgresql.json"
    append(path, lines(1))
    tail = rig.tail("postgresql.json*")
    await tail.step()
    append(path, lines(2))
    path.rename(rig.directory / "postgresql.json.1")
    append(path, lines(3))
    await tail.step()
    rig.clock.advance(10 * DRAIN_SECONDS)
    await tail.step()
    await tail.step()
    assert rig.numbers == [1, 2, 3]


async def test_a_link_that_is_pointed_elsewhere_is_a_rotation(rig: Rig) -> None:
    link = rig.directory / "current.json"
    append(rig.directory / "a", lines(1))
    append(rig.directory / "b", lines(3))
    link.symlink_to("a")
    tail = rig.tail("current.json")
    await tail.step()
    append(rig.directory / "a", lines(2))
    link.unlink()
    link.symlink_to("b")
    await tail.step()
    assert rig.numbers == [1, 2, 3]


async def test_a_file_under_two_names_is_read_once(rig: Rig) -> None:
    append(rig.directory / "a.json", lines(1))
    (rig.directory / "b.json").symlink_to("a.json")
    (rig.directory / "c.json").hardlink_to(rig.directory / "a.json")
    tail = rig.tail(".", "a.json", "*.json")
    await tail.step()
    await tail.step()
    assert rig.numbers == [1]


# deletion


async def test_a_file_deleted_before_it_was_drained_is_read_to_its_end(rig: Rig) -> None:
    path = rig.directory / "postgresql.json"
    append(path, lines(1))
    tail = rig.tail()
    await tail.step()
    append(path, lines(2))
    path.unlink()
    await tail.step()
    assert rig.numbers == [1, 2]


async def test_a_file_deleted_and_made_again_at_once_is_two_files(rig: Rig) -> None:
    path = rig.directory / "postgresql.json"
    append(path, lines(1))
    tail = rig.tail()
    await tail.step()
    append(path, lines(2))
    path.unlink()
    append(path, lines(3))
    await tail.step()
    assert rig.numbers == [1, 2, 3]
    assert rig.count("log_truncations_total") == 0


async def test_two_files_that_begin_alike_are_two_files(rig: Rig) -> None:
    same = lines(*range(100, 110))
    path = rig.directory / "postgresql.json"
    append(path, same)
    tail = rig.tail()
    await tail.step()
    path.rename(rig.directory / "postgresql.json.1")
    append(path, same + lines(1))
    await tail.step()
    assert rig.numbers == [*range(100, 110), *range(100, 110), 1]


# truncation


async def test_a_truncated_file_is_read_from_its_beginning(rig: Rig) -> None:
    path = rig.directory / "postgresql.json"
    append(path, lines(1, 2, 3))
    tail = rig.tail()
    await tail.step()
    os.truncate(path, 0)
    append(path, lines(4))
    await tail.step()
    assert rig.numbers == [1, 2, 3, 4]
    assert (rig.count("log_truncations_total"), rig.count("log_lost_lines_total")) == (1, 0)


async def test_a_truncated_file_that_has_grown_beyond_the_old_offset_is_read_from_its_beginning(rig: Rig) -> None:
    path = rig.directory / "postgresql.json"
    append(path, lines(1))
    tail = rig.tail()
    await tail.step()
    os.truncate(path, 0)
    append(path, lines(2, 3, 4))
    await tail.step()
    assert rig.numbers == [1, 2, 3, 4]
    assert rig.count("log_truncations_total") == 1


async def test_a_truncated_file_of_the_same_size_is_read_from_its_beginning(rig: Rig) -> None:
    path = rig.directory / "postgresql.json"
    append(path, lines(1))
    tail = rig.tail()
    await tail.step()
    os.truncate(path, 0)
    append(path, lines(2))
    os.utime(path, (path.stat().st_mtime + 1, path.stat().st_mtime + 1))
    await tail.step()
    assert rig.numbers == [1, 2]


async def test_what_was_unread_of_a_truncated_file_is_counted_as_lost(rig: Rig) -> None:
    path = rig.directory / "postgresql.json"
    append(path, lines(1) + lines(2)[:50])
    tail = rig.tail()
    await tail.step()
    os.truncate(path, 0)
    append(path, lines(3))
    await tail.step()
    assert rig.numbers == [1, 3]
    assert rig.count("log_lost_lines_total") == 1
    assert "log_lines_lost" in rig.log_output.getvalue()


@pytest.mark.parametrize("logs", ["postgresql.json", "postgresql.json*", "."])
async def test_what_copytruncate_copied_and_was_unread_is_read_from_the_copy(rig: Rig, logs: str) -> None:
    path = rig.directory / "postgresql.json"
    append(path, lines(1, 2, 3))
    tail = rig.tail(logs)
    await tail.step()
    append(path, lines(4))
    copy_and_truncate(path, rig.directory / "postgresql.json.1")
    append(path, lines(5))
    await tail.step()
    await tail.step()
    assert rig.numbers == [1, 2, 3, 4, 5]
    assert (rig.count("log_truncations_total"), rig.count("log_lost_lines_total")) == (1, 0)


async def test_a_copy_in_the_making_is_not_read_as_a_new_log(rig: Rig) -> None:
    path = rig.directory / "postgresql.json"
    append(path, lines(1, 2, 3))
    tail = rig.tail("postgresql.json*")
    await tail.step()
    append(rig.directory / "postgresql.json.1", path.read_bytes()[:-100])
    await tail.step()
    append(rig.directory / "postgresql.json.1", path.read_bytes()[-100:])
    await tail.step()
    os.truncate(path, 0)
    append(path, lines(4))
    await tail.step()
    assert rig.numbers == [1, 2, 3, 4]


# several formats


async def test_a_directory_with_three_formats_is_counted_once(rig: Rig) -> None:
    tail = rig.tail(".")
    for number in (1, 2):
        for log_format, extension in EXTENSIONS.items():
            append(rig.directory / f"postgresql.{extension}", lines(number, log_format=log_format))
        await tail.step()
    await tail.step()
    assert rig.numbers == [1, 2]
    read = [position.log_format for position in tail.positions() if not position.outranked]
    assert read == [LogFormat.JSONLOG]


async def test_files_of_one_base_name_that_appear_one_after_the_other_are_counted_once(rig: Rig) -> None:
    tail = rig.tail(".")
    await tail.step()
    append(rig.directory / "postgresql.log", lines(1, log_format=LogFormat.STDERR))
    await tail.step()
    append(rig.directory / "postgresql.json", lines(1))
    await tail.step()
    await tail.step()
    assert rig.numbers == [1]


async def test_a_server_that_is_told_to_write_jsonlog_is_followed_there(rig: Rig) -> None:
    tail = rig.tail(".")
    append(rig.directory / "postgresql.log", lines(1, log_format=LogFormat.STDERR))
    await tail.step()
    append(rig.directory / "postgresql.log", lines(2, log_format=LogFormat.STDERR))
    append(rig.directory / "postgresql.json", lines(3))
    await tail.step()
    await tail.step()
    append(rig.directory / "postgresql.log", lines(4, log_format=LogFormat.STDERR))
    append(rig.directory / "postgresql.json", lines(4))
    await tail.step()
    await tail.step()
    assert sorted(number or 0 for number in rig.numbers) == [1, 2, 3, 4]


# many files, errors


async def test_of_many_files_only_some_are_kept_open_and_none_is_forgotten(rig: Rig) -> None:
    count = 5 * OPEN_FILES
    for number in range(count):
        append(rig.directory / f"postgresql-{number:03}.json", lines(number + 1))
    before = open_descriptors()
    tail = rig.tail(".")
    await tail.step()
    await tail.step()
    assert open_descriptors() - before <= OPEN_FILES
    append(rig.directory / "postgresql-000.json", lines(1000))
    await tail.step()
    assert sorted(number or 0 for number in rig.numbers) == [*range(1, count + 1), 1000]
    assert len(tail.positions()) == count


async def test_a_file_that_was_closed_and_is_another_now_is_read_from_its_beginning(rig: Rig) -> None:
    for number in range(2 * OPEN_FILES):
        append(rig.directory / f"postgresql-{number:03}.json", lines(number + 1))
    tail = rig.tail(".")
    await tail.step()
    await tail.step()
    (rig.directory / "postgresql-000.json").unlink()
    append(rig.directory / "postgresql-000.json", lines(1000))
    await tail.step()
    await tail.step()
    assert rig.numbers[2 * OPEN_FILES :] == [1000]


async def test_a_path_that_cannot_be_followed_is_counted_and_tried_again(rig: Rig) -> None:
    path = rig.directory / "postgresql.json"
    path.symlink_to(path)
    tail = rig.tail()
    await tail.step()
    await tail.step()
    assert rig.count("log_errors_total") == 2
    assert not tail.caught_up
    assert rig.log_output.getvalue().count("log_unreadable") == 1
    path.unlink()
    append(path, lines(1))
    await tail.step()
    assert rig.numbers == [1]
    assert tail.caught_up


async def test_a_new_file_that_cannot_be_read_is_told_once_while_the_old_one_drains(rig: Rig) -> None:
    path = rig.directory / "postgresql.json"
    append(path, lines(1))
    tail = rig.tail()
    await tail.step()
    path.rename(rig.directory / "postgresql.json.1")
    path.symlink_to(path)
    for _ in range(3):
        append(rig.directory / "postgresql.json.1", lines(2))
        await tail.step()
    assert rig.log_output.getvalue().count("log_unreadable") == 1


async def test_without_descriptors_it_waits_for_some_and_begins_where_it_would_have(rig: Rig) -> None:
    path = rig.directory / "postgresql.json"
    append(path, lines(1))
    tail = rig.tail(start="end")
    with no_descriptors():
        await tail.step()
    assert (rig.count("log_errors_total"), tail.caught_up) == (1, False)
    append(path, lines(2))
    await tail.step()
    assert rig.numbers == [2]


async def test_files_whose_directory_is_away_for_a_while_are_not_forgotten(rig: Rig) -> None:
    count = 2 * OPEN_FILES
    for number in range(count):
        append(rig.directory / f"postgresql-{number:03}.json", lines(number + 1))
    tail = rig.tail(".")
    await tail.step()
    away = rig.directory.with_name("away")
    rig.directory.rename(away)
    await tail.step()
    rig.clock.advance(2 * DRAIN_SECONDS)
    await tail.step()
    away.rename(rig.directory)
    append(rig.directory / "postgresql-000.json", lines(1000))
    await tail.step()
    assert rig.numbers == [*range(1, count + 1), 1000]


async def test_a_directory_that_cannot_be_listed_for_a_while_is_not_taken_for_empty(rig: Rig) -> None:
    count = 2 * OPEN_FILES
    for number in range(count):
        append(rig.directory / f"postgresql-{number:03}.json", lines(number + 1))
    tail = rig.tail(".")
    await tail.step()
    with no_descriptors():
        await tail.step()
        rig.clock.advance(2 * DRAIN_SECONDS)
        await tail.step()
    assert rig.count("log_errors_total") > 0
    append(rig.directory / "postgresql-000.json", lines(1000))
    await tail.step()
    assert rig.numbers == [*range(1, count + 1), 1000]


async def test_what_is_no_regular_file_is_not_opened(rig: Rig) -> None:
    os.mkfifo(rig.directory / "postgresql.json")
    tail = rig.tail(".")
    assert not await tail.step()
    assert tail.positions() == ()


# what it tells


async def test_lag_and_bytes_read_are_told(rig: Rig) -> None:
    path = rig.directory / "postgresql.json"
    append(path, lines(1, 2))
    tail = rig.tail()
    assert not tail.caught_up
    await tail.step()
    assert tail.caught_up
    assert tail.lag_bytes == rig.count("log_lag_bytes") == 0
    assert rig.count("log_read_bytes_total") == path.stat().st_size


async def test_positions_fit_the_events_at_every_await(rig: Rig) -> None:
    """A save may happen whenever the loop is free: what was handed on must never be read again."""
    path = rig.directory / "postgresql.json"
    line = lines(1)
    append(path, line * 5000)
    tail = rig.tail()

    class Watcher:
        def on_events(self, _cluster: str, events: list[object]) -> None:
            seen.append(len(events))

    seen: list[int] = []
    rig.on_events = Watcher().on_events  # type: ignore[method-assign, assignment]
    step = tail.step()
    offsets = []
    try:
        while True:
            step.send(None)
            offsets.append((tail.positions()[0].offset, sum(seen)))
    except StopIteration:
        pass
    assert len(offsets) > 3
    assert all(offset == count * len(line) for offset, count in offsets)


async def test_the_event_loop_gets_its_turn_between_chunks(rig: Rig) -> None:
    append(rig.directory / "postgresql.json", lines(1) * 5000)
    step = rig.tail().step()
    turns = 0
    try:
        while True:
            step.send(None)
            turns += 1
    except StopIteration:
        pass
    assert turns == -(-len(lines(1)) * 5000 // READ_BYTES)


async def test_a_tail_that_is_closed_still_knows_its_positions(rig: Rig) -> None:
    append(rig.directory / "postgresql.json", lines(1))
    tail = rig.tail()
    await tail.step()
    tail.close()
    assert tail.positions()[0].offset == len(lines(1))


async def test_events_of_the_server_itself_come_through(rig: Rig) -> None:
    entry = Entry(message="database system is shut down", role=None, database=None, backend_type="postmaster")
    append(rig.directory / "postgresql.json", render(LogFormat.JSONLOG, entry))
    await rig.tail().step()
    assert [event.kind for event in rig.events] == [EventKind.SERVER_STOPPED]


@pytest.mark.parametrize("named", ["nowhere/postgresql.json", "nowhere", "*.nothing", "typo.json"])
async def test_a_log_that_is_not_there_is_told_once_counted_and_taken_up_later(rig: Rig, named: str) -> None:
    tail = rig.tail(named)
    await tail.step()
    await tail.step()
    assert rig.count("log_errors_total") == 2
    assert rig.log_output.getvalue().count("log_missing") == 1
    assert "clusters.logs" in rig.log_output.getvalue()
    path = rig.directory / ("nowhere/postgresql.json" if named == "nowhere" else named.replace("*", "x"))
    path.parent.mkdir(exist_ok=True)
    append(path, lines(1))
    await tail.step()
    await tail.step()
    assert rig.numbers == [1]
    assert rig.count("log_errors_total") == 2
    assert rig.log_output.getvalue().count("log_found") == 1


async def test_lines_that_do_not_fit_the_prefix_are_told_once_with_the_remedy(rig: Rig) -> None:
    path = rig.directory / "postgresql.log"
    tail = rig.tail("postgresql.log", log_line_prefix="<%c> %m %p ")
    append(path, lines(1, 2, 3, log_format=LogFormat.STDERR))
    await tail.step()
    append(path, lines(4, log_format=LogFormat.STDERR))
    await tail.step()
    await tail.step()
    assert rig.count("log_parse_failures_total", format="stderr") == 4
    assert rig.log_output.getvalue().count("log_not_understood") == 1
    assert "SHOW log_line_prefix" in rig.log_output.getvalue()
