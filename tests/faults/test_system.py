"""Faults 20 to 22, 31 to 33, 35 and 36: the system refuses, stops the daemon, or is not what it was."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import os
import resource
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from pgoauthd.runtime.clock import SystemClock
from tests.faults.fix_process import FaultyDaemon, small_disk
from tests.faults.fix_rig import SOON, Rig, append, entries_of, rig, rotate
from tests.fix_daemon import until
from tests.logs.fix_lines import json_line

__all__ = ["rig"]

HOUR = 3600.0
SILENCE_SLACK_SECONDS = 5.5
"""How much longer than authentication_timeout an attempt must be silent, and a little."""


@pytest.mark.parametrize("nth", [pytest.param(1, id="always"), pytest.param(2, id="now-and-then")])
async def test_fault_20_a_log_that_cannot_be_read_for_a_while_is_counted_and_read_later(rig: Rig, nth: int) -> None:
    rig.write()
    async with FaultyDaemon(rig) as daemon:
        await rig.counted()
        daemon.fail("pread", errno.EIO, str(rig.path), nth=nth)
        rig.write()
        await rig.counts("log_errors")
        daemon.succeed("pread")
        rig.write()
        await rig.counted(seconds=SOON)
    rig.judge(some=["log_errors"])


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Capabilities(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


@contextlib.contextmanager
def without_privilege() -> Iterator[None]:
    """File modes are true of root, too: this thread does without CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = _Header(0x20080522, 0), (_Capabilities * 2)()
    assert libc.capget(ctypes.byref(header), sets) == 0
    before = sets[0].effective
    sets[0].effective = before & ~0b110
    assert libc.capset(ctypes.byref(header), sets) == 0
    try:
        yield
    finally:
        sets[0].effective = before
        assert libc.capset(ctypes.byref(header), sets) == 0


async def test_fault_21_a_log_that_may_not_be_read_after_a_rotation_is_counted_and_read_later(rig: Rig) -> None:
    rig.write()
    with without_privilege():
        async with rig.daemon():
            await rig.counted()
            with os.fdopen(os.open(rig.log / "new", os.O_WRONLY | os.O_CREAT, 0), "wb", buffering=0) as log:
                rig.write()
                rotate(rig.path)
                (rig.log / "new").rename(rig.path)
                refused = len(rig.logins) + 1
                log.write(rig.lines())
                await rig.counted(lost=[refused])
                await rig.counts("log_errors")
                log.write(rig.lines())
                rig.path.chmod(0o640)
                await rig.one_more()
    rig.judge(some=["log_errors"])
    assert rig.said_of("log_unreadable")


async def test_fault_22_a_directory_that_is_missing_at_the_start_is_read_once_it_is_there(rig: Rig) -> None:
    directory = rig.log / "later"
    rig.configure(directory, start="end")
    rig.path = directory / "postgresql.json"
    async with rig.daemon():
        await rig.counts("log_errors")
        directory.mkdir()
        rig.write()
        await rig.one_more()
    rig.judge(some=["log_errors"])
    assert len(rig.said_of("log_missing")) == 1


QUEUED = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text(encoding="ascii"))


async def test_fault_31_without_file_system_events_or_with_too_many_polling_goes_on(rig: Rig) -> None:
    async def is_watched() -> bool:
        return "inotify wd:" in daemon.descriptors()

    rig.write()
    async with FaultyDaemon(rig) as daemon:
        await rig.counted()
        await until(is_watched, "the directory is watched")
        with daemon.suspended():
            for _ in range(QUEUED // 2 + 1):
                (rig.log / "new").touch()
                (rig.log / "new").unlink()
        await rig.one_more()
        daemon.fail("inotify_add_watch", errno.ENOSPC, "/")
        await rig.one_more()
        await rig.one_more()
        assert not await is_watched()
    rig.judge()


async def passes(seconds: float) -> None:
    """Wait until so much time is over: what is told apart here is what time does."""

    async def is_over() -> bool:
        return asyncio.get_running_loop().time() >= over

    over = asyncio.get_running_loop().time() + seconds
    await until(is_over, "time passes")


async def test_fault_32_a_daemon_that_was_stopped_under_load_takes_no_login_for_silent(rig: Rig) -> None:
    """Stopped for longer than a login may last: 60 s of a real timeout, here 6 s and a little."""

    link = rig.directory / "postgresql.json"
    link.symlink_to(rig.path)  # whose directory is not watched: nothing wakes the tail first
    rig.write()
    async with FaultyDaemon(rig, link, authentication_timeout_seconds=1) as daemon:
        await rig.counted()
        begun = [entries_of(number) for number in rig.begin(50)]
        append(rig.path, b"".join(json_line(received) for received, _ in begun) + rig.lines())
        await rig.counted(lost=rig.logins[-51:-1])
        await passes(0.45)  # the tail has just begun to wait for a second: silence is looked for before it looks again
        with daemon.suspended():
            append(rig.path, b"".join(json_line(refused) for _, refused in begun))
            rig.write(2000)
            await passes(1 + SILENCE_SLACK_SECONDS)
        await rig.one_more()
    rig.judge()
    assert {outcome["result"] for outcome in rig.outcomes()} == {"refused"}
    assert rig.count("correlation_unmatched") == 0


class JumpingClock(SystemClock):
    """Its wall clock is set anew by an administrator."""

    def __init__(self) -> None:
        self.off_by = 0.0

    def time(self) -> float:
        return super().time() + self.off_by


@pytest.mark.parametrize(
    ("by", "rotated_twice"),
    [
        pytest.param(HOUR, True, id="forward"),
        pytest.param(-HOUR, False, id="back"),
        pytest.param(-HOUR, True, id="back-and-rotated-twice"),
    ],
)
async def test_fault_33_a_clock_that_jumps_makes_no_login_older(rig: Rig, by: float, rotated_twice: bool) -> None:
    """The clock is that of the server and of its files, too."""
    clock = JumpingClock()
    rig.write()
    (number,) = rig.begin()
    received, refused = entries_of(number)
    append(rig.path, json_line(received))
    async with rig.daemon(clock):
        await rig.seen()
        clock.off_by = by
        append(rig.path, json_line(replace(refused, milliseconds=int(by * 1000))))
        await rig.counted()
        date(rotate(rig.path, ".2"), 0)
        await rig.one_more()
    for ending in (".3", ".1") if rotated_twice else (".1",):
        rig.write()
        date(rotate(rig.path, ending), by)
    rig.write()
    date(rig.path, by)
    async with rig.daemon(clock):
        rig.write()
        await rig.counted(seconds=SOON)
    rig.judge()


def date(path: Path, by: float) -> None:
    """Let the file be written just now, by a clock that is off by so much."""
    moment = time.time() + by
    os.utime(path, (moment, moment))


@contextlib.contextmanager
def no_descriptors() -> Iterator[None]:
    """This process cannot open anything."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = os.open("/dev/null", os.O_RDONLY)
    os.close(spare)
    resource.setrlimit(resource.RLIMIT_NOFILE, (spare, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_fault_35_without_descriptors_it_waits_for_some_and_goes_on(rig: Rig) -> None:
    async def has_failed() -> bool:
        return bool(rig.metrics.registry.get_sample_value("pgoauthd_log_errors_total", {"cluster": "main"}))

    rig.write()
    async with rig.daemon():
        await rig.counted()
        rig.write()
        rotate(rig.path)
        rig.write(20)
        with no_descriptors():
            await until(has_failed, "a log cannot be opened")
        await rig.one_more()
    rig.judge(some=["log_errors"])


@pytest.mark.parametrize("when", ["in the state", "while stopped", "while running"])
async def test_fault_36_a_file_system_with_another_number_holds_the_same_files(rig: Rig, when: str) -> None:
    """As after the NFS server has started anew: device numbers are given out at each mount, inodes stay."""
    with contextlib.ExitStack() as stack:
        if when != "in the state":
            stack.enter_context(small_disk(rig.log, "1m"))
        rig.write()
        async with rig.daemon():
            await rig.counted()
            if when == "while running":
                stack.enter_context(mounted_anew(rig))
                await rig.one_more()
        if when == "while stopped":
            stack.enter_context(mounted_anew(rig))
        if when == "in the state":
            name_another_device(rig)
        rig.write()
        async with rig.daemon():
            await rig.one_more()
        rig.judge()


@contextlib.contextmanager
def mounted_anew(rig: Rig) -> Iterator[None]:
    """The log lies on another file system of the same kind, where it was the first file, too."""
    before, content = rig.path.stat(), rig.path.read_bytes()
    with small_disk(rig.log, "1m"):
        rig.path.write_bytes(content)
        now = rig.path.stat()
        assert (now.st_ino, now.st_dev != before.st_dev) == (before.st_ino, True)
        yield


def name_another_device(rig: Rig) -> None:
    """The same, where nothing may be mounted: the state says that the logs were elsewhere."""
    rig.set_positions([msgspec.structs.replace(it, device=it.device + 1) for it in rig.positions()])
