"""Outlives the demo by a moment: runs a server as a child, and stops and removes it when the demo is gone.

A program of its own, started by `demo.cluster`, with the standard library alone. Its standard input is a pipe that
nobody writes to: its end means that the demo has stopped, or was killed in a way that left it no time to clean up. It
never decides whether the server is well.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
"""Numbers of <linux/prctl.h>."""

SHUTDOWNS = ((signal.SIGINT, 10.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
"""PostgreSQL's fast and immediate shutdown, then force; each with the seconds that it may take."""

END_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main() -> int:
    """Run the commands one after the other until told to stop, then leave nothing of them.

    Should one fail, its status is printed as a line, and what it left stays to be read until the order to stop.
    """
    options = _options()
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    orders = _Orders()
    try:
        for command in json.loads(options.commands):
            status = _run(command, options, orders)
            if orders.stopped:
                break
            if status != 0:
                _reap(deadline=time.monotonic() + 5.0)  # the log collector writes the server's last words
                print(status, flush=True)  # noqa: T201 - the message to the demo
                orders.wait(lambda: False)
                break
    finally:
        _reap(deadline=time.monotonic() + 5.0)
        shutil.rmtree(options.directory, ignore_errors=True)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uid", type=int, help="run the commands as this user; only root can")
    parser.add_argument("--gid", type=int, help="and as this group")
    parser.add_argument("--directory", type=Path, required=True, help="where commands start; removed at the end")
    parser.add_argument("--output", type=Path, required=True, help="file for what the commands print")
    parser.add_argument("commands", help="JSON: a list of lists of words")
    return parser.parse_args()


class _Orders:
    """The order to stop: the end of standard input, or one of END_SIGNALS. Nothing is ever interrupted by it."""

    def __init__(self) -> None:
        self.stopped = False
        self._signals, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in (*END_SIGNALS, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)

    def wait(self, ended: Callable[[], bool]) -> None:
        """Until the order has come, or `ended` says so after a child has died."""
        poll = select.poll()
        poll.register(self._signals, select.POLLIN)
        poll.register(sys.stdin.fileno(), select.POLLIN)
        while not self.stopped and not ended():
            ready = [descriptor for descriptor, _ in poll.poll()]
            self.stopped = sys.stdin.fileno() in ready or not set(os.read(self._signals, 512)).isdisjoint(END_SIGNALS)


def _run(command: list[str], options: argparse.Namespace, orders: _Orders) -> int:
    """Run one command to its end, or stop it when it is time; its exit status, 126 where it cannot be run."""
    try:
        process = _start(command, options)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"{command[0]}: {error}", file=sys.stderr)  # noqa: T201 - which is the output file too
        return 126
    try:
        orders.wait(lambda: process.poll() is not None)
    finally:
        _stop(process)
    return process.returncode


def _start(command: list[str], options: argparse.Namespace) -> subprocess.Popen[bytes]:
    with options.output.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - the demo's own commands
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=options.directory,
            user=options.uid,
            group=options.gid,
            extra_groups=None if options.uid is None else [],
            preexec_fn=_die_with_guardian,  # noqa: PLW1509 - this process has one thread
        )


def _die_with_guardian() -> None:
    """Should even the guardian be killed, the kernel shuts the server down at once (prctl(2), PR_SET_PDEATHSIG)."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl failed")


def _stop(process: subprocess.Popen[bytes]) -> None:
    for number, seconds in SHUTDOWNS:
        if process.poll() is not None:
            return
        process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)


def _reap(deadline: float) -> None:
    """Wait for orphans of the commands, which a subreaper inherits: the log collector outlives the server a little."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            if time.monotonic() > deadline:
                _kill_children()
            time.sleep(0.005)


def _kill_children() -> None:
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii")
    for child in children.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(child), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
