"""A state of version 1: one row a cluster, one row for all verdicts."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pgoauthd.correlation.engine import Engine, Known, Silenced
from pgoauthd.correlation.outcome import Result
from pgoauthd.correlation.session import Session, State
from pgoauthd.correlation.verdicts import SessionVerdict, Verdicts
from pgoauthd.errors import StateError
from pgoauthd.runtime.stateschema import VERSION
from tests.fix_events import PID, START, authenticated, authorized, received, session_id, verdict
from tests.fix_outcomes import outcome
from tests.runtime.fix_state import POSITION, changes, files_no_larger_than, ids_in, numbered, state_at, writing

SETTLING = Session(
    pid=PID,
    session_id=session_id(),
    state=State.AUTHORIZED,
    started=START,
    first_seen=START,
    received=received(),
    authenticated=authenticated(),
    authorized=authorized(),
)
WITHOUT_ID = Session(pid=12, session_id=None, state=State.AUTHORIZED, first_seen=START + 1)
BEGUN = Session(pid=13, session_id=session_id(13), state=State.RECEIVED, first_seen=START + 2)
ENGINE_1: dict[str, Any] = {
    "open": [SETTLING, WITHOUT_ID, BEGUN],
    "settling": {session_id(): START + 3, "12": START + 4},
    "decided_by_silence": [["6b02415c.ff", State.SUCCEEDED], [9, State.ABANDONED], ["6b02415c.8", State.REFUSED]],
    "server_major": 18,
    "logs_ready": False,
    "validated_since": START - 10,
    "received_since": START - 20,
}


def version_1(path: Path, *, verdicts: bytes | None = None, sessions: int = 0) -> None:
    """As the code of version 1 has written it."""
    clusters = {
        "main": {"positions": [POSITION], "engine": ENGINE_1 | {"open": [*ENGINE_1["open"], *many(sessions)]}},
        "empty": {"positions": [], "engine": {"open": []}},
    }
    waiting = msgspec.msgpack.encode([verdict(), verdict(pid=13)]) if verdicts is None else verdicts
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("""
            PRAGMA journal_mode = WAL;
            CREATE TABLE cluster (name TEXT PRIMARY KEY, body BLOB NOT NULL);
            CREATE TABLE verdicts (id INTEGER PRIMARY KEY CHECK (id = 1), body BLOB NOT NULL);
            PRAGMA user_version = 1;
        """)
        rows = [(name, msgspec.msgpack.encode(state)) for name, state in clusters.items()]
        connection.executemany("INSERT INTO cluster VALUES (?, ?)", rows)
        connection.execute("INSERT INTO verdicts VALUES (1, ?)", (waiting,))
        connection.commit()


def many(count: int) -> list[Session]:
    return [Session(pid=pid, session_id=session_id(pid), received=received(pid=pid)) for pid in range(100, 100 + count)]


def rows_of_version_1(path: Path) -> tuple[object, ...]:
    with closing(sqlite3.connect(path)) as connection:
        return (
            connection.execute("PRAGMA user_version").fetchone(),
            connection.execute("SELECT name, body FROM cluster ORDER BY name").fetchall(),
            connection.execute("SELECT id, body FROM verdicts").fetchall(),
            sorted(name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")),
        )


def test_all_that_a_state_of_version_1_held_is_there(tmp_path: Path) -> None:
    version_1(tmp_path / "state.db")
    with state_at(tmp_path) as store:
        saved = store.saved
        assert store.kept_aside is None
    main = saved.clusters["main"]
    assert main.positions == (POSITION,)
    assert main.engine.known == Known(
        server_major=18, logs_ready=False, validated_since=START - 10, received_since=START - 20
    )
    assert {it.pid: it.settling_since for it in main.engine.open} == {PID: START + 3, 12: START + 4, 13: None}
    assert next(it.received for it in main.engine.open if it.pid == PID) == received()
    assert sorted(main.engine.silenced, key=lambda it: it.place) == [
        Silenced("6b02415c.ff", 0, State.SUCCEEDED),
        Silenced(9, 1, State.ABANDONED),
        Silenced("6b02415c.8", 2, State.REFUSED),
    ]
    assert {it.pid: it for it in saved.verdicts} == {PID: verdict(), 13: verdict(pid=13)}
    assert saved.clusters["empty"].positions == ()
    assert (saved.clean, saved.verdicts_lost) == (True, False)


def test_an_engine_goes_on_from_it_as_the_old_one_would_have(tmp_path: Path) -> None:
    version_1(tmp_path / "state.db")
    with state_at(tmp_path) as store:
        engine = Engine("main", Verdicts(max_age=90), state=store.saved.clusters["main"].engine)
    assert [(it.pid, it.result) for it in engine.advance(START + 9.5)] == [
        (PID, Result.SUCCESS),
        (12, Result.SUCCESS),
    ]


def test_it_can_shrink_afterwards_and_is_of_the_present_version(tmp_path: Path) -> None:
    version_1(tmp_path / "state.db")
    with state_at(tmp_path):
        pass
    with writing(tmp_path / "state.db") as connection:
        assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_it_is_brought_up_to_date_once_and_what_is_saved_then_stays(tmp_path: Path) -> None:
    version_1(tmp_path / "state.db")
    with state_at(tmp_path) as store:
        await store.save(changes(decided=(session_id(),), outcomes=numbered(store, outcome())))
    with state_at(tmp_path) as store:
        assert store.saved.verdicts == (verdict(pid=13),)
        assert len(store.saved.clusters["main"].engine.open) == 3
    assert ids_in(tmp_path / "state.db") == [1]


def test_a_state_without_a_row_of_verdicts_has_none(tmp_path: Path) -> None:
    version_1(tmp_path / "state.db")
    with writing(tmp_path / "state.db") as connection:
        connection.execute("DELETE FROM verdicts")
    with state_at(tmp_path) as store:
        assert store.saved.verdicts == ()
        assert len(store.saved.clusters) == 2


@pytest.mark.parametrize(
    "verdicts", [b"\xc1", msgspec.msgpack.encode(["no verdict"])], ids=["broken", "of another kind"]
)
def test_a_step_that_fails_in_the_middle_leaves_version_1_whole(tmp_path: Path, verdicts: bytes) -> None:
    path = tmp_path / "state.db"
    version_1(path, verdicts=verdicts)
    before = rows_of_version_1(path)
    with pytest.raises(StateError, match="is not a state file"):
        state_at(tmp_path)
    assert rows_of_version_1(path) == before


def test_a_disk_that_is_full_in_the_middle_leaves_version_1_whole_for_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    version_1(path, sessions=3_000)
    before = rows_of_version_1(path)
    with (
        files_no_larger_than(path.stat().st_size // 2),
        pytest.raises(StateError, match=r"state\.db: the state cannot be opened"),
    ):
        state_at(tmp_path)
    assert rows_of_version_1(path) == before
    with state_at(tmp_path) as store:
        assert len(store.saved.clusters["main"].engine.open) == 3_003


def test_verdicts_of_version_1_are_decoded_as_they_were(tmp_path: Path) -> None:
    given = [msgspec.structs.replace(verdict(pid=pid), usermap="people", delegated=True) for pid in range(1, 4)]
    version_1(tmp_path / "state.db", verdicts=msgspec.msgpack.encode(given))
    with state_at(tmp_path) as store:
        found: tuple[SessionVerdict, ...] = store.saved.verdicts
    assert sorted(found, key=lambda it: it.pid) == given
