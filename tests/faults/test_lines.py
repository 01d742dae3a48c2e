"""Faults 13, 19, 24 to 30, 37 and 38: what is in the log is torn, strange, too long or in another format."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from pgoauthd.logs.readers import LogFormat
from tests.faults.fix_process import may_mount, small_disk
from tests.faults.fix_rig import SOON, Rig, append, entries_of, lines_of, rig, rotate
from tests.logs.fix_corpus import EXTENSIONS
from tests.logs.fix_lines import Entry, json_line, render

__all__ = ["rig"]

FILES = (LogFormat.STDERR, LogFormat.CSVLOG, LogFormat.JSONLOG)
"""What PostgreSQL itself writes."""
PAGE = 4096


def use_format(rig: Rig, log_format: LogFormat) -> None:
    rig.path = rig.log / f"postgresql.{EXTENSIONS[log_format]}"


@pytest.mark.parametrize("log_format", FILES)
async def test_fault_13_a_half_line_waits_for_its_rest(rig: Rig, log_format: LogFormat) -> None:
    use_format(rig, log_format)
    line = rig.lines(1, log_format)
    append(rig.path, line[:-30])
    async with rig.daemon():
        await rig.seen()
        append(rig.path, line[-30:])
        await rig.counted()
    rig.judge()


def tear(path: Path, line: bytes, at: int, disk: Path | None) -> None:
    """Log a line of which only the first bytes have room, as the disk is full; then there is room again.

    What a full disk leaves of it is the same as what can be written by hand, where no disk can be had to be filled.
    """
    if disk is None:
        append(path, line[:at])
        return
    append(path, b"\n" * (-(path.stat().st_size + at) % PAGE))
    with (disk / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
        while ballast.write(bytes(PAGE)):
            pass
    with path.open("ab", buffering=0) as log:
        assert log.write(line) == at
        with pytest.raises(OSError, match="No space"):
            log.write(line[at:])
    (disk / "ballast").unlink()


@pytest.mark.parametrize("log_format", FILES)
async def test_fault_19_a_line_torn_by_a_full_disk_is_counted_as_unreadable(rig: Rig, log_format: LogFormat) -> None:
    """The line that follows is glued to it. Whole or not, a tear leaves a trace."""
    disk = rig.directory / "disk"
    with small_disk(disk, "1m") if may_mount() else contextlib.nullcontext(None) as mounted:
        rig.path = (mounted or rig.log) / f"postgresql.{EXTENSIONS[log_format]}"
        torn: list[int] = []
        append(rig.path, rig.lines(1, log_format))
        for at in (1, 10, 30, 50, 70, 90):
            (number,) = rig.begin()
            first, second = (render(log_format, entry) for entry in entries_of(number))
            tear(rig.path, first, at, mounted)
            append(rig.path, second + rig.lines(1, log_format))
            torn.append(number)
        async with rig.daemon():
            await rig.counted(lost=torn)
        assert rig.count("log_parse_failures") == len(torn)


async def test_fault_24_a_line_split_inside_a_character_is_read_whole(rig: Rig) -> None:
    line = rig.lines(1, role="zoë")
    middle = line.index("ë".encode()) + 1
    append(rig.path, line[:middle])
    async with rig.daemon():
        await rig.seen()
        append(rig.path, line[middle:])
        await rig.one_more()
    rig.judge()
    assert rig.outcomes()[0]["role"] == "zoë"


STRANGE = (b"\xff\xfe\xc3", b"\x00", b"\xed\xa0\x80", b"\xf4\x90\x80\x80")
"""No UTF-8, NUL, a surrogate, beyond Unicode."""


@pytest.mark.parametrize("log_format", FILES)
async def test_fault_25_what_is_no_text_is_read_or_counted_as_unreadable(rig: Rig, log_format: LogFormat) -> None:
    use_format(rig, log_format)
    for strange in STRANGE:
        append(rig.path, rig.lines(1, log_format).replace(b"alice", b"al" + strange))
        append(rig.path, strange + b"\n")
        append(rig.path, rig.lines(1, log_format))
    async with rig.daemon():
        await rig.counted(lost=[1, 3, 5, 7])
        append(rig.path, rig.lines(1, log_format))
        await rig.counted(lost=[1, 3, 5, 7])
    if log_format is LogFormat.JSONLOG:  # which has no NUL, as JSON has none
        rig.judge(lost=[3], unfinished=1, log_parse_failures=1)
    else:
        rig.judge()


async def test_fault_26_a_line_of_ten_megabytes_is_skipped_and_counted(rig: Rig) -> None:
    long = json_line(Entry(message="x" * 10_000_000))
    append(rig.path, rig.lines() + long + rig.lines())
    async with rig.daemon():
        await rig.counted()
        append(rig.path, long[:-1])
        await rig.seen()
    append(rig.path, b"\n" + rig.lines())
    async with rig.daemon():
        await rig.counted()
    rig.judge(log_overlong_lines=2)


async def test_fault_27_a_field_of_several_lines_that_a_rotation_splits_is_read_whole(rig: Rig) -> None:
    use_format(rig, LogFormat.CSVLOG)
    number = len(rig.logins) + 1
    long = Entry(message="canceling statement", severity="ERROR", statement="SELECT 1,\n'2',\n3;", pid=7)
    entry = render(LogFormat.CSVLOG, long) + rig.lines(1, LogFormat.CSVLOG)
    middle = entry.index(b"'2'")
    append(rig.path, rig.lines(1, LogFormat.CSVLOG) + entry[:middle])
    async with rig.daemon():
        await rig.counted(lost=[number])
        with rig.path.open("ab", buffering=0) as held:
            rotate(rig.path)
            append(rig.path, rig.lines(1, LogFormat.CSVLOG))
            await rig.counted(lost=[number])
            held.write(entry[middle:])
        await rig.counted()
    rig.judge()


@pytest.mark.parametrize("log_format", FILES)
async def test_fault_28_an_entry_imitated_after_a_newline_is_no_entry(rig: Rig, log_format: LogFormat) -> None:
    use_format(rig, log_format)
    imitation = lines_of(99, log_format).decode()
    hostile = Entry(message=f"oops\n{imitation}", severity="ERROR", statement=f'SELECT "\n{imitation}', pid=7)
    append(rig.path, rig.lines(1, log_format) + render(log_format, hostile) + rig.lines(1, log_format))
    async with rig.daemon():
        await rig.counted()
        append(rig.path, render(log_format, hostile) + rig.lines(1, log_format))
        await rig.counted()
    rig.judge()


async def test_fault_29_three_formats_at_once_are_counted_once(rig: Rig) -> None:
    def write() -> None:
        (number,) = rig.begin()
        for log_format in FILES:
            append(rig.log / f"postgresql.{EXTENSIONS[log_format]}", lines_of(number, log_format))

    rig.configure(rig.log)
    write()
    async with rig.daemon():
        await rig.counted()
        write()
        await rig.counted()
    write()
    async with rig.daemon():
        write()
        await rig.counted()
    rig.judge()


@pytest.mark.parametrize(
    "order",
    [pytest.param(FILES, id="richer"), pytest.param(FILES[::-1], id="poorer")],
)
async def test_fault_30_a_server_that_reloads_another_log_destination_is_followed_there(
    rig: Rig, order: tuple[LogFormat, ...]
) -> None:
    rig.configure(rig.log)
    append(rig.log / f"postgresql.{EXTENSIONS[order[0]]}", rig.lines(1, order[0]))
    async with rig.daemon():
        await rig.counted(seconds=SOON)
        for log_format in order[1:]:
            append(rig.log / f"postgresql.{EXTENSIONS[log_format]}", rig.lines(1, log_format))
            await rig.counted(seconds=SOON)
    rig.judge()


async def test_fault_37_a_reload_in_mid_line_hands_the_half_line_over(rig: Rig) -> None:
    line = rig.lines()
    append(rig.path, line[:-30])
    async with rig.daemon():
        await rig.seen()
        rig.configure(max_line_bytes=2_000_000)  # another tail
        await rig.reload()
        append(rig.path, line[-30:])
        await rig.one_more()
    rig.judge()


@pytest.mark.parametrize("log_format", FILES)
async def test_fault_38_a_server_that_crashes_and_restarts_appends_to_the_same_file(
    rig: Rig, log_format: LogFormat
) -> None:
    """The attempt that was open then is over."""
    use_format(rig, log_format)
    message = "starting PostgreSQL 18.0 on x86_64-linux, compiled by gcc, 64-bit"
    starting = Entry(message=message, role=None, database=None, backend_type="postmaster", port=None, pid=1)
    (open_at_crash,) = rig.begin()
    append(rig.path, render(log_format, entries_of(open_at_crash)[0]))
    async with rig.daemon():
        await rig.seen()
        append(rig.path, render(log_format, starting) + rig.lines(1, log_format))
        await rig.counted()
    rig.judge()
    assert [outcome["result"] for outcome in rig.outcomes()] == ["abandoned", "refused"]
