"""A state of version 1 whose migration is killed at each statement: the next start finds all that was in it."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from pgoauthd.correlation.session import Session, State
from pgoauthd.logs.position import Fingerprint, Position
from pgoauthd.runtime.store import Saved, Store
from tests.crash.fix_deaths import INSTRUCTION, STATEMENT
from tests.crash.fix_lives import open_state_and_die
from tests.fix_events import received, session_id, verdict

POSITION = Position(path="/log/a.json", device=1, inode=2, fingerprint=Fingerprint.of(b"{"), offset=10, size=20)
OPEN = [Session(pid=pid, session_id=session_id(pid), received=received(pid=pid)) for pid in range(100, 120)]
ENGINE = {"open": OPEN, "settling": {session_id(100): 3.0}, "decided_by_silence": [[9, State.ABANDONED]]}
STRIDE = {STATEMENT: 4, INSTRUCTION: 400}
"""Each test takes a few steps of them all; the first one differs with the kind."""


def version_1(path: Path) -> None:
    """As the code of version 1 has written it."""
    cluster = msgspec.msgpack.encode({"positions": [POSITION], "engine": ENGINE})
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("""
            PRAGMA journal_mode = WAL;
            CREATE TABLE cluster (name TEXT PRIMARY KEY, body BLOB NOT NULL);
            CREATE TABLE verdicts (id INTEGER PRIMARY KEY CHECK (id = 1), body BLOB NOT NULL);
            PRAGMA user_version = 1;
        """)
        connection.execute("INSERT INTO cluster VALUES ('main', ?)", (cluster,))
        connection.execute("INSERT INTO verdicts VALUES (1, ?)", (msgspec.msgpack.encode([verdict()]),))
        connection.commit()


def opened(path: Path) -> tuple[Saved, int]:
    """What is in the state, and whether it can shrink."""
    with Store(path, Path(f"{path}-verdicts")) as store:
        assert store.kept_aside is None, store.why_kept_aside
        saved = store.saved
    with closing(sqlite3.connect(path)) as connection:
        return saved, connection.execute("PRAGMA auto_vacuum").fetchone()[0]


@pytest.mark.parametrize("kind", STRIDE)
async def test_a_migration_that_is_killed_anywhere_is_made_good_by_the_next_start(tmp_path: Path, kind: str) -> None:
    version_1(tmp_path / "undisturbed")
    expected = opened(tmp_path / "undisturbed")
    step, exits = 1, list[int]()
    while not exits or exits[-1]:
        path = tmp_path / f"state-{step}"
        version_1(path)
        exits.append(await open_state_and_die(path, (kind, step)))
        assert await asyncio.to_thread(opened, path) == expected, step
        step += STRIDE[kind]
    assert exits.count(-signal.SIGKILL) == len(exits) - 1 > 5
