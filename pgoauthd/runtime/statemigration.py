"""Brings a state file of an older version to the present one, in one transaction; never touches one of this version."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable

import msgspec

from pgoauthd.correlation.engine import Known, SessionKey, key_of
from pgoauthd.correlation.session import Session, State
from pgoauthd.correlation.verdicts import SessionVerdict
from pgoauthd.logs.position import Position
from pgoauthd.runtime.stateschema import TABLES

_encode = msgspec.msgpack.Encoder().encode


class _EngineState1(msgspec.Struct, frozen=True, kw_only=True):
    """Version 1 kept all of an engine in one row."""

    open: tuple[Session, ...] = ()
    settling: dict[str, float] = {}
    decided_by_silence: tuple[tuple[SessionKey, State], ...] = ()
    server_major: int | None = None
    logs_ready: bool = False
    validated_since: float | None = None
    received_since: float | None = None


class _ClusterState1(msgspec.Struct, frozen=True, kw_only=True):
    positions: tuple[Position, ...] = ()
    engine: _EngineState1 = _EngineState1()


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """Take the steps from `version` to the present one, within the transaction that is open."""
    for step in STEPS[version - 1 :]:
        step(connection)


def make(connection: sqlite3.Connection) -> None:
    """Make the tables of the present version in an empty file, within the transaction that is open."""
    for statement in TABLES.split(";"):
        connection.execute(statement)


def _from_1(connection: sqlite3.Connection) -> None:
    """One row a cluster becomes rows for sessions and for what silence has decided."""
    clusters = connection.execute("SELECT name, body FROM cluster").fetchall()
    waiting = connection.execute("SELECT body FROM verdicts").fetchone()
    connection.execute("DROP TABLE cluster")
    connection.execute("DROP TABLE verdicts")
    make(connection)
    for name, body in clusters:
        _put_cluster(connection, name, msgspec.msgpack.decode(body, type=_ClusterState1))
    verdicts = msgspec.msgpack.decode(waiting[0], type=tuple[SessionVerdict, ...]) if waiting is not None else ()
    _put_all(connection, "verdict", ((it.session_id, _encode(it)) for it in verdicts))


def _put_cluster(connection: sqlite3.Connection, name: str, state: _ClusterState1) -> None:
    engine = state.engine
    known = Known(
        server_major=engine.server_major,
        logs_ready=engine.logs_ready,
        validated_since=engine.validated_since,
        received_since=engine.received_since,
    )
    _put_all(connection, "cluster", [(name, _encode(state.positions), _encode(known))])
    for session in engine.open:
        session.settling_since = engine.settling.get(str(key_of(session)))
    _put_all(connection, "session", ((name, key_of(it), _encode(it)) for it in engine.open))
    silenced = ((name, key, place, it.value) for place, (key, it) in enumerate(engine.decided_by_silence))
    _put_all(connection, "silenced", silenced)


def _put_all(connection: sqlite3.Connection, table: str, rows: Iterable[tuple[object, ...]]) -> None:
    for row in rows:
        places = ", ".join("?" * len(row))
        connection.execute(f"INSERT OR REPLACE INTO {table} VALUES ({places})", row)  # noqa: S608 - our own names


STEPS: tuple[Callable[[sqlite3.Connection], None], ...] = (_from_1,)
"""The first leads from version 1 to 2, and so on."""
