"""Several formats under one base name: each entry once, whatever log_destination is changed to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pgoauthd.logs.readers import LogFormat
from pgoauthd.runtime.tailing.outranked import ALONE_SECONDS
from pgoauthd.runtime.tailing.tail import LogTail
from tests.runtime.tailing.fix_tail import Rig, append, lines, rig

__all__ = ["rig"]


def write(rig: Rig, number: int, *extensions: str, at: float) -> None:
    """Log one line into the files with these extensions; `at` is their time, in seconds."""
    for extension in extensions:
        path = rig.directory / f"postgresql.{extension}"
        append(path, lines(number, log_format=LogFormat.JSONLOG if extension == "json" else LogFormat.STDERR))
        os.utime(path, (1e9 + at, 1e9 + at))


async def later(rig: Rig, tail: LogTail) -> None:
    """Long enough to believe that a file is written alone, and a step to flush."""
    for _ in range(4):
        await tail.step()
        rig.clock.advance(ALONE_SECONDS)


async def test_a_server_that_is_told_to_write_stderr_alone_is_followed_there(rig: Rig) -> None:
    tail = rig.tail(".")
    write(rig, 1, "log", "json", at=0)
    await later(rig, tail)
    write(rig, 2, "log", at=10)
    write(rig, 3, "log", at=11)
    await later(rig, tail)
    assert rig.numbers == [1, 2, 3]


async def test_a_server_that_writes_the_richer_format_again_is_followed_there(rig: Rig) -> None:
    tail = rig.tail(".")
    write(rig, 1, "log", "json", at=0)
    await later(rig, tail)
    write(rig, 2, "log", at=10)
    await later(rig, tail)
    write(rig, 3, "log", "json", at=20)
    await later(rig, tail)
    write(rig, 4, "log", "json", at=30)
    await later(rig, tail)
    write(rig, 5, "log", at=40)
    await later(rig, tail)
    assert rig.numbers == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("stopped", ["before the change", "after it"])
async def test_a_change_of_format_amid_a_restart_loses_and_repeats_nothing(rig: Rig, stopped: str) -> None:
    tail = rig.tail(".")
    write(rig, 1, "log", "json", at=0)
    await later(rig, tail)
    write(rig, 2, "log", "json", at=5)
    await later(rig, tail)
    if stopped == "after it":
        write(rig, 3, "log", at=10)
        await later(rig, tail)
    tail.close()
    if stopped != "after it":
        write(rig, 3, "log", at=10)
    write(rig, 4, "log", at=11)
    tail = rig.tail(".", saved=tail.positions(), start="end")
    await later(rig, tail)
    assert rig.numbers == [1, 2, 3, 4]
    assert rig.count("log_lost_lines_total") == 0


async def test_both_rotated_while_stopped_are_read_once(rig: Rig) -> None:
    tail = rig.tail(".")
    write(rig, 1, "log", "json", at=0)
    await later(rig, tail)
    tail.close()
    write(rig, 2, "log", "json", at=10)
    for extension in ("log", "json"):
        path = rig.directory / f"postgresql.{extension}"
        path.rename(Path(f"{path}.1"))
    write(rig, 3, "log", "json", at=20)
    await later(rig, rig.tail(".", saved=tail.positions()))
    assert rig.numbers == [1, 2, 3]


async def test_a_poorer_file_that_loses_its_richer_one_is_not_read_from_its_beginning(rig: Rig) -> None:
    tail = rig.tail(".")
    write(rig, 1, "log", "json", at=0)
    await later(rig, tail)
    (rig.directory / "postgresql.json").unlink()
    write(rig, 2, "log", at=10)
    await later(rig, tail)
    assert rig.numbers == [1, 2]
