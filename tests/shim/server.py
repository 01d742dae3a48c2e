"""A real PostgreSQL with the freshly built module, and its log as it grows."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import csv
import functools
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from pgoauthd.demo.cluster import ClusterSettings, DemoCluster, LogDestination
from pgoauthd.demo.place import find_installation
from pgoauthd.demo.shimbuild import build_shim

ISSUER = "https://issuer.example.org/realms/db"
SCOPE = "openid postgres"

HBA = f"""\
# roles choose the line
host all mapped 127.0.0.1/32 oauth issuer="{ISSUER}" scope="{SCOPE}" map=people
host all delegated 127.0.0.1/32 oauth issuer="{ISSUER}" scope="{SCOPE}" delegate_ident_mapping=1
host all all 127.0.0.1/32 oauth issuer="{ISSUER}" scope="{SCOPE}"
local all all oauth issuer="{ISSUER}" scope="{SCOPE}"
"""

IDENT = "people /^(.*)@example\\.org$ mapped\n"

ROLES = "CREATE ROLE alice LOGIN; CREATE ROLE mapped LOGIN; CREATE ROLE delegated LOGIN;"

CANARY = "canary-of-a-token"
"""Part of every token that the tests send."""

T = TypeVar("T")

Record = dict[str, Any]
"""An entry of the jsonlog."""


@functools.cache
def built_shim(installation: Path | None = None) -> Path:
    """The module, compiled once for all tests of this process that have the same server."""
    build_dir = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, build_dir)
    return build_shim((installation or find_installation()) / "bin" / "pg_config", build_dir)


@contextlib.asynccontextmanager
async def new_cluster(
    authentication_timeout_seconds: int = 60, *, installation: Path | None = None, hba: str = HBA, **extra: str
) -> AsyncIterator[DemoCluster]:
    """A server with the lines of HBA, which logs all that it can; `extra` are settings, `__` stands for a dot."""
    settings = ClusterSettings(
        hba=hba,
        ident=IDENT,
        shim=built_shim(installation),
        log_destinations=(LogDestination.JSONLOG, LogDestination.CSVLOG),
        authentication_timeout_seconds=authentication_timeout_seconds,
        extra={"log_min_messages": "debug5"} | {name.replace("__", "."): value for name, value in extra.items()},
    )
    async with DemoCluster(settings, installation=installation) as cluster:
        await cluster.run_sql(ROLES)
        yield cluster


@contextlib.contextmanager
def running_cluster(
    authentication_timeout_seconds: int = 60, *, installation: Path | None = None, hba: str = HBA, **extra: str
) -> Iterator[DemoCluster]:
    """A new cluster for a whole module, whose tests have an event loop each."""
    with asyncio.Runner() as runner:
        manager = new_cluster(authentication_timeout_seconds, installation=installation, hba=hba, **extra)
        cluster = runner.run(_await(manager.__aenter__()))
        try:
            yield cluster
        finally:
            runner.run(_await(manager.__aexit__(None, None, None)))


async def _await(awaitable: Awaitable[T]) -> T:
    return await awaitable


class ServerLog:
    """The server's jsonlog; waits for entries that are still on their way."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "postgresql.json"
        self._csv = directory / "postgresql.csv"
        self._offset = 0
        self._records: list[Record] = []
        self._grown = asyncio.Event()

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[ServerLog]:
        """The log, woken by changes of its directory."""
        observer = Observer()
        observer.schedule(_Waker(asyncio.get_running_loop(), self._grown), str(self._path.parent))
        observer.start()
        try:
            yield self
        finally:
            observer.stop()
            observer.join()

    async def login(self, port: int | None, until: str = "FATAL") -> list[Record]:
        """The LOG and worse of a login from this port, once there is one at level `until`, or with it in the text."""
        assert port is not None
        return await self.session(lambda record: record.get("remote_port") == port, until)

    async def session(self, belongs: Callable[[Record], bool], until: str) -> list[Record]:
        async with asyncio.timeout(10):
            while True:
                self._grown.clear()
                self._read()
                records = [record for record in self._records if belongs(record) and not _is_debug(record)]
                if any(record["error_severity"] == until or until in record["message"] for record in records):
                    return records
                await self._grown.wait()

    def csv_session_ids(self) -> set[str]:
        """Column session_id of the csvlog."""
        with self._csv.open(newline="", encoding="utf-8") as file:
            return {row[5] for row in csv.reader(file)}

    def text(self) -> bytes:
        """All that the server has logged, in every format."""
        return b"".join(path.read_bytes() for path in self._path.parent.iterdir())

    def _read(self) -> None:
        with self._path.open("rb") as file:
            file.seek(self._offset)
            whole, _, _ = file.read().rpartition(b"\n")
        if whole:
            self._offset += len(whole) + 1
            # The server repeats a role that is not UTF-8 as it came.
            self._records += [json.loads(line.decode("utf-8", "replace")) for line in whole.split(b"\n")]


class _Waker(FileSystemEventHandler):
    def __init__(self, loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
        self._loop = loop
        self._event = event

    def on_modified(self, event: FileSystemEvent) -> None:  # not on_any_event: reading a file is one too
        del event
        self._loop.call_soon_threadsafe(self._event.set)


def _is_debug(record: Record) -> bool:
    return str(record["error_severity"]).startswith("DEBUG")


def refusals(records: list[Record]) -> list[Record]:
    """The entries that the module itself wrote."""
    return [record for record in records if record["message"].startswith("pgoauthd:")]
