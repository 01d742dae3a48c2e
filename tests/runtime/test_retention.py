from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from pgoauthd.runtime.retention import BATCH, MAX_BATCHES, SPARE_SHARE, Retention, tidy
from pgoauthd.runtime.statefile import open_state

NOW = 1_000_000.0
ALWAYS, ANY_SIZE = float("inf"), 1 << 62
OTHERS = ("head", "cluster", "session", "silenced", "verdict", "counter")


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A new state, with a row in each table that is none of the history."""
    connection = open_state(tmp_path / "state.db")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("INSERT INTO head VALUES ('clean', '1')")
    connection.execute("INSERT INTO cluster VALUES ('main', x'', x'')")
    connection.execute("INSERT INTO session VALUES ('main', 'a.1', x'')")
    connection.execute("INSERT INTO silenced VALUES ('main', 'a.2', 1, 'refused')")
    connection.execute("INSERT INTO verdict VALUES ('a.1', x'')")
    connection.execute("INSERT INTO counter VALUES ('log_rotations', '[\"main\"]', 7)")
    yield connection
    connection.close()


def fill(connection: sqlite3.Connection, count: int, *, size: int = 10, first_age: float | None = None) -> None:
    """So many outcomes, a second apart, the newest of now."""
    oldest = NOW - (count - 1 if first_age is None else first_age)
    rows = ((oldest + place, b"x" * size) for place in range(count))
    connection.execute("BEGIN")
    connection.executemany(
        "INSERT INTO outcome (time, cluster, result, reason, method, body) VALUES (?, 'main', '', '', '', ?)", rows
    )
    connection.execute("COMMIT")


def ids(connection: sqlite3.Connection) -> list[int]:
    return [one for (one,) in connection.execute("SELECT id FROM outcome ORDER BY id")]


def others(connection: sqlite3.Connection) -> list[object]:
    return [connection.execute(f"SELECT * FROM {table}").fetchall() for table in OTHERS]  # noqa: S608 - our own names


def test_what_is_older_than_is_kept_is_deleted_and_nothing_younger(connection: sqlite3.Connection) -> None:
    fill(connection, 100)
    tidied = tidy(connection, Retention(10.0, ANY_SIZE), NOW)
    assert (tidied.for_age, tidied.for_size) == (89, 0)
    assert ids(connection) == [*range(90, 101)]


def test_an_outcome_of_a_log_read_late_goes_by_its_own_time(connection: sqlite3.Connection) -> None:
    fill(connection, 5)
    fill(connection, 3, first_age=500.0)
    assert tidy(connection, Retention(100.0, ANY_SIZE), NOW).for_age == 3
    assert ids(connection) == [1, 2, 3, 4, 5]


def test_what_is_too_much_is_deleted_the_oldest_first_until_there_is_room(connection: sqlite3.Connection) -> None:
    fill(connection, 10_000, size=500)
    before = tidy(connection, Retention(ALWAYS, ANY_SIZE), NOW)
    limit = before.used_bytes // 2
    tidied = tidy(connection, Retention(ALWAYS, limit), NOW)
    assert (tidied.for_age, tidied.for_size % BATCH) == (0, 0)
    assert ids(connection) == [*range(tidied.for_size + 1, 10_001)]
    assert limit / 2 < tidied.used_bytes <= limit * (1 - SPARE_SHARE)


def test_where_there_is_room_nothing_is_deleted(connection: sqlite3.Connection) -> None:
    fill(connection, 1_000)
    used = tidy(connection, Retention(ALWAYS, ANY_SIZE), NOW).used_bytes
    assert tidy(connection, Retention(ALWAYS, used), NOW) == (0, 0, used)
    assert len(ids(connection)) == 1_000


@pytest.mark.parametrize("retention", [Retention(0.0, ANY_SIZE), Retention(ALWAYS, 0)], ids=["age", "size"])
def test_nothing_but_the_history_is_deleted_whatever_is_allowed(
    connection: sqlite3.Connection, retention: Retention
) -> None:
    fill(connection, 3 * BATCH)
    before = others(connection)
    tidy(connection, retention, NOW + 1)
    assert ids(connection) == []
    assert others(connection) == before
    assert all(before)


@pytest.mark.parametrize("retention", [Retention(0.0, ANY_SIZE), Retention(ALWAYS, 0)], ids=["age", "size"])
def test_so_many_are_deleted_at_once_and_the_rest_the_next_time(
    connection: sqlite3.Connection, retention: Retention
) -> None:
    fill(connection, BATCH * MAX_BATCHES + 1, size=1)
    changed: list[int] = []
    connection.set_trace_callback(lambda _: changed.append(connection.total_changes))
    first = tidy(connection, retention, NOW + 1)
    connection.set_trace_callback(None)
    assert sum(first[:2]) == BATCH * MAX_BATCHES
    assert max(later - before for before, later in pairwise(changed)) == BATCH
    assert sum(tidy(connection, retention, NOW + 1)[:2]) == 1
    assert tidy(connection, retention, NOW + 1)[:2] == (0, 0)


def test_the_oldest_of_all_that_are_too_old_go_first(connection: sqlite3.Connection) -> None:
    fill(connection, BATCH * MAX_BATCHES + 10, size=1)
    tidy(connection, Retention(0.0, ANY_SIZE), NOW + 1)
    assert ids(connection) == [*range(BATCH * MAX_BATCHES + 1, BATCH * MAX_BATCHES + 11)]


def test_the_file_shrinks_with_what_is_deleted(connection: sqlite3.Connection, tmp_path: Path) -> None:
    fill(connection, 3_000, size=1_000)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    before, used = (tmp_path / "state.db").stat().st_size, tidy(connection, Retention(ALWAYS, ANY_SIZE), NOW).used_bytes
    tidied = tidy(connection, Retention(100.0, ANY_SIZE), NOW)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert tidied.used_bytes < used / 5
    assert (tmp_path / "state.db").stat().st_size < before / 2


def test_what_is_in_use_is_the_file_without_its_free_pages(connection: sqlite3.Connection, tmp_path: Path) -> None:
    fill(connection, 1_000)
    used = tidy(connection, Retention(ALWAYS, ANY_SIZE), NOW).used_bytes
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert used == (tmp_path / "state.db").stat().st_size
    connection.execute("DELETE FROM outcome")
    assert tidy(connection, Retention(ALWAYS, ANY_SIZE), NOW).used_bytes < used / 2
