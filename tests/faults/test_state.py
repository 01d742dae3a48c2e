"""Faults 14 to 18 and 34: the daemon is killed, or its state cannot be read or written."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.faults.fix_process import KILL, FaultyDaemon, small_disk
from tests.faults.fix_rig import Rig, append, rig
from tests.fix_daemon import until

__all__ = ["rig"]


@contextlib.contextmanager
def writer_elsewhere(path: Path) -> Iterator[None]:
    """Another process has the write lock of the database, so that nothing can be saved."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


def emptied(state: Path) -> None:
    os.truncate(state, 0)


def noise(state: Path) -> None:
    state.write_bytes(os.urandom(state.stat().st_size))


def cut(state: Path) -> None:
    os.truncate(state, state.stat().st_size // 2)


def overwritten(state: Path) -> None:
    """The file begins as it should."""
    with state.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(state.stat().st_size - 4096))


DAMAGES = (emptied, noise, cut, overwritten)

Full = Callable[[Rig], AbstractContextManager[None]]


@contextlib.contextmanager
def full_disk(rig: Rig) -> Iterator[None]:
    """Nothing more fits on the disk of the state."""
    ballast = rig.state_path.with_name("ballast")
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    yield
    ballast.unlink()


@contextlib.contextmanager
def full_quota(rig: Rig) -> Iterator[None]:
    """No file of this process may become longer than the one that the state is written to first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (Path(f"{rig.state_path}-wal").stat().st_size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_fault_14_a_half_line_that_was_buffered_at_a_kill_is_read_again_whole(rig: Rig) -> None:
    rig.write()
    half, rest = (line := rig.lines())[:-30], line[-30:]
    append(rig.path, half)
    daemon = FaultyDaemon(rig)
    await daemon.start()
    await rig.seen()
    await daemon.kill()
    append(rig.path, rest)
    async with daemon:
        await rig.one_more()
    rig.judge()


async def test_fault_15_what_was_counted_and_not_saved_at_a_kill_is_counted_once(rig: Rig) -> None:
    async def has_read() -> bool:
        return "pgoauthd_log_lag_bytes" in await daemon.exposition() and not await daemon.samples(
            "pgoauthd_log_lag_bytes"
        )

    rig.write(10)
    daemon = FaultyDaemon(rig)
    await daemon.start()
    await rig.counted()
    with writer_elsewhere(rig.state_path):
        rig.write(100)
        await until(has_read, "all is read")
        told = await daemon.samples("pgoauthd_login_attempts_total")
        await daemon.kill()
    assert sum(told.values()) == rig.count("login_attempts") == len(rig.outcomes()) == 10
    async with daemon:
        await rig.one_more()
    rig.judge()


async def test_fault_16_a_save_that_a_kill_breaks_off_is_as_if_it_had_not_begun(rig: Rig) -> None:
    rig.write()
    daemon = FaultyDaemon(rig)
    await daemon.start()
    await rig.counted()
    daemon.fail("write", KILL, f"{rig.state_path.name}-wal", nth=75)
    rig.write(200)
    await daemon.dies()
    assert rig.count("login_attempts") == len(rig.outcomes()) < len(rig.logins)
    daemon.succeed("write")
    await daemon.start()
    await rig.one_more()
    await daemon.stop()
    rig.judge()


@pytest.mark.parametrize("damage", DAMAGES)
async def test_fault_17_a_state_that_cannot_be_used_is_kept_aside_and_the_logs_are_read_anew(
    rig: Rig, damage: Callable[[Path], None]
) -> None:
    rig.write(3)
    async with rig.daemon():
        await rig.counted()
    damage(rig.state_path)
    rig.outcomes_path.unlink()
    rig.write()
    async with rig.daemon():
        await rig.one_more()
    rig.judge()
    (said,) = rig.said_of("state_kept_aside")
    assert "state.db.damaged-" in said["path"]


@pytest.mark.parametrize("full", [full_disk, full_quota])
async def test_fault_18_what_a_full_disk_keeps_from_being_saved_is_told_and_saved_later(rig: Rig, full: Full) -> None:
    async def has_failed() -> bool:
        return bool(rig.metrics.registry.get_sample_value("pgoauthd_state_save_failures_total"))

    async def has_told() -> bool:
        return len(rig.told()) == len(rig.logins)

    with contextlib.ExitStack() as stack:
        if full is full_disk:
            rig.state_path = stack.enter_context(small_disk(rig.directory / "disk", "16m")) / "state.db"
        rig.write(5)
        async with rig.daemon():
            await rig.counted()
            with full(rig):
                rig.write(20)
                await until(has_failed, "a save fails")
                await until(has_told, "what is not saved is told")
                assert len(rig.outcomes()) == 5
            await rig.one_more()
        rig.judge()


async def test_fault_34_a_second_daemon_on_the_same_state_stops_and_the_first_goes_on(rig: Rig) -> None:
    rig.write()
    async with rig.daemon():
        await rig.counted()
        second = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "pgoauthd", "run", "--config", rig.config_path, stderr=asyncio.subprocess.PIPE
        )
        _, said = await asyncio.wait_for(second.communicate(), 20)
        assert second.returncode == 1
        assert b"another pgoauthd uses this state" in said
        await rig.one_more()
    rig.judge()
