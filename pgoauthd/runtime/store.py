"""What survives a restart, in one SQLite file: log positions, open sessions and waiting verdicts of each cluster.

One transaction a save, so a crash leaves the state of the last save whole. It never decides what is saved or when, and
never throws a state away: one that it cannot use is an error that says what to do.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from pgoauthd.correlation.engine import EngineState
from pgoauthd.correlation.session import Session
from pgoauthd.correlation.verdicts import SessionVerdict
from pgoauthd.errors import StateError
from pgoauthd.logs.position import Position

FILE_MODE = 0o600
SCHEMA = 1
"""`PRAGMA user_version` of the file."""
SLICE = 500
"""Sessions or verdicts encoded at once: about a millisecond."""
PIECE_BYTES = 1_048_576
PATIENCE_SECONDS = 10.0
"""How long a save waits for one that is under way, so that a disk that hangs cannot hang the end of the daemon."""

_VERDICTS = ""
"""Stands among the cluster names, none of which is empty."""

_encoder = msgspec.msgpack.Encoder()


class ClusterState(msgspec.Struct, frozen=True, kw_only=True):
    """The saved state of one cluster."""

    positions: tuple[Position, ...] = ()
    engine: EngineState = EngineState()


class _SessionCopy(Session, gc=False):
    """As a Session stood when it was copied. There are no cycles to look for, and 100,000 objects make that dear."""


_fields_of_session = attrgetter(*Session.__struct_fields__)


class _Encoding:
    """The rows of one moment, encoded slice by slice, as one call for all of it would stop the event loop."""

    def __init__(self, number: int, clusters: dict[str, ClusterState], verdicts: tuple[SessionVerdict, ...]) -> None:
        self.number = number
        self.rows: dict[str, bytearray] = {}
        """Whole once `slices` is exhausted."""
        self._clusters = clusters
        self._verdicts = verdicts

    def hold(self) -> None:
        """Copy what changes while the slices are encoded: sessions; all else is immutable."""
        self._clusters = {name: _held(state) for name, state in self._clusters.items()}

    def slices(self) -> Iterator[None]:
        """Encode, with a stop after each slice."""
        for name, state in self._clusters.items():
            # A ClusterState as msgpack has it, a map of maps, written by hand for the sake of the one long member.
            engine = {field: getattr(state.engine, field) for field in state.engine.__struct_fields__}
            sessions = engine.pop("open")
            row = self.rows[name] = bytearray(_map_of(2))
            _append(row, "positions", state.positions, "engine")
            row += _map_of(1 + len(engine))
            for field, value in engine.items():
                _append(row, field, value)
            _append(row, "open")
            yield from _append_array(row, sessions)
        self.rows[_VERDICTS] = bytearray()
        yield from _append_array(self.rows[_VERDICTS], self._verdicts)


class Store:
    """The state file, open and locked for this process; a second process that opens it gets a StateError.

    `save_gently` lets the disk work in a thread of its own; the lock lets one thread at a time use the connection.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saved: dict[str, bytearray] = {}
        """Rows as they stand in the file, so that only what has changed is written."""
        self._numbers = itertools.count(1)
        self._committed = 0
        """The number of the newest state in the file: a thread that comes late must not put back an older one."""
        self._lock = threading.Lock()
        self._open = True
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE))
            self._connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
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
        if self._lock.acquire(timeout=PATIENCE_SECONDS):
            self._open = False
            self._connection.close()
            self._lock.release()

    def load(self) -> tuple[dict[str, ClusterState], tuple[SessionVerdict, ...]]:
        """Cluster states by name, and the verdicts that wait; StateError if a row cannot be read."""
        try:
            with self._lock:
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
        """Replace the state in one transaction, now; StateError when that cannot be (the old state stays)."""
        try:
            encoding = _Encoding(next(self._numbers), clusters, verdicts)
            for _ in encoding.slices():
                pass
            self._commit(encoding)
        except Exception as error:
            raise self._not_saved(error) from error

    async def save_gently(self, clusters: dict[str, ClusterState], verdicts: tuple[SessionVerdict, ...]) -> None:
        """As `save`, with the state of the moment of the call, but beside the other work of the event loop."""
        try:
            encoding = _Encoding(next(self._numbers), clusters, verdicts)
            encoding.hold()
            for _ in encoding.slices():
                await asyncio.sleep(0)
            await asyncio.to_thread(self._commit, encoding)
        except Exception as error:
            raise self._not_saved(error) from error

    def _not_saved(self, error: Exception) -> StateError:
        """Not the text of an error of encoding, which may have a piece of the state in it."""
        what = str(error) if isinstance(error, sqlite3.Error | OSError) else type(error).__name__
        return StateError(f"{self._path}: the state could not be saved ({what}); check the disk")

    def _commit(self, encoding: _Encoding) -> None:
        if not self._lock.acquire(timeout=PATIENCE_SECONDS):
            raise TimeoutError("the save before is still under way")
        try:
            if self._open and encoding.number > self._committed:
                self._write(encoding.rows)
                self._committed = encoding.number
        finally:
            self._lock.release()

    def _write(self, rows: dict[str, bytearray]) -> None:
        changed = {name: body for name, body in rows.items() if self._saved.get(name) != body}
        if not changed:
            return
        waiting = changed.pop(_VERDICTS, None)
        try:
            self._connection.execute("BEGIN")
            for name, body in changed.items():
                self._put("cluster", "INSERT OR REPLACE INTO cluster (body, name) VALUES (zeroblob(?), ?)", body, name)
            if waiting is not None:
                self._put("verdicts", "INSERT OR REPLACE INTO verdicts (body, id) VALUES (zeroblob(?), ?)", waiting, 1)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        self._saved = rows

    def _put(self, table: str, insert: str, body: bytearray, key: str | int) -> None:
        """Write a row piece by piece: a large one in one piece would keep the event loop's thread from running."""
        row = self._connection.execute(insert, (len(body), key)).lastrowid
        with memoryview(body) as whole, self._connection.blobopen(table, "body", row or 0) as blob:
            for start in range(0, len(body), PIECE_BYTES):
                blob.write(whole[start : start + PIECE_BYTES])

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


def _held(state: ClusterState) -> ClusterState:
    copies = tuple(itertools.starmap(_SessionCopy, map(_fields_of_session, state.engine.open)))
    return msgspec.structs.replace(state, engine=msgspec.structs.replace(state.engine, open=copies))


def _map_of(count: int) -> bytes:
    return b"\xdf" + count.to_bytes(4, "big")


def _append(row: bytearray, *values: object) -> None:
    for value in values:
        _encoder.encode_into(value, row, -1)


def _append_array(row: bytearray, items: Sequence[msgspec.Struct]) -> Iterator[None]:
    """The items as one array, with a stop after each slice."""
    row += b"\xdd" + len(items).to_bytes(4, "big")
    for start in range(0, len(items), SLICE):
        _append(row, *items[start : start + SLICE])
        yield


def _unusable(path: Path, what: str) -> str:
    if "locked" in what:
        return f"{path}: another pgoauthd uses this state; stop it, or give this one a state.path of its own"
    return f"{path}: the state cannot be opened ({what}); check that the directory is there and writable"
