"""Makes states: what a save takes, and whatever else has the file open beside the daemon."""

from __future__ import annotations

import contextlib
import resource
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from pgoauthd.correlation.engine import EngineChanges, EngineState, Known, Silenced
from pgoauthd.correlation.outcome import Outcome
from pgoauthd.correlation.session import Session, State
from pgoauthd.correlation.verdicts import SessionVerdict, VerdictChanges
from pgoauthd.logs.position import Fingerprint, Position
from pgoauthd.logs.readers import LogFormat
from pgoauthd.runtime.staterows import ClusterChanges, StateChanges
from pgoauthd.runtime.store import ClusterState, Store
from pgoauthd.telemetry.ledger import Entries, Series
from tests.fix_events import received, session_id

POSITION = Position(
    path="/log/a.json",
    device=1,
    inode=2,
    fingerprint=Fingerprint.of(b"{"),
    offset=10,
    size=20,
    log_format=LogFormat.JSONLOG,
)
KNOWN = Known(server_major=18, logs_ready=True, validated_since=2.5, received_since=1.0)
SESSION = Session(
    pid=7,
    session_id=session_id(7),
    state=State.AUTHORIZED,
    started=1.5,
    first_seen=2.0,
    settling_since=3.0,
    received=received(pid=7),
)
SILENCED = (Silenced(9, 1, State.ABANDONED), Silenced(session_id(8), 2, State.SUCCEEDED))
ENGINE = EngineState(open=(SESSION,), silenced=SILENCED, known=KNOWN)
CLUSTER = ClusterState(positions=(POSITION,), engine=ENGINE)
ATTEMPTS: Series = ("login_attempts", ("main", "oauth", "success", "done", "ok"))


def state_at(directory: Path, *, patience_seconds: float = 10.0) -> Store:
    """The state of a test, as the daemon opens it."""
    return Store(directory / "state.db", directory / "verdicts", patience_seconds=patience_seconds)


def changes(
    engine: EngineState | EngineChanges | None = None,
    *,
    cluster: str = "main",
    positions: tuple[Position, ...] = (POSITION,),
    verdicts: Sequence[SessionVerdict] = (),
    decided: tuple[str, ...] = (),
    up_to: int = 0,
    added: dict[Series, float] | None = None,
    put: dict[Series, float] | None = None,
    outcomes: Sequence[Outcome] = (),
) -> StateChanges:
    """What a save takes; `decided`: the session ids whose verdicts wait no more."""
    if isinstance(engine, EngineState):
        engine = EngineChanges(open=engine.open, silenced=engine.silenced, known=engine.known)
    return StateChanges(
        clusters={cluster: ClusterChanges(positions, engine)} if engine is not None else {},
        verdicts=VerdictChanges(added=tuple(verdicts), gone=decided),
        verdicts_up_to=up_to,
        counters=Entries(added or {}, put or {}),
        outcomes=outcomes,
    )


def numbered(store: Store, *outcomes: Outcome) -> list[Outcome]:
    """Each with the next id, as the daemon gives them out."""
    return [msgspec.structs.replace(one, id=store.next_id()) for one in outcomes]


def rows_in(path: Path, table: str) -> int:
    """How many rows one of the tables has, as another process sees them."""
    with reading(path) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - a test's own name


def ids_in(path: Path) -> list[int]:
    """Of the outcomes committed by now, as another process sees them."""
    with reading(path) as connection:
        return [one for (one,) in connection.execute("SELECT id FROM outcome ORDER BY id")]


def modes_in(directory: Path) -> dict[str, int]:
    """The permissions of each file."""
    return {child.name: child.stat().st_mode & 0o777 for child in directory.iterdir()}


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that only reads."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)) as connection:
        yield connection


@contextlib.contextmanager
def hanging_disk(path: Path) -> Iterator[None]:
    """Nothing is written to the state inside the block; what began to be written goes on after it."""
    with writing(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


@contextlib.contextmanager
def failing_disk(path: Path, table: str = "head") -> Iterator[None]:
    """Whatever is written to one of the tables fails inside the block."""
    with writing(path) as connection:
        connection.execute(f"CREATE TRIGGER full BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'disk full'); END")
        yield
        connection.execute("DROP TRIGGER full")


@contextlib.contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection beside the daemon's."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


@contextlib.contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """A write beyond so many bytes of any file comes out short, or fails, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
