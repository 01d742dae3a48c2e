"""How long a login waits while the daemon works through a backlog of its log, beside how long it waits otherwise.

    make bench   or   python -m bench.bench_backlog [--megabytes 100] [--formats csvlog] [--shares 0.1]

The daemon is a process of its own, with all its parts. One client asks at a steady pace, on new connections and on one
that stays, in turn. Backlogs, each a file of so many megabytes, are put into the log directory one after the other
until enough requests have met one. A backlog counts as read when the process has read as many bytes (proc(5), `rchar`):
asking for metrics would be work for the event loop that is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import itertools
import multiprocessing
import os
import shutil
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Self

from bench.make_log import write
from pgoauthd.config.reader import parse
from pgoauthd.daemon import running
from pgoauthd.demo.issuer import AUDIENCE, DemoIssuer
from pgoauthd.telemetry.log import configure

REQUESTS_PER_SECOND = 400
MAX_BACKLOGS = 40
"""A file that is read in no time is met by few requests; after so many files they must do."""
READ_TO_BEGIN = 1 << 20
"""So much is read of a file that is not only looked at."""
SUFFIXES = {"csvlog": ".csv", "jsonlog": ".json", "stderr": ".log"}
PREFIX = "%m [%p] %q%u@%d "


class Daemon:
    """The daemon in a process of its own, its socket and the directory of its log."""

    def __init__(self, directory: Path, issuer: DemoIssuer) -> None:
        self.directory = directory
        self.logs = directory / "log"
        self.logs.mkdir()
        self.socket = f"{directory}/ours.sock"
        config = configuration(directory, self.socket, issuer)
        self._process = multiprocessing.get_context("spawn").Process(
            target=serve, args=(config, f"{directory}/daemon.log"), daemon=True
        )

    async def __aenter__(self) -> Self:
        self._process.start()
        while not self._answers():
            assert self._process.is_alive(), (self.directory / "daemon.log").read_text()  # noqa: S101
            await asyncio.sleep(0.05)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._process.terminate()
        await asyncio.to_thread(self._process.join)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection, contextlib.suppress(OSError):
            connection.connect(self.socket)
            return True
        return False

    def bytes_read(self) -> int:
        """By all its threads since it began."""
        first = Path(f"/proc/{self._process.pid}/io").read_text(encoding="ascii").splitlines()[0]
        return int(first.removeprefix("rchar: "))


def serve(config: str, log: str) -> None:
    """The daemon until it is told to end."""

    async def run() -> None:
        with Path(log).open("w", encoding="utf-8") as out:  # noqa: ASYNC230 - nothing else runs yet
            async with running(parse(config), log=configure("info", "json", out)):
                await asyncio.get_running_loop().create_future()

    asyncio.run(run())


def configuration(directory: Path, listening: str, issuer: DemoIssuer) -> str:
    """The daemon's configuration for this issuer."""
    return f"""
[callout]
socket = "{listening}"
allowed_users = [{os.getuid()}]
[web]
listen = "127.0.0.1:0"
[state]
path = "{directory}/state.db"
[[issuers]]
issuer = "{issuer.issuer}"
audiences = ["{AUDIENCE}"]
allow_loopback_http = true
[[clusters]]
name = "main"
logs = ["{directory}/log"]
log_line_prefix = "{PREFIX}"
"""


class Client:
    """Asks one question after the other; notes how long each answer took, in milliseconds."""

    def __init__(self, path: str, token: str, issuer: str) -> None:
        body = (
            f'{{"token": "{token}", "role": "alice", "database": "app", "client_addr": "127.0.0.1", "pid": 4711, '
            f'"session_id": "6b02415c.1267", "issuer": "{issuer}", "scope": "openid", "server_version": 180006}}'
        ).encode()
        head = "POST /v1/validate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(body)}\r\n"
        self._path = path
        self._once = f"{head}Connection: close\r\n\r\n".encode() + body
        self._again = f"{head}\r\n".encode() + body
        self._kept = self._connect()
        self.waits: list[float] = []

    def ask_while(self, goes_on: Callable[[], bool]) -> None:
        """Ask at the pace of REQUESTS_PER_SECOND. The connection that stays is a new one: silence ends it."""
        self._kept.close()
        self._kept = self._connect()
        due = time.perf_counter()
        for is_new in itertools.cycle((True, False)):
            if not goes_on():
                return
            due = max(due + 1 / REQUESTS_PER_SECOND, time.perf_counter())
            time.sleep(max(due - time.perf_counter(), 0.0))
            started = time.perf_counter()
            answer = self._ask_anew() if is_new else self._ask_again()
            self.waits.append((time.perf_counter() - started) * 1e3)
            assert b'"authorized":true' in answer, answer  # noqa: S101 - no benchmark of a refusal

    def ask(self, count: int) -> None:
        """Ask so many times at that pace."""
        goal = len(self.waits) + count
        self.ask_while(lambda: len(self.waits) < goal)

    def _ask_anew(self) -> bytes:
        with self._connect() as connection:
            connection.sendall(self._once)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def _ask_again(self) -> bytes:
        self._kept.sendall(self._again)
        return self._kept.recv(65536)

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self._path)
        return connection


class Waits(NamedTuple):
    """Of the answers in one situation, in milliseconds."""

    p50: float
    p99: float
    longest: float

    @classmethod
    def of(cls, waits: list[float]) -> Waits:
        """Of these."""
        cuts = statistics.quantiles(waits, n=100)
        return cls(cuts[49], cuts[98], max(waits))

    def __str__(self) -> str:
        return f"{self.p50:6.2f} {self.p99:6.2f} {self.longest:6.1f}"


class Backlogs:
    """Copies of one log that turn up in the log directory when they are asked for, and go when they are read."""

    def __init__(self, daemon: Daemon, source: Path) -> None:
        self._daemon = daemon
        self._source = source

    @contextlib.contextmanager
    def next(self) -> Iterator[Callable[[], bool]]:
        """In this block the daemon has begun with a backlog; what is handed out tells whether it is still unread.

        What is unread at the end of the block is waited for.
        """
        path = self._daemon.directory / f"{time.monotonic_ns()}{self._source.suffix}"
        shutil.copyfile(self._source, path)
        followed = self._daemon.logs / path.name
        before = self._daemon.bytes_read()
        size = path.stat().st_size
        path.rename(followed)

        def is_unread() -> bool:
            return self._daemon.bytes_read() - before < size

        while self._daemon.bytes_read() - before < READ_TO_BEGIN:
            time.sleep(0.0005)
        yield is_unread
        while is_unread():
            time.sleep(0.001)
        followed.unlink()

    def seconds(self) -> float:
        """How long one takes when nobody asks anything."""
        with self.next() as is_unread:
            started = time.perf_counter()
            while is_unread():
                time.sleep(0.001)
            return time.perf_counter() - started


def compare(daemon: Daemon, client: Client, source: Path, requests: int, title: str) -> None:
    """One row of the table: first idle, then beside backlogs; a backlog leaves work behind it, such as saving."""
    client.ask(requests)
    before = Waits.of(client.waits)
    backlogs = Backlogs(daemon, source)
    alone = statistics.median(backlogs.seconds() for _ in range(3))
    client.waits.clear()
    times: list[float] = []
    while len(client.waits) < requests and len(times) < MAX_BACKLOGS:
        with backlogs.next() as is_unread:
            started = time.perf_counter()
            client.ask_while(is_unread)
            times.append(time.perf_counter() - started)
    beside = Waits.of(client.waits)
    print(
        f"{title:16} {before} | {beside} | {beside.p50 / before.p50:5.2f} {beside.p99 / before.p99:5.2f} |"
        f" {alone:6.2f} {statistics.median(times):6.2f} {len(client.waits):6}",
        flush=True,
    )


def arguments() -> argparse.Namespace:
    """From the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--megabytes", type=float, default=100)
    parser.add_argument("--formats", nargs="+", default=list(SUFFIXES), choices=list(SUFFIXES))
    parser.add_argument("--shares", nargs="+", type=float, default=[0.001, 0.1, 1.0])
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--keep", type=Path, help="directory in which the logs that are made stay for the next time")
    return parser.parse_args()


def made(directory: Path, log_format: str, share: float, megabytes: float) -> Path:
    """A log of that kind."""
    path = directory / f"{log_format}-{share:g}-{megabytes:g}{SUFFIXES[log_format]}"
    if not path.exists():
        write(log_format, megabytes, share, path)
    return path


async def main(wanted: argparse.Namespace) -> None:
    """A daemon of its own for every row, so that none inherits what another one has left."""
    print(f"{'':16} {'idle, ms':^20} | {'backlog, ms':^20} | {'ratio':^11} | {'backlog read, s':^15}")
    print(f"{'':16} {'p50    p99    max':^20} | {'p50    p99    max':^20} | {'p50   p99':^11} |  alone beside  asked")
    gc.disable()  # the client's pauses are none of the daemon's
    with tempfile.TemporaryDirectory() as name:
        for number, (log_format, share) in enumerate(itertools.product(wanted.formats, wanted.shares)):
            source = made(wanted.keep or Path(name), log_format, share, wanted.megabytes)
            directory = Path(name) / str(number)
            directory.mkdir()
            async with DemoIssuer() as issuer, Daemon(directory, issuer) as daemon:
                client = Client(daemon.socket, issuer.mint("alice"), issuer.issuer)
                await asyncio.to_thread(client.ask, 200)
                client.waits.clear()
                title = f"{log_format} {share:.1%}"
                await asyncio.to_thread(compare, daemon, client, source, wanted.requests, title)
            shutil.rmtree(directory)


if __name__ == "__main__":
    asyncio.run(main(arguments()))
