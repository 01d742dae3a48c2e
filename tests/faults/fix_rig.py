"""The whole observing daemon over real files: a server that knows which logins it wrote, and a judge.

The judge goes by the state file alone: what is in the history, what is counted, what is still open. Each login is two
lines, so that a line that was read twice or not at all shows: as a second outcome, an open session, or a login without
its beginning.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Collection, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pgoauthd.config.reader import load
from pgoauthd.daemon import running
from pgoauthd.logs.position import Position
from pgoauthd.logs.readers import LogFormat
from pgoauthd.runtime.clock import Clock
from pgoauthd.telemetry.metrics import Metrics
from tests.fix_daemon import until
from tests.fix_log import logging_to
from tests.fix_reload import table
from tests.logs.fix_lines import DEFAULT_PREFIX, Entry, render

FIRST_PID = 1000
SOON = 3.0
"""Seconds in which what is read at all is read, for what is known not to be."""
LOSSES = ("log_errors", "log_lost_lines", "log_overlong_lines", "log_parse_failures", "log_truncations")
"""What tells that a line may be missing."""
REFUSED = 'password authentication failed for user "{}"'


class Rig:
    """A server's log directory, the daemon's state, and daemons that come and go over them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "log"
        self.log.mkdir()
        self.path = self.log / "postgresql.json"
        self.config_path = directory / "pgoauthd.toml"
        self.state_path = directory / "state.db"
        self.outcomes_path = directory / "outcomes.jsonl"
        self.logins: list[int] = []
        """The numbers of those that were written."""
        self.said = io.StringIO()
        """The log of daemons in this process."""
        self.metrics = Metrics()
        """Of the daemon that runs in this process."""
        self._hangup = asyncio.Event()

    # the server

    def lines(self, count: int = 1, log_format: LogFormat = LogFormat.JSONLOG, role: str = "alice") -> bytes:
        """The lines of new logins, all refused."""
        return b"".join(lines_of(number, log_format, role) for number in self.begin(count))

    def begin(self, count: int = 1) -> list[int]:
        """The numbers of new logins; the test writes their lines."""
        first = len(self.logins) + 1
        self.logins += range(first, first + count)
        return self.logins[-count:]

    def write(self, count: int = 1, path: Path | None = None) -> int:
        """Log so many logins; the number of the last one."""
        append(path or self.path, self.lines(count))
        return self.logins[-1]

    # the daemon

    def configure(self, *logs: Path, listen: str = "127.0.0.1:0", start: str = "beginning", **settings: object) -> str:
        """Follow `logs`, else the one log of the server; `settings` are of the cluster."""
        known = {"log_line_prefix": DEFAULT_PREFIX, "start": start}
        paths = [str(path) for path in logs or (self.path,)]
        text = "\n".join(
            [
                f'[web]\nlisten = "{listen}"',
                f'[state]\npath = "{self.state_path}"',
                f'[outcomes]\npath = "{self.outcomes_path}"',
                "[reload]\nwatch = false",
                table("clusters", name="main", logs=paths, **(known | settings)),
            ]
        )
        self.config_path.write_text(text, encoding="utf-8")
        return text

    @contextlib.asynccontextmanager
    async def daemon(self, clock: Clock | None = None) -> AsyncIterator[None]:
        """One that runs in this process, as configured."""
        if not self.config_path.exists():
            self.configure()
        with logging_to(self.said) as log:
            async with running(
                load(self.config_path), log=log, clock=clock, path=self.config_path, hangup=self._hangup
            ) as self.metrics:
                yield

    async def reload(self) -> None:
        """Have the daemon in this process use its configuration as it is now."""

        async def applied() -> bool:
            return bool(self.metrics.registry.get_sample_value(*series))

        series = ("pgoauthd_config_reloads_total", {"outcome": "applied"})
        assert not await applied()
        self._hangup.set()
        await until(applied, "a reload")

    # the judge

    async def counted(self, *, lost: Collection[int] = (), seconds: float = 30.0) -> None:
        """Wait until every login is in the history, but for those that are lost."""

        async def found() -> bool:
            return self.missing <= set(lost)

        try:
            await until(found, "all logins in the history", seconds)
        except AssertionError as error:
            raise AssertionError(
                f"{error}; missing: {sorted(self.missing)[:20]}; log: {self.said.getvalue()}"
            ) from None

    async def one_more(self, path: Path | None = None, *, lost: Collection[int] = ()) -> None:
        """Another login: when it is counted, the daemon has looked at everything since."""
        self.write(path=path)
        await self.counted(lost=lost)

    async def seen(self, path: Path | None = None) -> None:
        """Wait until the daemon has seen the log as long as it is now, and that is saved."""
        path = path or self.path
        size = path.stat().st_size

        async def found() -> bool:
            return (str(path), size) in {(position.path, position.size) for position in self.positions()}

        await until(found, f"{path} is seen with {size} bytes")

    async def counts(self, name: str, at_least: float = 1) -> None:
        """Wait until a counter is so high, and that is saved."""

        async def found() -> bool:
            return self.count(name) >= at_least

        await until(found, f"{name} is {at_least:g} and not {self.count(name):g}")

    def judge(
        self, *, lost: Collection[int] = (), unfinished: int = 0, some: Collection[str] = (), **losses: float
    ) -> None:
        """Every login is counted exactly once, but for those that are lost, and of them the counters tell.

        So many are `unfinished`, as their last line is lost.
        `losses` are the counters of losses that are not 0; of those named in `some` it is only known that they are not.
        """
        outcomes = self.outcomes()
        assert Counter(login_of(outcome) for outcome in outcomes) == Counter(set(self.logins).difference(lost))
        assert [login_of(outcome) for outcome in outcomes if outcome["started"] is None] == []
        assert self.open_sessions() == unfinished
        assert self.count("login_attempts") == len(outcomes)
        assert self.told() == [outcome["id"] for outcome in outcomes]
        assert losses or some or not lost, "a loss without a trace"
        assert [name for name in some if not self.count(name)] == []
        counted = {name: self.count(name) for name in LOSSES if name not in some and self.count(name)}
        assert counted == losses, counted

    @property
    def missing(self) -> set[int]:
        """Logins that the history does not have."""
        return set(self.logins).difference(map(login_of, self.outcomes()))

    def outcomes(self) -> list[dict[str, Any]]:
        """The history."""
        return [json.loads(body) for (body,) in self._rows("SELECT body FROM outcome ORDER BY id")]

    def told(self) -> list[int]:
        """The numbers of outcomes in the outcome file, in order."""
        return [json.loads(line)["id"] for line in self.outcomes_path.read_bytes().splitlines()]

    def count(self, name: str) -> float:
        """What the state has of a counter, whatever its labels."""
        ((total,),) = self._rows("SELECT total(value) FROM counter WHERE name = ?", name) or [(0.0,)]
        return float(total)

    def open_sessions(self) -> int:
        """Attempts begun and not ended."""
        return len(self._rows("SELECT 1 FROM session"))

    def positions(self) -> tuple[Position, ...]:
        """How far the logs are read."""
        bodies = self._rows("SELECT positions FROM cluster")
        return tuple(it for (body,) in bodies for it in msgspec.msgpack.decode(body, type=tuple[Position, ...]))

    def set_positions(self, positions: Sequence[Position]) -> None:
        """Have the state say something else, while no daemon runs."""
        with contextlib.closing(sqlite3.connect(self.state_path)) as connection, connection:
            connection.execute("UPDATE cluster SET positions = ?", (msgspec.msgpack.encode(positions),))

    def said_of(self, event: str) -> list[dict[str, Any]]:
        """What the daemons in this process have logged about this."""
        lines = (json.loads(line) for line in self.said.getvalue().splitlines())
        return [line for line in lines if line["event"] == event]

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Of the state as it is committed; none before there is one."""
        with contextlib.suppress(sqlite3.OperationalError), contextlib.closing(self._connect()) as connection:
            return connection.execute(query, values).fetchall()
        return []

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self.state_path}?mode=ro", uri=True)


def entries_of(number: int, role: str = "alice") -> tuple[Entry, Entry]:
    """The two entries of a login."""
    pid = FIRST_PID + number
    received = Entry(message=f"connection received: host=10.0.0.7 port={number}", port=number, pid=pid, role=None)
    refused = Entry(message=REFUSED.format(role), severity="FATAL", sqlstate="28P01", port=number, pid=pid, role=role)
    return received, refused


def lines_of(number: int, log_format: LogFormat = LogFormat.JSONLOG, role: str = "alice") -> bytes:
    return render(log_format, *entries_of(number, role))


def login_of(outcome: dict[str, Any]) -> int:
    """The number of the login that this is the outcome of."""
    return int(outcome["pid"]) - FIRST_PID


def append(path: Path, data: bytes) -> None:
    """Write at once, as the server does."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
    try:
        assert os.write(descriptor, data) == len(data)
    finally:
        os.close(descriptor)


def rotate(path: Path, to: str = ".1") -> Path:
    """Rename a log, as logrotate does; the server makes a new one with its next line."""
    return path.rename(f"{path}{to}")


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)
