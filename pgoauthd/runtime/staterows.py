"""The rows of the state file: from values to what SQLite takes, gathered until they are written; never opens a file.

Rows that could not be written wait for the next save, which is laid over them, so nothing is lost by a disk that is
full for a while.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from pgoauthd.correlation import outcome_json
from pgoauthd.correlation.engine import EngineChanges, Known, SessionKey, key_of
from pgoauthd.correlation.outcome import Outcome
from pgoauthd.correlation.verdicts import VerdictChanges
from pgoauthd.logs.position import Position
from pgoauthd.telemetry.ledger import Entries, Series

MAX_UNWRITTEN_OUTCOMES = 20_000
"""Of more, the oldest are left out of the history while the state cannot be saved."""
VERDICTS_IN_STATE = "verdicts"
"""Name in `head`: up to which number the state has all verdicts."""
CLEAN = "clean"
"""Name in `head`: the daemon that wrote this has ended by itself, and with it all that it had to do."""

K = TypeVar("K")
V = TypeVar("V")

_encode = msgspec.msgpack.Encoder().encode
_encode_json = msgspec.json.Encoder().encode

OutcomeRow = tuple[int, float, str, str, str, str, str | None, str | None, str | None, bytes]


class ClusterChanges(NamedTuple):
    """What has changed of one cluster."""

    positions: tuple[Position, ...]
    engine: EngineChanges


class StateChanges(NamedTuple):
    """All that has changed since the last save, as of one moment; immutable, but for the copies of sessions."""

    clusters: Mapping[str, ClusterChanges]
    verdicts: VerdictChanges
    verdicts_up_to: int
    """Every verdict up to this number is in here, or is not waited for any more."""
    counters: Entries
    outcomes: Sequence[Outcome]
    """Each with its id, ascending."""


class Rows:
    """Rows to be written, by primary key where they have one; None where a row is to be deleted."""

    def __init__(self) -> None:
        self.head: dict[str, bytes] = {}
        self.clusters: dict[str, tuple[bytes, bytes]] = {}
        self.sessions: dict[tuple[str, SessionKey], bytes | None] = {}
        self.silenced: dict[tuple[str, SessionKey], tuple[int, str] | None] = {}
        self.verdicts: dict[str, bytes | None] = {}
        self.fresh_sessions: set[tuple[str, SessionKey]] = set()
        self.fresh_silenced: set[tuple[str, SessionKey]] = set()
        self.fresh_verdicts: set[str] = set()
        """Keys of rows that the file does not have: to delete one of them, it is enough not to write it."""
        self.added: dict[Series, float] = {}
        self.put: dict[Series, float] = {}
        self.outcomes: list[OutcomeRow] = []
        self.left_out = 0
        """Outcomes that were too many, or cannot be written."""
        self.problem = ""
        """Why a row cannot be written, where there is one: all else is."""

    def absorb(self, later: Rows) -> None:
        """Lay what changed later over this."""
        self.head |= later.head
        self.clusters |= later.clusters
        _lay(self.sessions, self.fresh_sessions, later.sessions, later.fresh_sessions)
        _lay(self.silenced, self.fresh_silenced, later.silenced, later.fresh_silenced)
        _lay(self.verdicts, self.fresh_verdicts, later.verdicts, later.fresh_verdicts)
        self.put |= later.put
        for series, amount in later.added.items():
            self.added[series] = self.added.get(series, 0.0) + amount
        self.outcomes += later.outcomes
        excess = max(len(self.outcomes) - MAX_UNWRITTEN_OUTCOMES, 0)
        del self.outcomes[:excess]
        self.left_out += excess + later.left_out

    def add(self, changes: StateChanges) -> Iterator[None]:
        """Encode what has changed, with a stop after each piece: all of it at once would hold up an event loop."""
        self.head[CLEAN] = b"0"
        self.head[VERDICTS_IN_STATE] = str(changes.verdicts_up_to).encode()
        for series, amount in changes.counters.added.items():
            self.added[series] = self.added.get(series, 0.0) + amount
        self.put |= changes.counters.put
        for name, (positions, engine) in changes.clusters.items():
            self.clusters[name] = (self._encoded_positions(positions), self._encoded(engine.known) or _encode(Known()))
            yield from self._add_engine(name, engine)
        for verdict in changes.verdicts.added:
            self.verdicts[verdict.session_id] = self._encoded(verdict)
            yield
        self.fresh_verdicts |= changes.verdicts.fresh
        self.verdicts |= dict.fromkeys(changes.verdicts.gone)
        for outcome in changes.outcomes:
            self._add_outcome(outcome)
            yield

    def _add_outcome(self, outcome: Outcome) -> None:
        try:
            self.outcomes.append(_row_of(outcome))
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one outcome, all else is saved
            self.problem = type(error).__name__
            self.left_out += 1

    def _encoded(self, value: object) -> bytes | None:
        try:
            return _encode(value)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one row, all else is saved
            self.problem = type(error).__name__
            return None

    def _encoded_positions(self, positions: Sequence[Position]) -> bytes:
        """Without those that cannot be written, as of a file whose name is no UTF-8."""
        encoded = self._encoded(positions)
        return encoded if encoded is not None else _encode([it for it in positions if self._encoded(it) is not None])

    def _add_engine(self, cluster: str, engine: EngineChanges) -> Iterator[None]:
        for session in engine.open:
            self.sessions[cluster, key_of(session)] = self._encoded(session)
            yield
        self.fresh_sessions |= {(cluster, key) for it in engine.open if (key := key_of(it)) in engine.fresh}
        self.fresh_silenced |= {(cluster, it.key) for it in engine.silenced if it.key in engine.fresh}
        self.sessions |= {(cluster, key): None for key in engine.ended}
        self.silenced |= {(cluster, it.key): (it.place, it.state.value) for it in engine.silenced}
        self.silenced |= {(cluster, key): None for key in engine.forgotten}

    def write(self, connection: sqlite3.Connection) -> None:
        """Write all rows in the transaction that is open."""
        many = connection.executemany
        many("INSERT OR REPLACE INTO head VALUES (?, ?)", self.head.items())
        many("INSERT OR REPLACE INTO cluster VALUES (?, ?, ?)", ((key, *row) for key, row in self.clusters.items()))
        many("DELETE FROM session WHERE cluster = ? AND key = ?", _deleted(self.sessions))
        many(
            "INSERT OR REPLACE INTO session VALUES (?, ?, ?)",
            ((*key, body) for key, body in self.sessions.items() if body is not None),
        )
        many("DELETE FROM silenced WHERE cluster = ? AND key = ?", _deleted(self.silenced))
        many(
            "INSERT OR REPLACE INTO silenced VALUES (?, ?, ?, ?)",
            ((*key, *row) for key, row in self.silenced.items() if row is not None),
        )
        many("DELETE FROM verdict WHERE session_id = ?", ((key,) for key, row in self.verdicts.items() if row is None))
        many(
            "INSERT OR REPLACE INTO verdict VALUES (?, ?)",
            ((key, body) for key, body in self.verdicts.items() if body is not None),
        )
        many(
            "INSERT INTO counter VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = value + excluded.value",
            map(_counter_row, self.added.items()),
        )
        many("INSERT OR REPLACE INTO counter VALUES (?, ?, ?)", map(_counter_row, self.put.items()))
        many("INSERT INTO outcome VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", self.outcomes)


def _lay(rows: dict[K, V | None], fresh: set[K], later: Mapping[K, V | None], later_fresh: set[K]) -> None:
    """Lay later rows over these; what came and went while nothing could be written leaves no trace."""
    for key, row in later.items():
        if row is None and key in fresh:
            del rows[key]
            fresh.discard(key)
            continue
        if key in later_fresh and key not in rows:
            fresh.add(key)
        rows[key] = row


def _deleted(rows: Mapping[tuple[str, SessionKey], object | None]) -> Iterator[tuple[str, SessionKey]]:
    return (key for key, row in rows.items() if row is None)


def _counter_row(entry: tuple[Series, float]) -> tuple[str, bytes, float]:
    (name, labels), value = entry
    return name, _encode_json(labels), value


def _row_of(outcome: Outcome) -> OutcomeRow:
    return (
        outcome.id or 0,
        outcome.time,
        outcome.cluster,
        outcome.result.value,
        outcome.reason.value,
        outcome.method,
        *outcome_json.shown_names(outcome),
        outcome.client_addr,
        outcome_json.encode(outcome),
    )
