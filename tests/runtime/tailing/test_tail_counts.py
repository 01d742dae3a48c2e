"""What is counted fits the positions at every moment, so a daemon that is killed counts nothing twice or never."""

from __future__ import annotations

import random
from collections.abc import Iterator

import msgspec
import pytest

from pgoauthd.logs.readers import LogFormat
from tests.logs.fix_lines import Entry, render
from tests.runtime.tailing.fix_tail import Rig, append, lines, rig

__all__ = ["rig"]

START = 0x6B02415C
MAX_LINE_BYTES = 4096


def damaged(log_format: LogFormat) -> bytes:
    """Sound lines, lines of ours that are cut short, and lines that are too long."""
    cut = lines(9, log_format=log_format)[:-60] + b'"\n'
    if log_format is LogFormat.STDERR:
        cut = b"what is this? LOG:  connection received: host=x port=1\n"
    return b"".join(
        lines(number, log_format=log_format)
        + (cut if number % 3 == 0 else b"")
        + (b"x" * 150_000 + b"\n") * (number == 7)
        for number in range(1, 12)
    )


def parts(data: bytes) -> Iterator[bytes]:
    """Of a line, or much of a long one."""
    while data:
        size = 60_000 if data.startswith(b"xxxx") else 700
        yield data[:size]
        data = data[size:]


async def read_all(rig: Rig, log_format: LogFormat, *, dies: random.Random | None) -> tuple[float, ...]:
    """Counts when a log has been written bit by bit; `dies`: the daemon is killed now and then, its state saved."""
    data = damaged(log_format)
    path = rig.directory / f"log{len(rig.tails)}"
    tail = rig.tail(path.name, max_line_bytes=MAX_LINE_BYTES)
    before = counts(rig, log_format)
    for part in parts(data):
        append(path, part)
        await tail.step()
        if dies is not None and dies.random() < 0.6:
            tail.close()
            tail = rig.tail(path.name, saved=tail.positions(), max_line_bytes=MAX_LINE_BYTES)
    await tail.step()
    path.rename(path.with_suffix(".1"))
    for _ in range(3):
        rig.clock.advance(60)
        await tail.step()
    return tuple(now - then for now, then in zip(counts(rig, log_format), before, strict=True))


def counts(rig: Rig, log_format: LogFormat) -> tuple[float, ...]:
    failures = rig.count("log_parse_failures_total", format=log_format.value)
    return (
        rig.count("log_read_bytes_total"),
        failures,
        rig.count("log_overlong_lines_total"),
        len(rig.numbers),
    )


@pytest.mark.parametrize("log_format", LogFormat)
async def test_a_daemon_that_is_killed_counts_what_one_that_lives_counts(rig: Rig, log_format: LogFormat) -> None:
    alive = await read_all(rig, log_format, dies=None)
    assert alive[0] == len(damaged(log_format))
    assert alive[2] == 1
    for seed in range(5):
        assert await read_all(rig, log_format, dies=random.Random(seed)) == alive  # noqa: S311 - a test's choice


@pytest.mark.parametrize("log_format", LogFormat)
async def test_bytes_are_counted_when_the_position_moves(rig: Rig, log_format: LogFormat) -> None:
    append(rig.directory / "log", lines(*range(1, 2000), log_format=log_format))
    tail = rig.tail("log")
    step = tail.step()
    checks = 0
    try:
        while True:
            step.send(None)
            checks += 1
            assert rig.count("log_read_bytes_total") == tail.positions()[0].offset
    except StopIteration:
        pass
    assert checks > 1


def session(start: int, *numbers: int) -> bytes:
    """Lines of one login with these numbers: received, authenticated, authorized."""
    messages = {
        1: "connection received: host=10.0.0.7 port=1",
        2: 'connection authenticated: identity="alice" method=oauth (/hba:6)',
        3: "connection authorized: user=alice database=app",
    }
    entries = (Entry(message=messages[number], line_num=number) for number in numbers)
    return render(LogFormat.JSONLOG, *entries).replace(b'"6b02415c.', f'"{START + start:x}.'.encode())


async def test_a_line_that_is_missing_is_counted_as_lost_and_the_file_told_once(rig: Rig) -> None:
    path = rig.directory / "postgresql.json"
    tail = rig.tail()
    append(path, session(0, 1, 2, 3) + session(90, 1, 2, 3) + session(91, 2, 3) + session(92, 1, 3))
    await tail.step()
    assert rig.count("log_lost_lines_total") == 1
    append(path, session(93, 1, 2, 3))
    await tail.step()
    assert rig.count("log_lost_lines_total") == 2
    append(path, session(94, 2, 3) + session(95, 1, 2, 3))
    await tail.step()
    assert rig.count("log_lost_lines_total") == 3
    told = [line for line in rig.log_output.getvalue().splitlines() if "log_lines_lost" in line]
    assert len(told) == 1
    assert msgspec.json.decode(told[0])["path"] == str(path)


async def test_after_a_restart_nothing_is_said_of_logins_that_were_under_way(rig: Rig) -> None:
    path = rig.directory / "postgresql.json"
    tail = rig.tail()
    append(path, session(0, 1, 2, 3) + session(90, 1, 2, 3) + session(91, 1))
    await tail.step()
    append(path, session(91, 2, 3) + session(92, 1, 2, 3))
    tail.close()
    await rig.tail(saved=tail.positions()).step()
    assert rig.count("log_lost_lines_total") == 0
