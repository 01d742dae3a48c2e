"""Lives of the daemon, one after the other on one state: each a process of its own that runs `pgoauthd run`.

Most are forked from a process that has imported everything, so that a life begins within milliseconds; some begin cold,
as the service manager starts them. Whoever dies leaves no daemon behind.
"""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from pgoauthd.cli import main
from pgoauthd.runtime.store import Store
from tests.crash.fix_deaths import die_at

DEADLINE = 60.0
PR_SET_PDEATHSIG = 1
"""Of <linux/prctl.h>."""

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload([__name__, "pgoauthd.daemon", "pgoauthd.config.reader"])


class Fork:
    """A fork of a process that has all modules."""

    def __init__(self, target: Callable[..., None], *arguments: object) -> None:
        self._process: ForkServerProcess = _forks.Process(target=_run, args=(target, *arguments), daemon=True)
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        if self._process.exitcode is None:
            os.kill(self.pid, number)

    async def ended(self) -> int:
        """How it ended: its exit status, or minus the signal."""
        over = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._process.sentinel, over.set)
        try:
            await asyncio.wait_for(over.wait(), DEADLINE)
        finally:
            loop.remove_reader(self._process.sentinel)
        self._process.join()
        code = self._process.exitcode
        assert code is not None
        self._process.close()
        return code


class Life(Fork):
    """A daemon; a cold one begins from nothing, and another may die at a step of SQLite's work (`fix_deaths`)."""

    def __init__(self, config: Path, log: Path, *, cold: bool = False, dies_at: tuple[str, int] | None = None) -> None:
        super().__init__(_live, config, log, cold, dies_at)
        self.cold = cold


async def open_state_and_die(path: Path, dies_at: tuple[str, int]) -> int:
    """Open a state, and die at a step of that; how it ended, which is well where there is no such step."""
    return await Fork(_open, path, dies_at).ended()


def _run(target: Callable[..., None], *arguments: object) -> None:
    """In the fork, which dies with what it was forked from, as that does with us: nobody else may hold its pipes."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    target(*arguments)


def _open(path: Path, dies_at: tuple[str, int]) -> None:
    die_at(*dies_at)
    with Store(path, Path(f"{path}-verdicts")):
        pass


def _live(config: Path, log: Path, cold: bool, dies_at: tuple[str, int] | None) -> None:
    """Be the daemon."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    arguments = ["run", "--config", str(config)]
    if cold:
        os.execv(sys.executable, [sys.executable, "-m", "pgoauthd", *arguments])  # noqa: S606 - no shell is wanted
    if dies_at is not None:
        die_at(*dies_at)
    sys.argv = ["pgoauthd", *arguments]
    main()
