from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from pgoauthd.correlation.outcome import Outcome
from pgoauthd.errors import StateError
from pgoauthd.runtime import history as under_test
from pgoauthd.runtime.history import WINDOW, History, Wanted
from pgoauthd.runtime.stateschema import VERSION
from pgoauthd.tokens.reasons import Reason
from tests.fix_history import HistoryFile, history
from tests.fix_outcomes import AT, outcome

SEVERAL = (
    outcome(Reason.OK, role="app", identity="alice@example.org", client_addr="192.0.2.7"),
    outcome(Reason.EXPIRED, role="app_ro", identity="bob@example.org", client_addr="192.0.2.200", cluster="b"),
    outcome(Reason.DISCOVERY, role="[a]?", identity=None, client_addr="2001:db8::7"),
    outcome(Reason.CLIENT_GONE, role=None, identity=None, client_addr="[local]", method="unknown"),
    outcome(Reason.ROLE_MISSING, role="axx", identity="Alice@example.org", client_addr="app.example.org"),
    outcome(Reason.ROLE_MISSING, role="*", identity="o'brien", client_addr=None, method="cert"),
    outcome(Reason.OK, role="x", identity="y", client_addr="fe80::1%eth0"),
    outcome(Reason.OK, role="[a]x", identity="y", client_addr="198.51.100.1"),
)


def kept(path: Path, wanted: Wanted | None = None) -> list[bytes]:
    with History(path) as reader:
        return list(reader.outcomes(wanted or Wanted()))


def ids(lines: list[bytes]) -> list[int]:
    return [json.loads(line)["id"] for line in lines]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def test_outcomes_come_byte_for_byte_and_oldest_first(path: Path) -> None:
    lines = history(path, *SEVERAL)
    assert kept(path) == lines


def test_a_history_without_outcomes_has_none(path: Path) -> None:
    history(path)
    with History(path) as reader:
        assert list(reader.outcomes(Wanted())) == list(reader.outcomes(Wanted(since=0.0))) == []
        assert reader.last(Wanted(), 5) == []
        assert (reader.newest_id(), reader.oldest_time(), reader.newest_time()) == (0, None, None)


def test_ids_may_begin_anywhere(path: Path) -> None:
    with HistoryFile(path) as file:
        lines = file.add(*SEVERAL, first=7_000_000_000)
    assert kept(path) == lines
    with History(path) as reader:
        assert reader.newest_id() == 7_000_000_007


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Wanted(clusters=("b",)), [2]),
        (Wanted(results=("success", "abandoned")), [1, 4, 7, 8]),
        (Wanted(reasons=("role_missing",)), [5, 6]),
        (Wanted(methods=("unknown", "cert")), [4, 6]),
        (Wanted(roles=("app",)), [1]),
        (Wanted(roles=("app*",)), [1, 2]),
        (Wanted(roles=("*",)), [1, 2, 3, 5, 6, 7, 8]),
        (Wanted(roles=("[a]?*",)), [3]),
        (Wanted(roles=("[a]*", "x")), [3, 7, 8]),
        (Wanted(identities=("alice@example.org",)), [1]),
        (Wanted(identities=("*@example.org",)), [1, 2, 5]),
        (Wanted(identities=("o'brien",)), [6]),
        (Wanted(clients=("192.0.2.7",)), [1]),
        (Wanted(clients=("192.0.2.*",)), [1, 2]),
        (Wanted(clients=("192.0.2.0/25",)), [1]),
        (Wanted(clients=("192.0.2.0/24", "[local]")), [1, 2, 4]),
        (Wanted(clients=("0.0.0.0/0",)), [1, 2, 8]),
        (Wanted(clients=("2001:db8::/32",)), [3]),
        (Wanted(clients=("fe80::/10",)), [7]),
        (Wanted(results=("refused",), roles=("app*", "axx"), clusters=("main",)), [5]),
        (Wanted(roles=("' OR 1 --",)), []),
    ],
    ids=str,
)
def test_what_is_wanted_is_found(path: Path, wanted: Wanted, expected: list[int]) -> None:
    history(path, *SEVERAL)
    assert ids(kept(path, wanted)) == expected
    with History(path) as reader:
        assert ids(reader.last(wanted, 10)) == expected
        assert ids(reader.last(wanted, 2)) == expected[-2:]


def test_since_is_inclusive_and_until_exclusive(path: Path) -> None:
    history(path, *(outcome(time=AT + i) for i in range(5)))
    assert ids(kept(path, Wanted(since=AT + 1, until=AT + 3))) == [2, 3]
    assert ids(kept(path, Wanted(since=AT + 3))) == [4, 5]
    assert ids(kept(path, Wanted(until=AT + 1))) == [1]


def disordered(count: int) -> list[Outcome]:
    """Several clusters, whose times rise nearly with the ids, and some lines that come hours late."""
    chance = random.Random(5)  # noqa: S311 - the same disorder each time
    late = (0.0, 0.0, 0.0, -9000.0)
    return [outcome(time=AT + i + chance.uniform(-5, 5) + chance.choice(late), role=f"r{i % 7}") for i in range(count)]


def test_pages_are_complete_where_times_and_ids_disagree(path: Path) -> None:
    outcomes = disordered(2 * WINDOW + 100)
    lines = history(path, *outcomes)
    since, until = AT + 1000, AT + WINDOW + 1500
    expected = [line for one, line in zip(outcomes, lines, strict=True) if since <= one.time < until]
    assert kept(path) == lines
    assert kept(path, Wanted(since=since, until=until)) == expected
    with History(path) as reader:
        assert reader.last(Wanted(since=since, until=until), 3000) == expected[-3000:]
        assert ids(reader.last(Wanted(roles=("r3",)), 500)) == [i for i in range(1, 4101) if (i - 1) % 7 == 3][-500:]


def test_reading_goes_on_after_an_id_and_stops_at_another(path: Path) -> None:
    history(path, *(outcome(time=AT - i) for i in range(9)))
    with History(path) as reader:
        assert ids(list(reader.outcomes(Wanted(), after=3, upto=6))) == [4, 5, 6]
        assert ids(list(reader.outcomes(Wanted(since=AT - 6), after=5))) == [6, 7]
        assert ids(reader.last(Wanted(), 2, upto=6)) == [5, 6]
        assert list(reader.outcomes(Wanted(), after=9)) == []


def test_a_reader_that_rests_does_not_stop_checkpoints(path: Path) -> None:
    with HistoryFile(path) as file:
        lines = file.add(*(outcome() for _ in range(WINDOW + 1)))
        with History(path) as reader:
            reading = reader.outcomes(Wanted())
            assert next(reading) == lines[0]
            busy, left, done = file.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            assert (busy, left, done) == (0, 0, 0)
            assert list(reading) == lines[1:]


def test_outcomes_that_are_deleted_meanwhile_are_left_out(path: Path) -> None:
    with HistoryFile(path) as file:
        file.add(*(outcome() for _ in range(2 * WINDOW + 3)))
        with History(path) as reader:
            reading = reader.outcomes(Wanted())
            next(reading)
            file.connection.execute("DELETE FROM outcome WHERE id <= ?", (2 * WINDOW,))
            assert ids(list(reading))[-4:] == [WINDOW, 2 * WINDOW + 1, 2 * WINDOW + 2, 2 * WINDOW + 3]


def test_what_is_committed_while_a_daemon_writes_is_seen(path: Path) -> None:
    with HistoryFile(path) as file, History(path) as reader:
        assert reader.newest_id() == 0
        (line,) = file.add(outcome())
        assert list(reader.outcomes(Wanted())) == [line]
        file.connection.execute("BEGIN IMMEDIATE")
        file.connection.execute("DELETE FROM outcome")
        assert list(reader.outcomes(Wanted())) == [line]
        file.connection.execute("ROLLBACK")


def test_the_times_of_the_oldest_and_the_newest_are_known(path: Path) -> None:
    history(path, outcome(time=AT), outcome(time=AT - 5), outcome(time=AT - 1))
    with History(path) as reader:
        assert (reader.oldest_time(), reader.newest_time()) == (AT - 5, AT)


def test_the_clusters_of_the_state_are_known(path: Path) -> None:
    HistoryFile(path, clusters=("east", "b")).connection.close()
    with History(path) as reader:
        assert reader.clusters() == ("b", "east")


def test_nothing_can_be_written(path: Path) -> None:
    history(path, outcome())
    with History(path) as reader, pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._connection.execute("DELETE FROM outcome")  # noqa: SLF001 - there is no public way, which is the point


@pytest.mark.parametrize("name", ["a b?mode=rwc", "100%41#x", "ü&cache=shared", os.fsdecode(b"\xff")])
def test_any_name_of_a_file_will_do(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    lines = history(tmp_path / name / "state.db", outcome())
    assert kept(Path(f"/{tmp_path}/{name}/state.db")) == lines


def test_a_file_that_was_put_aside_is_still_read_and_known_as_such(path: Path) -> None:
    lines = history(path, outcome())
    with History(path) as reader:
        assert not reader.is_replaced()
        path.rename(path.with_name("aside"))
        assert not reader.is_replaced(), "nothing has taken its place"
        history(path, outcome(role="new"))
        assert reader.is_replaced()
        assert list(reader.outcomes(Wanted())) == lines


def refusal(path: Path) -> str:
    with pytest.raises(StateError) as caught:
        kept(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


def test_a_missing_file_is_named_with_what_to_do(path: Path) -> None:
    assert "there is no such file; start the daemon" in refusal(path)
    assert not path.exists()


def test_a_file_within_a_file_is_an_error_with_a_name(path: Path) -> None:
    path.touch()
    assert "Not a directory" in refusal(path / "state.db")


def test_a_directory_is_no_state_file(path: Path) -> None:
    path.mkdir()
    assert "is not a file" in refusal(path)


def test_a_pipe_is_no_state_file_and_does_not_hang(path: Path) -> None:
    os.mkfifo(path)
    assert "is not a file" in refusal(path)


@pytest.mark.parametrize("content", [b"", b"hello, this is a text, and no database at all\n" * 100])
def test_a_file_of_something_else_is_no_state_file(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert "is not a state file of pgoauthd" in refusal(path)


@pytest.mark.parametrize("version", [0, VERSION])
def test_another_database_is_no_state_file(path: Path, version: int) -> None:
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE t (x)")
        other.execute(f"PRAGMA user_version = {version}")
    other.close()
    assert "is not a state file of pgoauthd" in refusal(path)


@pytest.mark.parametrize(
    ("version", "remedy"), [(1, "start the daemon of this version"), (VERSION + 1, "newer version")]
)
def test_a_file_of_another_version_says_what_to_do(path: Path, version: int, remedy: str) -> None:
    with HistoryFile(path) as file:
        file.connection.execute(f"PRAGMA user_version = {version}")
    assert remedy in refusal(path)


def test_a_damaged_file_is_called_damaged(path: Path) -> None:
    history(path, *(outcome() for _ in range(100)))
    content = path.read_bytes()
    half = len(content) // 2
    path.write_bytes(content[:half] + b"\xff" * (len(content) - half))
    assert "is damaged" in refusal(path)


def test_a_file_that_another_process_has_to_itself_is_waited_for_and_then_named(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "PATIENCE_SECONDS", 0.05)
    history(path, outcome())
    owner = sqlite3.connect(path, isolation_level=None)
    owner.execute("PRAGMA locking_mode = EXCLUSIVE")
    owner.execute("BEGIN EXCLUSIVE")
    assert "another process has it to itself" in refusal(path)
    owner.close()


ASK = """
import os, sys
from pathlib import Path
from pgoauthd.errors import StateError
from pgoauthd.runtime.history import History
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    History(Path(sys.argv[1]))
except StateError as error:
    print(error)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can read for another user")
def test_what_root_leaves_beside_the_file_belongs_to_the_daemon(path: Path) -> None:
    history(path, outcome())
    os.chown(path, 65534, 65534)
    assert len(kept(path)) == 1
    owners = {found.name: found.stat().st_uid for found in path.parent.iterdir()}
    assert owners == {"state.db": 65534, "state.db-shm": 65534, "state.db-wal": 65534}


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A directory that another user can reach, unlike tmp_path."""
    with TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o755)
        (place / "kept").mkdir(0o755)
        yield place / "kept"
        (place / "kept").chmod(0o755)


@pytest.mark.parametrize("hidden", ["state.db", ""])
def test_whoever_may_not_read_it_learns_who_may(open_place: Path, hidden: str) -> None:
    history(open_place / "state.db", outcome())
    (open_place / hidden).chmod(0)
    command = [sys.executable, "-c", ASK, str(open_place / "state.db")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "only root and the user that the daemon runs as may" in done.stdout, done.stderr
