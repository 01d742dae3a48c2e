"""Faults 1 to 5, 11, 12 and 23: the log's file is renamed, deleted, made again, or is another one."""

from __future__ import annotations

import os
from collections.abc import Iterable

import pytest

from tests.faults.fix_rig import SOON, Rig, append, rig, rotate
from tests.logs.fix_lines import Entry, json_line

__all__ = ["rig"]


def banner(count: int = 10) -> bytes:
    """Lines that concern no login, more than a fingerprint has."""
    return b"".join(json_line(Entry(message=f"checkpoint complete: {number}")) for number in range(count))


async def test_fault_01_a_writer_that_keeps_the_renamed_file_open_is_heard(rig: Rig) -> None:
    rig.write()
    async with rig.daemon():
        await rig.counted()
        with rig.path.open("ab", buffering=0) as held:
            rotate(rig.path)
            await rig.one_more()
            held.write(rig.lines())
            await rig.counted()
            held.write(rig.lines())
        await rig.one_more()
    rig.judge()
    assert rig.count("log_rotations") == 1


@pytest.mark.parametrize("tick", ["of their own", "the same"])
async def test_fault_02_files_rotated_twice_between_two_looks_are_all_read(rig: Rig, tick: str) -> None:
    """File systems count time in ticks, and in one there is time for all of this."""
    rig.write()
    async with rig.daemon():
        await rig.counted()
        if tick == "of their own":  # from here on the daemon has no turn
            rotate_twice(rig, ticks=range(1, 4))
        await rig.one_more()
    if tick == "the same":
        rotate_twice(rig, ticks=(0, 0, 0))
    async with rig.daemon():
        rig.write()
        await rig.counted(seconds=SOON)
    rig.judge()
    assert rig.count("log_rotations") == 2


def rotate_twice(rig: Rig, ticks: Iterable[int]) -> None:
    """Each file was last written so many ticks after what the daemon has seen last."""
    seen = rig.path.stat().st_mtime_ns
    for tick, ending in zip(ticks, (".2", ".1", ""), strict=True):
        if ending != ".2" or tick:
            rig.write()
        os.utime(rig.path, ns=(seen, seen + tick * 10_000_000))
        if ending:
            rotate(rig.path, ending)


async def test_fault_03_a_file_rotated_while_stopped_is_read_to_its_end(rig: Rig) -> None:
    rig.write()
    async with rig.daemon():
        await rig.counted()
    rig.write()
    rotate(rig.path)
    rig.write()
    rig.configure(start="end")  # which is for logs never seen before
    async with rig.daemon():
        await rig.one_more()
    rig.judge()


async def test_fault_04_a_rotated_file_deleted_before_it_was_drained_is_read_to_its_end(rig: Rig) -> None:
    rig.write()
    async with rig.daemon():
        await rig.counted()
        rig.write(50)  # from here on the daemon has no turn
        rotated = rotate(rig.path)
        rig.write(50, rotated)
        rotated.unlink()
        rig.write()
        await rig.counted()
        await rig.one_more()
    rig.judge()


async def test_fault_05_a_file_deleted_while_stopped_is_counted_as_lost(rig: Rig) -> None:
    rig.write()
    async with rig.daemon():
        await rig.counted()
    gone = rig.write()
    with rig.path.open("rb"):  # so that the new log has another inode
        rig.path.unlink()
        rig.write()
    async with rig.daemon():
        await rig.one_more(lost=[gone])
    rig.judge(lost=[gone], log_lost_lines=1)
    assert len(rig.said_of("log_lines_lost")) == 1


async def test_fault_11_a_file_deleted_and_made_again_at_once_is_two_files(rig: Rig) -> None:
    rig.write()
    async with rig.daemon():
        await rig.counted()
        for _ in range(3):
            rig.write()  # from here on the daemon has no turn
            rig.path.unlink()
            rig.write()
            await rig.counted()
        await rig.one_more()
    rig.judge()


async def test_fault_12_files_with_the_same_first_lines_are_different_files(rig: Rig) -> None:
    other = rig.log / "postgresql-2.json"
    rig.configure(rig.log)
    for path in (rig.path, other):
        append(path, banner())
        rig.write(path=path)
    async with rig.daemon():
        await rig.counted()
        rotate(rig.path)
        append(rig.path, banner())
        rig.write()
        rig.write(path=other)
        await rig.counted()
    rotate(rig.path, ".2")
    append(rig.path, banner())
    rig.write()
    async with rig.daemon():
        await rig.one_more(other)
        await rig.one_more()
    rig.judge()


async def test_fault_23_a_link_that_leads_elsewhere_is_a_rotation(rig: Rig) -> None:
    link = rig.log / "current.json"
    first, second = rig.log / "a", rig.log / "b"
    rig.configure(link)
    rig.write(path=first)
    rig.write(path=second)
    link.symlink_to(first)
    async with rig.daemon():
        await rig.counted(lost=[2])
        rig.write(path=first)
        (rig.log / "new").symlink_to(second)
        (rig.log / "new").rename(link)
        await rig.counted()
        append(link, rig.lines())
        await rig.counted()
    rig.judge()
    assert rig.count("log_rotations") == 1
