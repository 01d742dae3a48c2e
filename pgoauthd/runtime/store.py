"""What survives a restart, in one SQLite file: log positions, open sessions and waiting verdicts of each cluster.

One transaction a save, so a crash leaves the state of the last save whole. It never decides what is saved, and never
throws a state away: one that it cannot use is an error that says what to do.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from pgoauthd.correlation.engine import EngineState
from pgoauthd.correlation.verdicts import SessionVerdict
from pgoauthd.errors import StateError
from pgoauthd.logs.position import Position

FILE_MODE = 0o600
SCHEMA = 1
"""`PRAGMA user_version` of the file."""


_VERDICTS = ""
"""Stands among the cluster names, none of which is empty."""


class ClusterState(msgspec.Struct, frozen=True, kw_only=True):
    """The saved state of one cluster."""

    positions: tuple[Position, ...] = ()
    engine: EngineState = EngineState()


class Store:
    """The state file, open and locked for this process; a second process that opens it gets a StateError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saved: dict[str, bytes] = {}
        """Rows as they stand in the file, so that only what has changed is written."""
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE))
            self._connection = sqlite3.connect(path, timeout=0, isolation_level=None)
            self._prepare()
        except OSError as error:
            raise StateError(_unusable(path, error.strerror or str(error))) from error
        except sqlite3.OperationalError as error:
            raise StateError(_unusable(path, str(error))) from error
        except sqlite3.DatabaseError as error:
            raise StateError(
                f"{path}: is not a state file of pgoauthd ({error}); move it aside to start with an empty one"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def load(self) -> tuple[dict[str, ClusterState], tuple[SessionVerdict, ...]]:
        """Cluster states by name, and the verdicts that wait; StateError if a row cannot be read."""
        try:
            clusters = {
                name: msgspec.msgpack.decode(body, type=ClusterState)
                for name, body in self._connection.execute("SELECT name, body FROM cluster")
            }
            row = self._connection.execute("SELECT body FROM verdicts").fetchone()
            verdicts = msgspec.msgpack.decode(row[0], type=tuple[SessionVerdict, ...]) if row else ()
        except (msgspec.MsgspecError, sqlite3.DatabaseError) as error:
            raise StateError(f"{self._path}: is damaged ({error}); move it aside to start with an empty one") from error
        return clusters, verdicts

    def save(self, clusters: dict[str, ClusterState], verdicts: tuple[SessionVerdict, ...]) -> None:
        """Replace the state in one transaction; StateError when the disk does not take it (the old state stays)."""
        rows = {name: msgspec.msgpack.encode(state) for name, state in clusters.items()}
        waiting = msgspec.msgpack.encode(verdicts)
        changed = [(name, body) for name, body in rows.items() if self._saved.get(name) != body]
        if not changed and self._saved.get(_VERDICTS) == waiting:
            return
        try:
            self._connection.execute("BEGIN")
            self._connection.executemany("INSERT OR REPLACE INTO cluster (name, body) VALUES (?, ?)", changed)
            self._connection.execute("INSERT OR REPLACE INTO verdicts (id, body) VALUES (1, ?)", (waiting,))
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise StateError(f"{self._path}: the state could not be saved ({error}); check the disk") from error
        self._saved = {**rows, _VERDICTS: waiting}

    def _prepare(self) -> None:
        self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._connection.execute("PRAGMA journal_mode = WAL")
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA:
            raise StateError(
                f"{self._path}: was written by a newer pgoauthd (state version {version}, this one knows {SCHEMA}); "
                "run the newer version or move the file aside"
            )
        self._connection.execute("BEGIN EXCLUSIVE")
        self._connection.execute("CREATE TABLE IF NOT EXISTS cluster (name TEXT PRIMARY KEY, body BLOB NOT NULL)")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS verdicts (id INTEGER PRIMARY KEY CHECK (id = 1), body BLOB NOT NULL)"
        )
        self._connection.execute(f"PRAGMA user_version = {SCHEMA}")
        self._connection.execute("COMMIT")


def _unusable(path: Path, what: str) -> str:
    if "locked" in what:
        return f"{path}: another pgoauthd uses this state; stop it, or give this one a state.path of its own"
    return f"{path}: the state cannot be opened ({what}); check that the directory is there and writable"
