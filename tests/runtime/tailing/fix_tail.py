"""A tail over real files that steps when told to, and lines by whose numbers they are known again."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pgoauthd.config.values import Cluster
from pgoauthd.logs.events import AuthEvent
from pgoauthd.logs.position import Position
from pgoauthd.logs.readers import LogFormat
from pgoauthd.runtime.pace import Pace
from pgoauthd.runtime.tailing.tail import LogTail
from pgoauthd.telemetry.metrics import Metrics
from tests.fix_clock import SteppedClock
from tests.fix_log import logging_to
from tests.logs.fix_lines import DEFAULT_PREFIX, Entry, render

CLUSTER = "main"


def lines(*numbers: int, log_format: LogFormat = LogFormat.JSONLOG) -> bytes:
    """One line a number, which becomes the event's `client_port`."""
    entries = (
        Entry(message=f"connection received: host=10.0.0.7 port={number}", port=number, pid=number, role=None)
        for number in numbers
    )
    return render(log_format, *entries)


class Rig:
    """A directory for logs, and tails that come and go over it."""

    def __init__(self, directory: Path, log_output: io.StringIO) -> None:
        self.directory = directory
        self.metrics = Metrics()
        self.metrics.declare(clusters=(CLUSTER,), issuers=(), sinks=())
        self.clock = SteppedClock()
        self.events: list[AuthEvent] = []
        self.room = asyncio.Event()
        self.room.set()
        self.log_output = log_output
        self._log = logging_to(log_output)
        self.logger = self._log.__enter__()
        self.tails: list[LogTail] = []

    @property
    def numbers(self) -> list[int | None]:
        """The numbers of the lines handed on so far, in order."""
        return [event.client_port for event in self.events]

    def on_events(self, cluster: str, events: Sequence[AuthEvent]) -> None:
        assert cluster == CLUSTER
        assert events
        self.events += events

    def tail(
        self,
        *logs: str,
        saved: Sequence[Position] = (),
        start: str = "beginning",
        pace: Pace | None = None,
        **settings: object,
    ) -> LogTail:
        known = {"name": CLUSTER, "start": start, "log_line_prefix": DEFAULT_PREFIX}
        paths = tuple(str(self.directory / log) for log in logs or ("postgresql.json",))
        cluster = Cluster(**(known | settings), logs=paths)  # type: ignore[arg-type]
        made = LogTail(
            cluster,
            saved,
            sink=self,
            metrics=self.metrics,
            log=self.logger,
            clock=self.clock,
            pace=pace or Pace(self.clock, worked_seconds=lambda: 0.0),
        )
        self.tails.append(made)
        return made

    def count(self, metric: str, **labels: str) -> float:
        """The value of a counter or gauge of this cluster."""
        return self.metrics.registry.get_sample_value(f"pgoauthd_{metric}", {"cluster": CLUSTER} | labels) or 0.0

    def close(self) -> None:
        for made in self.tails:
            made.close()
        self._log.__exit__(None, None, None)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    directory = tmp_path / "log"
    directory.mkdir()
    made = Rig(directory, io.StringIO())
    yield made
    made.close()


def append(path: Path, data: bytes) -> None:
    """Write as the server does."""
    with path.open("ab") as stream:
        stream.write(data)
    touch(path)


def touch(path: Path) -> None:
    """Let the file's time be now: file systems count in ticks, and a test does several things in one."""
    now = time.time_ns()
    os.utime(path, ns=(now, now))


def copy_and_truncate(path: Path, to: Path) -> None:
    """What logrotate does with copytruncate."""
    shutil.copy(path, to)
    touch(to)
    os.truncate(path, 0)
    touch(path)
