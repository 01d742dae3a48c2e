from __future__ import annotations

import asyncio
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
import pytest

from pgoauthd.correlation.engine import EngineState
from pgoauthd.correlation.session import Session
from pgoauthd.errors import StateError
from pgoauthd.runtime.statefile import APPLICATION_ID, keep_aside
from pgoauthd.runtime.stateschema import VERSION
from pgoauthd.runtime.store import ClusterState, Saved
from tests.fix_events import START, received, session_id, verdict
from tests.fix_outcomes import outcome
from tests.runtime.fix_state import ATTEMPTS, ENGINE, POSITION, changes, numbered, reading, state_at, writing

HOLDER = """
import sys
from pathlib import Path
from pgoauthd.runtime.store import Store
with Store(Path(sys.argv[1]), Path(sys.argv[2])):
    print("open", flush=True)
    sys.stdin.read()
"""

SESSIONS = tuple(
    Session(pid=pid, session_id=session_id(pid), first_seen=START, received=received(pid=pid)) for pid in range(1, 60)
)
HELD = ClusterState(positions=(POSITION,), engine=msgspec.structs.replace(ENGINE, open=SESSIONS))


@contextmanager
def held_by_another_process(directory: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLDER, str(directory / "state.db"), str(directory / "verdicts")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        try:
            yield holder
        finally:
            holder.kill()


def test_a_second_process_is_refused_and_may_open_it_when_the_first_was_killed(tmp_path: Path) -> None:
    with held_by_another_process(tmp_path) as holder:
        with pytest.raises(StateError, match=r"state\.db: another pgoauthd uses this state; stop it"):
            state_at(tmp_path)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with state_at(tmp_path) as store:
            assert store.kept_aside is None


def test_a_second_daemon_in_the_same_process_is_refused_too(tmp_path: Path) -> None:
    with state_at(tmp_path), pytest.raises(StateError, match="another pgoauthd uses this state"):
        state_at(tmp_path)


def test_others_may_read_while_a_daemon_has_it(tmp_path: Path) -> None:
    with state_at(tmp_path), reading(tmp_path / "state.db") as connection:
        assert connection.execute("SELECT count(*) FROM outcome").fetchone() == (0,)


def test_a_new_state_says_what_it_is_and_can_shrink(tmp_path: Path) -> None:
    with state_at(tmp_path):
        pass
    with reading(tmp_path / "state.db") as connection:
        facts = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("application_id", "user_version", "auto_vacuum", "journal_mode")
        }
    assert facts == {
        "application_id": APPLICATION_ID,
        "user_version": VERSION,
        "auto_vacuum": 2,  # INCREMENTAL
        "journal_mode": "wal",
    }


def test_an_empty_file_is_a_new_state(tmp_path: Path) -> None:
    (tmp_path / "state.db").touch()
    with state_at(tmp_path) as store:
        assert (store.saved.clusters, store.kept_aside) == ({}, None)


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"no/state\.db: the state cannot be opened \(No such file"):
        state_at(tmp_path / "no")


@pytest.mark.parametrize("ending", ["", "-lock"])
def test_a_symlink_is_not_followed(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"state.db{ending}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateError, match="cannot be opened"):
        state_at(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def foreign_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("CREATE TABLE theirs (words TEXT); INSERT INTO theirs VALUES ('dear')")


@pytest.mark.parametrize("starts", [1, 3], ids=["once", "however often it is tried"])
@pytest.mark.parametrize("known", [False, True], ids=["at the first start", "in the place of a state"])
def test_a_database_of_somebody_else_is_refused_and_not_touched(tmp_path: Path, starts: int, known: bool) -> None:
    path = tmp_path / "state.db"
    if known:
        with state_at(tmp_path):
            pass
        path.unlink()
    foreign_database(path)
    before = path.read_bytes()
    for _ in range(starts):
        with pytest.raises(StateError, match=r"state\.db: is a database, but no state of pgoauthd; give state\.path"):
            state_at(tmp_path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("starts", [1, 3], ids=["once", "however often it is tried"])
@pytest.mark.parametrize("content", [b"dear diary, " * 500, b"short", bytes(5000)], ids=["text", "short", "zeros"])
def test_a_file_that_is_no_database_is_refused_and_not_touched(tmp_path: Path, starts: int, content: bytes) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(content)
    for _ in range(starts):
        with pytest.raises(StateError, match=r"state\.db: is not a state file of pgoauthd .*give state\.path another"):
            state_at(tmp_path)
    assert path.read_bytes() == content


def test_a_state_of_a_newer_version_is_kept_aside_as_it_is_and_named(tmp_path: Path) -> None:
    content = whole_state(tmp_path)
    path = tmp_path / "state.db"
    with writing(path) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    content = path.read_bytes()
    with state_at(tmp_path) as store:
        assert store.kept_aside is not None
        assert store.kept_aside.name.startswith("state.db.newer-2")
        assert store.kept_aside.read_bytes() == content
        assert store.why_kept_aside == f"state version {VERSION + 1}, this pgoauthd knows {VERSION}"
        assert store.saved.clusters == {}


def test_a_state_that_was_damaged_more_than_once_in_a_second_is_kept_each_time(tmp_path: Path) -> None:
    path, kept = tmp_path / "state.db", set()
    for number in range(3):
        path.write_bytes(b"%d" % number)
        Path(f"{path}-wal").write_bytes(b"log %d" % number)
        aside = keep_aside(path, "damaged", START)
        assert Path(f"{aside}-wal").read_bytes() == b"log " + aside.read_bytes()
        kept.add((aside.name, aside.read_bytes()))
    assert kept == {
        ("state.db.damaged-20261122T011320Z", b"0"),
        ("state.db.damaged-20261122T011320Z-2", b"1"),
        ("state.db.damaged-20261122T011320Z-3", b"2"),
    }
    assert not path.exists()


async def fill(directory: Path) -> None:
    with state_at(directory) as store:
        decided = numbered(store, *(outcome(pid=pid) for pid in range(60)))
        verdicts = [verdict(pid=pid) for pid in range(1, 40)]
        await store.save(changes(HELD.engine, verdicts=verdicts, added={ATTEMPTS: 3}, outcomes=decided))
        store.mark_clean()


def whole_state(directory: Path) -> bytes:
    """A state that was closed in order."""
    asyncio.run(fill(directory))
    return (directory / "state.db").read_bytes()


def is_whole(saved: Saved) -> bool:
    return (
        {name: sorted_open(state) for name, state in saved.clusters.items()} == {"main": sorted_open(HELD)}
        and sorted(it.pid for it in saved.verdicts) == [*range(1, 40)]
        and saved.counters.added == {ATTEMPTS: 3}
        and saved.clean
    )


def sorted_open(state: ClusterState) -> tuple[object, ...]:
    engine = state.engine
    silenced = sorted(engine.silenced, key=lambda it: it.place)
    return state.positions, sorted(engine.open, key=lambda it: it.pid), silenced, engine.known


def opened(directory: Path, content: bytes) -> tuple[Saved, bytes | None]:
    """What is left of a state whose file has come to this content: as it was read, and as it was kept aside."""
    path = directory / "state.db"
    for leftover in directory.glob("state.db*"):
        if leftover.name != "state.db-lock":
            leftover.unlink()
    path.write_bytes(content)
    with state_at(directory) as store:
        return store.saved, None if store.kept_aside is None else store.kept_aside.read_bytes()


def is_empty(saved: Saved) -> bool:
    return (saved.clusters, saved.verdicts, saved.counters) == ({}, (), EMPTY_COUNTERS)


EMPTY_COUNTERS: tuple[dict[object, float], dict[object, float]] = ({}, {})


def test_a_state_that_is_cut_off_anywhere_is_kept_aside_whole_or_lacks_nothing(tmp_path: Path) -> None:
    content = whole_state(tmp_path)
    lengths = {15, 16, 99, 100, 511, 512, 1023, *range(4096, len(content), 4096), *range(3, len(content), 6131)}
    for length in sorted(lengths):
        saved, aside = opened(tmp_path, content[:length])
        if length > len(content) - 4096 and aside is None:  # the last page may be empty for the most part
            assert is_whole(saved), length
        else:
            assert aside == content[:length], length
            assert is_empty(saved)


@pytest.mark.parametrize("damage", ["zeros", "noise"])
def test_a_state_with_a_damaged_page_has_all_that_it_held_or_is_kept_aside_whole(tmp_path: Path, damage: str) -> None:
    content = whole_state(tmp_path)
    pages = len(content) // 4096
    assert pages > 12
    chance = random.Random(1)  # noqa: S311 - to be the same each time
    kept = 0
    for page in range(pages):
        other = bytes(4096) if damage == "zeros" else chance.randbytes(4096)
        damaged = content[: page * 4096] + other + content[(page + 1) * 4096 :]
        saved, aside = opened(tmp_path, damaged)
        if aside is None:
            assert is_whole(saved), page
        else:
            assert aside == damaged, page
            assert is_empty(saved)
            kept += 1
    assert kept > pages // 3


INDEX_LEAF = 0x0A
"""Type of the pages that hold the rows of tables without rowids."""


def test_a_page_that_lacks_a_row_is_noticed(tmp_path: Path) -> None:
    content = whole_state(tmp_path)
    kept = 0
    for start in range(4096, len(content), 4096):
        count = int.from_bytes(content[start + 3 : start + 5], "big")
        if content[start] != INDEX_LEAF or not count:
            continue
        damaged = content[: start + 3] + (count - 1).to_bytes(2, "big") + content[start + 5 :]
        saved, aside = opened(tmp_path, damaged)
        if aside is None:
            assert is_whole(saved), start
        else:
            assert aside == damaged
            kept += 1
    assert kept > 5


def test_a_state_of_which_any_bit_is_wrong_opens_with_what_it_held_or_is_kept_aside_whole(tmp_path: Path) -> None:
    content = whole_state(tmp_path)
    chance = random.Random(2)  # noqa: S311
    places = [*range(100), *(chance.randrange(100, len(content)) for _ in range(80))]
    kept = 0
    for place in places:
        flipped = bytes([content[place] ^ 1 << chance.randrange(8)])
        damaged = content[:place] + flipped + content[place + 1 :]
        saved, aside = opened(tmp_path, damaged)
        if aside is None:
            assert not is_empty(saved), place
        else:
            assert aside == damaged, place
            kept += 1
    assert kept > 10


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE cluster SET positions = x'c1'",
        "UPDATE cluster SET engine = 'text'",
        "UPDATE cluster SET engine = 5",
        "UPDATE session SET body = x'c1'",
        "UPDATE session SET body = cast(body AS TEXT)",
        "UPDATE verdict SET body = x'80'",
        "UPDATE silenced SET state = 'unheard of'",
        "UPDATE counter SET labels = 'main'",
        "UPDATE counter SET labels = cast(x'fffe' AS TEXT)",
        "UPDATE head SET body = 'many' WHERE name = 'verdicts'",
        "DROP TABLE head",
        "DROP TABLE counter",
        "DROP TABLE outcome",
        "ALTER TABLE session RENAME COLUMN body TO content",
        "PRAGMA user_version = 0",
        "PRAGMA user_version = 1",
        "PRAGMA user_version = -5",
    ],
)
def test_a_state_that_is_not_as_it_was_written_is_kept_aside_with_a_reason(tmp_path: Path, damage: str) -> None:
    whole_state(tmp_path)
    with writing(tmp_path / "state.db") as connection:
        connection.execute(damage)
    with state_at(tmp_path) as store:
        assert is_empty(store.saved)
        assert store.kept_aside is not None
        assert store.why_kept_aside
    with closing(sqlite3.connect(store.kept_aside)) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] > 5


async def test_a_state_of_which_a_save_finds_damage_is_kept_aside_at_the_next_start(tmp_path: Path) -> None:
    await fill(tmp_path)
    path = tmp_path / "state.db"
    with reading(path) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'outcome_time'").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)
    with state_at(tmp_path) as store:
        assert is_whole(store.saved)
        with pytest.raises(StateError, match="malformed"):
            await store.save(changes(outcomes=numbered(store, outcome())))
    with state_at(tmp_path) as store:
        assert store.kept_aside is not None
        await store.save(changes(outcomes=numbered(store, outcome())))
    with state_at(tmp_path) as store:
        assert store.kept_aside is None


async def test_what_a_killed_daemon_has_saved_is_there_whole_though_it_never_closed_the_file(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    with state_at(first) as store:
        await store.save(changes(HELD.engine, verdicts=[verdict()], outcomes=numbered(store, outcome())))
        shutil.copytree(first, second, dirs_exist_ok=True)  # as it lies there now
    assert (second / "state.db-wal").stat().st_size > 0
    with state_at(second) as store:
        assert sorted_open(store.saved.clusters["main"]) == sorted_open(HELD)
        assert store.saved.clean is False


async def test_a_last_save_that_a_power_failure_has_torn_leaves_the_one_before(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    with state_at(first) as store:
        await store.save(changes(ENGINE))
        size = (first / "state.db-wal").stat().st_size
        await store.save(changes(EngineState(open=SESSIONS)))
        content = {name: (first / name).read_bytes() for name in ("state.db", "state.db-wal", "state.db-lock")}
    whole = content["state.db-wal"]
    for length in range(size, len(whole), 1500):
        for name in ("state.db", "state.db-lock"):
            (second / name).write_bytes(content[name])
        (second / "state.db-wal").write_bytes(whole[:length])
        (second / "state.db-shm").unlink(missing_ok=True)
        with state_at(second) as store:
            assert store.kept_aside is None
            assert store.saved.clusters["main"].engine == ENGINE, length
