from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import msgspec
import pytest

from pgoauthd.correlation.engine import EngineState
from pgoauthd.correlation.session import Session, State
from pgoauthd.errors import StateError
from pgoauthd.logs.position import Fingerprint, Position
from pgoauthd.logs.readers import LogFormat
from pgoauthd.runtime.store import SCHEMA, ClusterState, Store
from tests.fix_events import authenticated, received, verdict

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


@pytest.mark.parametrize("number", [2**64, 10**30])
async def test_a_number_too_large_for_the_file_is_a_state_error_and_the_last_state_stays(
    tmp_path: Path, number: int
) -> None:
    unwritable = ClusterState(engine=EngineState(open=(Session(pid=number, session_id="1.1"),)))
    with Store(tmp_path / "state.db") as store:
        store.save(SAVED, (verdict(),))
        with pytest.raises(StateError, match="could not be saved"):
            store.save({"main": unwritable}, ())
        with pytest.raises(StateError, match="could not be saved"):
            await store.save_gently({"main": unwritable}, ())
        with pytest.raises(StateError, match="could not be saved"):
            await store.save_gently({}, (msgspec.structs.replace(verdict(), pid=number),))
        assert store.load() == (SAVED, (verdict(),))
        store.save({"main": ClusterState()}, ())
        assert store.load() == ({"main": ClusterState()}, ())


def test_a_text_that_is_no_unicode_is_a_state_error_without_the_text(tmp_path: Path) -> None:
    broken = msgspec.structs.replace(verdict(), role="hidden\udc80")
    with Store(tmp_path / "state.db") as store:
        with pytest.raises(StateError, match="could not be saved") as caught:
            store.save(SAVED, (broken,))
        assert "hidden" not in str(caught.value)
        assert store.load() == ({}, ())


async def test_a_gentle_save_is_as_good_as_any(tmp_path: Path) -> None:
    sessions = tuple(Session(pid=pid, session_id=None, received=received(pid=pid)) for pid in range(1_234))
    verdicts = tuple(verdict(pid=pid) for pid in range(1_001))
    state = {"main": ClusterState(positions=(POSITION,), engine=EngineState(open=sessions)), "other": SAVED["main"]}
    with Store(tmp_path / "state.db") as store:
        await store.save_gently(state, verdicts)
        assert store.load() == (state, verdicts)
        await store.save_gently({"main": ClusterState()}, ())
        assert store.load() == ({"main": ClusterState(), "other": SAVED["main"]}, ())


async def test_a_gentle_save_holds_the_state_of_the_moment_it_began(tmp_path: Path) -> None:
    sessions = tuple(
        Session(pid=pid, session_id=None, state=State.RECEIVED, received=received(pid=pid)) for pid in range(5_000)
    )
    with Store(tmp_path / "state.db") as store:
        saving = asyncio.create_task(store.save_gently({"main": ClusterState(engine=EngineState(open=sessions))}, ()))
        await asyncio.sleep(0)  # it has begun
        for session in sessions:
            session.take(authenticated(pid=session.pid))
        await saving
        saved = store.load()[0]["main"].engine.open
    assert {session.state for session in saved} == {State.RECEIVED}
    assert {session.authenticated for session in saved} == {None}


async def test_others_get_their_turn_while_a_large_state_is_saved(tmp_path: Path) -> None:
    verdicts = tuple(verdict(pid=pid) for pid in range(20_000))
    turns = 0
    with Store(tmp_path / "state.db") as store:
        saving = asyncio.create_task(store.save_gently({}, verdicts))
        while not saving.done():
            await asyncio.sleep(0)
            turns += 1
        await saving
    assert turns > 20


async def test_the_last_save_of_all_is_not_undone_by_one_that_was_under_way(tmp_path: Path) -> None:
    loop, occupied, release = asyncio.get_running_loop(), threading.Event(), threading.Event()

    def occupy() -> None:
        occupied.set()
        release.wait(20)

    workers = [loop.run_in_executor(None, occupy) for _ in range(64)]  # no thread is free for the commit
    with Store(tmp_path / "state.db") as store:
        under_way = asyncio.create_task(store.save_gently({"main": ClusterState()}, ()))
        for _ in range(20):
            await asyncio.sleep(0)  # encoded, and waiting for a thread
        under_way.cancel()
        store.save(SAVED, (verdict(),))
        release.set()
        await asyncio.gather(*workers)
        assert store.load() == (SAVED, (verdict(),))


async def test_a_save_that_comes_after_the_end_does_nothing(tmp_path: Path) -> None:
    with Store(tmp_path / "state.db") as store:
        store.save(SAVED, ())
    await store.save_gently({}, (verdict(),))
    with Store(tmp_path / "state.db") as store:
        assert store.load() == (SAVED, ())
