from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from pgoauthd.correlation.engine import EngineState
from pgoauthd.correlation.session import Session, State
from pgoauthd.errors import StateError
from pgoauthd.logs.position import Fingerprint, Position
from pgoauthd.logs.readers import LogFormat
from pgoauthd.runtime.store import SCHEMA, ClusterState, Store
from tests.fix_events import received, verdict

POSITION = Position(
    path="/log/a.json",
    device=1,
    inode=2,
    fingerprint=Fingerprint.of(b"{"),
    offset=10,
    size=20,
    log_format=LogFormat.JSONLOG,
)
ENGINE = EngineState(
    open=(Session(pid=7, session_id="6b02415c.7", state=State.RECEIVED, started=1.5, received=received(pid=7)),),
    settling={"6b02415c.7": 3.0},
    decided_by_silence=(("6b02415c.8", State.SUCCEEDED), (9, State.ABANDONED)),
    received_since=1.0,
    server_major=18,
    logs_ready=True,
    validated_since=2.5,
)
SAVED = {"main": ClusterState(positions=(POSITION,), engine=ENGINE)}


def test_what_was_saved_is_there_after_a_restart(tmp_path: Path) -> None:
    with Store(tmp_path / "state.db") as store:
        store.save(SAVED, (verdict(),))
    with Store(tmp_path / "state.db") as store:
        assert store.load() == (SAVED, (verdict(),))


def test_a_new_state_is_empty(tmp_path: Path) -> None:
    with Store(tmp_path / "state.db") as store:
        assert store.load() == ({}, ())


def test_the_last_save_wins(tmp_path: Path) -> None:
    with Store(tmp_path / "state.db") as store:
        store.save(SAVED, (verdict(),))
        store.save({"main": ClusterState()}, ())
        assert store.load() == ({"main": ClusterState()}, ())


def test_a_cluster_that_is_not_configured_now_keeps_its_state(tmp_path: Path) -> None:
    with Store(tmp_path / "state.db") as store:
        store.save(SAVED, ())
        store.save({"other": ClusterState()}, ())
        assert store.load()[0] == SAVED | {"other": ClusterState()}


def test_a_second_daemon_on_the_same_state_is_refused(tmp_path: Path) -> None:
    with (
        Store(tmp_path / "state.db"),
        pytest.raises(StateError, match="another pgoauthd uses this state"),
        Store(tmp_path / "state.db"),
    ):
        pass


def test_a_state_of_a_newer_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    connection.close()
    with pytest.raises(StateError, match="newer pgoauthd"), Store(path):
        pass
    assert path.exists()


def test_a_file_that_is_no_state_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(b"not a database, but a text of some length" * 50)
    before = path.read_bytes()
    with pytest.raises(StateError, match="move it aside"), Store(path):
        pass
    assert path.read_bytes() == before


def test_a_damaged_row_is_an_error_and_not_an_empty_state(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with Store(path) as store:
        store.save(SAVED, ())
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE cluster SET body = x'c1'")
    connection.close()
    with Store(path) as store, pytest.raises(StateError, match="damaged"):
        store.load()


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"no/state\.db"), Store(tmp_path / "no" / "state.db"):
        pass


def test_a_save_that_fails_leaves_the_last_state_whole(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with Store(path) as store:
        store.save(SAVED, (verdict(),))
    connection = sqlite3.connect(path)
    connection.execute("CREATE TRIGGER full BEFORE INSERT ON verdicts BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    connection.close()
    with Store(path) as store:
        with pytest.raises(StateError, match="disk full"):
            store.save({"main": ClusterState()}, ())
        assert store.load() == (SAVED, (verdict(),))


def test_the_state_is_nobody_elses_to_read(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with Store(path) as store:
        store.save(SAVED, ())
        modes = {child.name: child.stat().st_mode & 0o777 for child in tmp_path.iterdir()}
    assert set(modes.values()) == {0o600}, modes
