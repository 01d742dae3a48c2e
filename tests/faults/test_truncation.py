"""Faults 6 to 10: the log is shorter than what was read, or another file in its place."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec

from tests.faults.fix_rig import Rig, rig

__all__ = ["rig"]


def copy_and_truncate(path: Path, to: str = ".1") -> None:
    """What logrotate does with copytruncate."""
    shutil.copy(path, f"{path}{to}")
    os.truncate(path, 0)


async def test_fault_06_what_copytruncate_has_cut_off_unread_is_flagged(rig: Rig) -> None:
    """What is in the copy is read there; what came between copying and truncating is nowhere."""
    rig.write()
    async with rig.daemon():
        await rig.counted()
        rig.write()  # from here on the daemon has no turn
        shutil.copy(rig.path, f"{rig.path}.1")
        gone = rig.write()
        os.truncate(rig.path, 0)
        rig.write()
        await rig.one_more(lost=[gone])
    rig.judge(lost=[gone], log_truncations=1)


async def test_fault_07_a_log_truncated_and_regrown_past_the_old_offset_is_read_from_its_beginning(rig: Rig) -> None:
    rig.write()
    async with rig.daemon():
        await rig.counted()
        os.truncate(rig.path, 0)  # from here on the daemon has no turn
        rig.write(5)
        await rig.counted()
        await rig.one_more()
    rig.judge(log_truncations=1)


async def test_fault_08_a_log_truncated_to_equal_size_is_read_from_its_beginning(rig: Rig) -> None:
    rig.write()
    async with rig.daemon():
        await rig.counted()
        before = rig.path.stat()
        os.truncate(rig.path, 0)  # from here on the daemon has no turn
        rig.write()
        assert (rig.path.stat().st_ino, rig.path.stat().st_size) == (before.st_ino, before.st_size)
        await rig.counted()
        await rig.one_more()
    rig.judge(log_truncations=1)


async def test_fault_09_a_new_log_with_the_inode_of_the_old_one_is_read_from_its_beginning(rig: Rig) -> None:
    rig.write()
    async with rig.daemon():
        await rig.counted()
    gone = rig.write()
    before = rig.path.stat().st_ino
    rig.path.unlink()
    rig.write(5)
    if (now := rig.path.stat().st_ino) != before:
        name_inode(rig, now)
    async with rig.daemon():
        await rig.one_more(lost=[gone])
    rig.judge(lost=[gone], log_truncations=1)


def name_inode(rig: Rig, number: int) -> None:
    """The same, where the file system gives out another inode: the state says that the old file had this one."""
    renumbered = [msgspec.structs.replace(position, inode=number) for position in rig.positions()]
    rig.set_positions(renumbered)


async def test_fault_10_a_saved_offset_beyond_the_end_is_a_truncation(rig: Rig) -> None:
    rig.write(5)
    async with rig.daemon():
        await rig.counted()
    os.truncate(rig.path, 0)
    rig.write()
    assert rig.path.stat().st_size < rig.positions()[0].offset
    rig.configure(start="end")  # which is for logs never seen before
    async with rig.daemon():
        await rig.one_more()
    rig.judge(log_truncations=1)
