"""The daemon as a process to which bad things happen: it is killed, stopped, and its system calls fail."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.fix_rig import Rig
from tests.fix_daemon import DaemonProcess, free_port, until

KILL = 0
"""In place of an error number."""
SOURCE = Path(__file__).with_name("faults.c")


@functools.cache
def may_mount() -> bool:
    """Whether we can have a file system of our own."""
    directory = tempfile.mkdtemp()
    try:
        mount(Path(directory), "1m")
        unmount(Path(directory))
    except subprocess.CalledProcessError:
        return False
    finally:
        Path(directory).rmdir()
    return True


def mount(at: Path, size: str) -> None:
    """Put an empty file system in memory over a directory."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", at], capture_output=True, check=True)


def unmount(at: Path) -> None:
    """Whoever has files open there keeps them."""
    subprocess.run(["umount", "--lazy", at], check=True)


@contextlib.contextmanager
def small_disk(at: Path, size: str) -> Iterator[Path]:
    """A file system of its own in memory; the test is skipped where we may not mount one."""
    if not may_mount():
        pytest.skip("only root may mount a tmpfs")
    at.mkdir(exist_ok=True)
    mount(at, size)
    try:
        yield at
    finally:
        unmount(at)


@functools.cache
def built_faults() -> Path:
    """The library with the failing calls, compiled once for all tests of this process."""
    directory = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, directory)
    library = directory / "faults.so"
    subprocess.run(["cc", "-Wall", "-Werror", "-O1", "-shared", "-fPIC", "-o", library, SOURCE], check=True)
    return library


class FaultyDaemon(DaemonProcess):
    """`pgoauthd run` over the files of a rig."""

    def __init__(self, rig: Rig, *logs: Path, **settings: object) -> None:
        listen = f"127.0.0.1:{free_port()}"
        super().__init__(rig.configure(*logs, listen=listen, **settings), rig.directory, listen)  # type: ignore[arg-type]
        self._faults = rig.directory / "faults"
        self._faults.mkdir(exist_ok=True)

    async def start(self) -> None:
        environment = os.environ | {"LD_PRELOAD": str(built_faults()), "FAULTS": str(self._faults)}
        with self.log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "pgoauthd", "run", "--config", self.config_path, stderr=log, env=environment
            )
        await until(self._is_healthy, "the daemon serves /healthz")

    async def kill(self) -> None:
        """As the kernel does when memory is short."""
        self._send(signal.SIGKILL)
        await self.dies()

    async def dies(self) -> None:
        """Wait until it was killed, by whomever."""
        assert self._process is not None
        assert await asyncio.wait_for(self._process.wait(), 20) == -signal.SIGKILL

    @contextlib.contextmanager
    def suspended(self) -> Iterator[None]:
        """It does not run."""
        self._send(signal.SIGSTOP)
        try:
            yield
        finally:
            self._send(signal.SIGCONT)

    def descriptors(self) -> str:
        """What the kernel says of all that it has open."""
        assert self._process is not None
        said = ""
        for descriptor in Path(f"/proc/{self._process.pid}/fdinfo").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                said += descriptor.read_text(encoding="ascii")
        return said

    def _send(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def fail(self, call: str, error: int, fragment: str, *, nth: int = 1) -> None:
        """From now on every nth such call on a path with `fragment` fails; with error 0 the nth write kills."""
        being_made = self._faults / "new"
        being_made.write_text(f"{error} {nth} {fragment}")
        being_made.rename(self._faults / call)

    def succeed(self, call: str) -> None:
        """Such calls succeed again."""
        (self._faults / call).unlink()
