"""Makes state files with a history, as the daemon writes them, and goes on writing where a test wants more."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from pgoauthd.correlation.outcome import Outcome
from pgoauthd.correlation.outcome_json import encode
from pgoauthd.runtime.stateschema import TABLES, VERSION

INSERT = (
    "INSERT INTO outcome (id, time, cluster, result, reason, method, role, identity, client_addr, body) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class HistoryFile:
    """A state file open for writing, as the daemon has it; a context manager."""

    def __init__(self, path: Path, *, clusters: Iterable[str] = ("main",)) -> None:
        self.path = path
        self.lines: list[bytes] = []
        """What was added, oldest first."""
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = OFF")
        self.connection.executescript(f"BEGIN;{TABLES}PRAGMA user_version = {VERSION};COMMIT;")
        rows = [(name, b"", b"") for name in clusters]
        self.connection.executemany("INSERT INTO cluster (name, positions, engine) VALUES (?, ?, ?)", rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.connection.close()

    def add(self, *outcomes: Outcome, first: int | None = None) -> list[bytes]:
        """Commit them with the next ids, or from `first` on; their lines."""
        start = len(self.lines) + 1 if first is None else first
        numbered = [msgspec.structs.replace(one, id=start + i) for i, one in enumerate(outcomes)]
        self.connection.execute("BEGIN")
        self.connection.executemany(INSERT, map(row, numbered))
        self.connection.execute("COMMIT")
        added = [encode(one) for one in numbered]
        self.lines += added
        return added


def row(one: Outcome) -> tuple[object, ...]:
    asked = (one.time, one.cluster, one.result, one.reason, one.method, one.role, one.identity, one.client_addr)
    return (one.id, *asked, encode(one))


def history(path: Path, *outcomes: Outcome) -> list[bytes]:
    """A state file with these outcomes that nobody has open; their lines."""
    with HistoryFile(path) as file:
        return file.add(*outcomes)
