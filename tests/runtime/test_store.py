from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgoauthd.correlation.engine import Engine, EngineChanges, EngineState, SessionKey, key_of
from pgoauthd.correlation.session import Session, State
from pgoauthd.correlation.verdicts import SessionVerdict, Verdicts
from pgoauthd.errors import StateError
from pgoauthd.logs.events import AuthEvent, EventKind
from pgoauthd.runtime.retention import Retention
from pgoauthd.runtime.staterows import MAX_UNWRITTEN_OUTCOMES
from pgoauthd.runtime.store import Store
from pgoauthd.tokens.reasons import Reason
from tests.fix_events import START, authenticated, received, session_id, verdict
from tests.fix_outcomes import outcome
from tests.runtime.fix_state import (
    ATTEMPTS,
    CLUSTER,
    ENGINE,
    POSITION,
    changes,
    failing_disk,
    files_no_larger_than,
    hanging_disk,
    ids_in,
    modes_in,
    numbered,
    reading,
    state_at,
    writing,
)

ALL = Retention(float("inf"), 1 << 62)


async def test_what_was_saved_is_there_after_a_restart(tmp_path: Path) -> None:
    with state_at(tmp_path) as store:
        await store.save(changes(ENGINE, verdicts=[verdict()], added={ATTEMPTS: 3}))
    with state_at(tmp_path) as store:
        assert store.saved.clusters == {"main": CLUSTER}
        assert store.saved.verdicts == (verdict(),)
        assert store.saved.counters.added == {ATTEMPTS: 3}


def test_a_new_state_is_empty_and_its_last_run_has_left_nothing_undone(tmp_path: Path) -> None:
    with state_at(tmp_path) as store:
        saved = store.saved
    assert (saved.clusters, saved.verdicts, saved.verdicts_since, saved.counters) == ({}, (), (), ({}, {}))
    assert (saved.clean, saved.verdicts_lost, store.kept_aside) == (True, False, None)


async def test_what_is_over_is_forgotten_with_the_next_save(tmp_path: Path) -> None:
    with state_at(tmp_path) as store:
        await store.save(changes(ENGINE, verdicts=[verdict()]))
        over = EngineChanges(ended=(session_id(7),), forgotten=(session_id(8), 9), known=ENGINE.known)
        await store.save(changes(over, decided=(session_id(),)))
    with state_at(tmp_path) as store:
        assert store.saved.clusters["main"].engine == EngineState(known=ENGINE.known)
        assert store.saved.verdicts == ()


async def test_a_cluster_that_is_not_configured_now_keeps_its_state(tmp_path: Path) -> None:
    with state_at(tmp_path) as store:
        await store.save(changes(ENGINE))
        await store.save(changes(EngineState(), cluster="other", positions=()))
    with state_at(tmp_path) as store:
        assert store.saved.clusters["main"] == CLUSTER
        assert set(store.saved.clusters) == {"main", "other"}


async def test_session_ids_that_look_like_numbers_and_process_ids_that_look_like_session_ids_stay_what_they_are(
    tmp_path: Path,
) -> None:
    keys: tuple[tuple[int, str | None], ...] = ((1, "65024150.10"), (2, "65024150.1"), (3, "6e5.1"), (65, None))
    sessions = tuple(Session(pid=pid, session_id=session) for pid, session in keys)
    with state_at(tmp_path) as store:
        await store.save(changes(EngineState(open=sessions)))
        await store.save(changes(EngineChanges(ended=("65024150.1", 65))))
    with state_at(tmp_path) as store:
        kept = store.saved.clusters["main"].engine.open
    assert {session.session_id for session in kept} == {"65024150.10", "6e5.1"}


KINDS = (
    EventKind.RECEIVED,
    EventKind.AUTHENTICATED,
    EventKind.AUTHORIZED,
    EventKind.READY,
    EventKind.FATAL,
    EventKind.LOST,
)
PIDS = st.integers(1, 5)
MOVES = st.one_of(
    st.tuples(st.sampled_from(KINDS), PIDS, st.booleans()),
    st.tuples(st.just("verdict"), PIDS),
    st.tuples(st.just("time"), st.sampled_from([1, 6, 70])),
    st.tuples(st.sampled_from(["server stops", "verdicts expire", "save", "save", "restart", "crash"])),
)


class Run:
    """An engine and the verdicts of one daemon after the other, and what they were at the last save."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.now = START
        self.expected: tuple[EngineState, tuple[SessionVerdict, ...]] = (EngineState(), ())
        self.take_up()

    def take_up(self) -> None:
        """What the file has is what was there at the last save; go on from there."""
        self.store = state_at(self.directory)
        state = self.store.saved.clusters["main"].engine if self.store.saved.clusters else EngineState()
        assert seen(state, self.store.saved.verdicts) == seen(*self.expected)
        self.verdicts = Verdicts(max_age=90)
        self.verdicts.restore(self.store.saved.verdicts, self.now)
        self.engine = Engine("main", self.verdicts, state=state)

    async def make(self, move: tuple[object, ...]) -> None:
        self.now += 0.25
        match move:
            case (EventKind() as kind, int(pid), bool(with_id)):
                event = AuthEvent(
                    kind=kind, time=self.now, pid=pid, session_id=session_id(pid) if with_id else None, role="alice"
                )
                self.engine.observe([event], self.now)
            case ("verdict", int(pid)):
                self.verdicts.add(verdict(at=self.now - START, pid=pid), self.now)
            case ("time", int(seconds)):
                self.now += seconds
                self.engine.advance(self.now)
            case ("server stops",):
                self.engine.observe([AuthEvent(kind=EventKind.SERVER_STOPPED, time=self.now, pid=1)], self.now)
            case ("verdicts expire",):
                self.verdicts.expire(self.now, 5.0)
            case ("save",):
                await self.save()
            case ("restart",):
                await self.save()
                self.store.__exit__(None, None, None)
                self.take_up()
            case _:
                self.store.__exit__(None, None, None)
                self.take_up()

    async def save(self) -> None:
        state = msgspec.msgpack.decode(msgspec.msgpack.encode(self.engine.state), type=EngineState)
        self.expected = (state, tuple(self.verdicts))
        engine, verdicts = self.engine.take_changes(), self.verdicts.take_changes()
        await self.store.save(changes(engine, verdicts=verdicts.added, decided=verdicts.gone))

    async def end(self) -> None:
        """A run that goes on from the file comes to the same as this one would."""
        await self.save()
        self.store.__exit__(None, None, None)
        old_engine, old_now = self.engine, self.now
        self.take_up()
        self.store.__exit__(None, None, None)
        for later in (6.0, 100.0):
            assert self.engine.advance(old_now + later) == old_engine.advance(old_now + later)


def seen(state: EngineState, verdicts: Sequence[SessionVerdict]) -> tuple[object, ...]:
    """What must be the same: sessions in no order, what silence decided and the verdicts in theirs."""
    sessions: dict[SessionKey, Session] = {key_of(session): session for session in state.open}
    silenced = [(it.key, it.state) for it in sorted(state.silenced, key=lambda it: it.place)]
    return sessions, silenced, state.known, list(verdicts)


@given(moves=st.lists(MOVES, max_size=40))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_changed_between_two_saves_is_there_after_a_restart(moves: list[tuple[object, ...]]) -> None:
    async def live() -> None:
        run = Run(Path(directory))
        for move in moves:
            await run.make(move)
        await run.end()

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(live())


async def test_counters_add_up_over_saves_and_restarts_and_what_is_set_is_set(tmp_path: Path) -> None:
    last_success = ("last_success_timestamp_seconds", ("main",))
    for run in range(3):
        with state_at(tmp_path) as store:
            for _ in range(2):
                await store.save(changes(added={ATTEMPTS: 0.1}, put={last_success: START + run}))
    with state_at(tmp_path) as store:
        assert store.saved.counters.added[ATTEMPTS] == pytest.approx(0.6, abs=1e-12)
        assert store.saved.counters.added[last_success] == START + 2


async def test_counters_of_which_nothing_is_said_stay(tmp_path: Path) -> None:
    other = ("log_rotations", ("gone",))
    with state_at(tmp_path) as store:
        await store.save(changes(added={other: 7}))
        await store.save(changes(ENGINE, added={ATTEMPTS: 1}))
    with state_at(tmp_path) as store:
        assert store.saved.counters.added == {other: 7, ATTEMPTS: 1}


async def test_ids_ascend_over_restarts_even_where_the_newest_outcomes_were_deleted(tmp_path: Path) -> None:
    given_out = []
    for _ in range(3):
        with state_at(tmp_path) as store:
            decided = numbered(store, outcome(), outcome())
            await store.save(changes(outcomes=decided))
            given_out += [one.id for one in decided]
        with writing(tmp_path / "state.db") as connection:
            connection.execute("DELETE FROM outcome")
    assert given_out == [1, 2, 3, 4, 5, 6]


async def test_a_save_that_fails_leaves_the_last_one_whole_and_the_next_has_all_of_both(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with state_at(tmp_path) as store:
        await store.save(changes(ENGINE, added={ATTEMPTS: 1}))
        with failing_disk(path):
            decided = numbered(store, outcome())
            with pytest.raises(StateError, match="disk full"):
                await store.save(changes(verdicts=[verdict()], added={ATTEMPTS: 2}, outcomes=decided))
        assert ids_in(path) == []
        over = EngineChanges(ended=(session_id(7),), known=ENGINE.known)
        await store.save(changes(over, added={ATTEMPTS: 4}, outcomes=numbered(store, outcome())))
        assert ids_in(path) == [1, 2]
    with state_at(tmp_path) as store:
        assert store.saved.verdicts == (verdict(),)
        assert store.saved.counters.added == {ATTEMPTS: 7}
        assert store.saved.clusters["main"].engine.open == ()


async def test_while_nothing_can_be_saved_the_oldest_outcomes_are_left_out_and_counted(tmp_path: Path) -> None:
    with state_at(tmp_path) as store:
        with failing_disk(tmp_path / "state.db"), pytest.raises(StateError):
            await store.save(changes(outcomes=numbered(store, *[outcome()] * (MAX_UNWRITTEN_OUTCOMES + 5))))
        await store.save(changes(outcomes=numbered(store, outcome())))
        assert store.take_left_out() == 6
        assert store.take_left_out() == 0
    ids = ids_in(tmp_path / "state.db")
    assert (ids[0], len(ids)) == (7, MAX_UNWRITTEN_OUTCOMES)


async def test_a_disk_that_hangs_is_not_waited_for_and_what_it_was_given_is_saved_once(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with state_at(tmp_path, patience_seconds=0.05) as store:
        with hanging_disk(path):
            for _ in range(2):
                with pytest.raises(StateError, match="does not answer"):
                    await store.save(changes(added={ATTEMPTS: 1}, outcomes=numbered(store, outcome())))
            with pytest.raises(StateError, match="does not answer"):
                await store.tidy(ALL)
        await saved_again(store)
        assert ids_in(path) == [1, 2, 3]
    with state_at(tmp_path) as store:
        assert store.saved.counters.added == {ATTEMPTS: 3}


async def saved_again(store: Store) -> None:
    """Save one more, once the disk answers."""
    following = changes(added={ATTEMPTS: 1}, outcomes=numbered(store, outcome()))
    while True:
        try:
            await store.save(following)
        except StateError:
            following = changes()
        else:
            return


async def test_a_state_whose_disk_hangs_stays_this_daemons_while_it_does(tmp_path: Path) -> None:
    store = state_at(tmp_path, patience_seconds=0.05)
    with hanging_disk(tmp_path / "state.db"):
        with pytest.raises(StateError, match="does not answer"):
            await store.save(changes(ENGINE))
        store.__exit__(None, None, None)
        with pytest.raises(StateError, match="another pgoauthd uses this state"):
            state_at(tmp_path)


async def test_what_fails_after_nobody_waits_any_more_is_told_with_the_next_save_and_lost_by_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "state.db"
    caplog.set_level(logging.DEBUG)
    with state_at(tmp_path, patience_seconds=0.2) as store:
        with writing(path) as connection:
            connection.execute("BEGIN IMMEDIATE")
            with pytest.raises(StateError, match="does not answer"):
                await store.save(changes(verdicts=[verdict()], outcomes=numbered(store, outcome())))
            connection.execute(
                "CREATE TRIGGER full BEFORE INSERT ON outcome BEGIN SELECT RAISE(ABORT, 'disk full'); END"
            )
            connection.execute("COMMIT")
            with pytest.raises(StateError):
                await store.save(changes(decided=(session_id(),), outcomes=numbered(store, outcome())))
            connection.execute("DROP TRIGGER full")
        await saved_again(store)
        assert ids_in(path) == [1, 2, 3]
    with state_at(tmp_path) as store:
        assert store.saved.verdicts == ()  # as the later of the two has it
    assert "never retrieved" not in caplog.text


async def test_a_tidy_that_is_cancelled_before_its_turn_leaves_nothing_behind(tmp_path: Path) -> None:
    with state_at(tmp_path) as store:
        with hanging_disk(tmp_path / "state.db"):
            saving = asyncio.create_task(store.save(changes(ENGINE)))
            for _ in range(3):
                await asyncio.sleep(0)
            tidying = asyncio.create_task(store.tidy(ALL))
            await asyncio.sleep(0)
            tidying.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await tidying
        await saving
    with state_at(tmp_path) as store:
        assert store.saved.clusters == {"main": CLUSTER}


@pytest.mark.parametrize("number", [2**64, 10**30])
async def test_a_session_that_cannot_be_written_is_told_and_all_else_is_saved(tmp_path: Path, number: int) -> None:
    unwritable = Session(pid=number, session_id="1.1", first_seen=1.0)
    with state_at(tmp_path) as store:
        state = EngineState(open=(*ENGINE.open, unwritable), silenced=ENGINE.silenced, known=ENGINE.known)
        with pytest.raises(StateError, match="a part of the state could not be saved"):
            await store.save(changes(state, verdicts=[verdict()], outcomes=numbered(store, outcome())))
        await store.save(changes())
    with state_at(tmp_path) as store:
        assert store.saved.clusters == {"main": CLUSTER}
        assert store.saved.verdicts == (verdict(),)
    assert ids_in(tmp_path / "state.db") == [1]


async def test_a_text_that_is_no_unicode_is_told_without_the_text_and_all_else_is_saved(tmp_path: Path) -> None:
    broken = msgspec.structs.replace(verdict(), role="hidden\udc80")
    nameless = msgspec.structs.replace(POSITION, path="/log/hidden\udc80")
    with state_at(tmp_path) as store:
        decided = numbered(store, outcome(role="hidden\udc80"), outcome(Reason.OK))
        with pytest.raises(StateError, match="could not be saved") as caught:
            await store.save(
                changes(ENGINE, positions=(nameless, POSITION), verdicts=[broken, verdict(pid=9)], outcomes=decided)
            )
        assert "hidden" not in str(caught.value)
        assert store.take_left_out() == 1
    with state_at(tmp_path) as store:
        assert store.saved.clusters == {"main": CLUSTER}
        assert store.saved.verdicts == (verdict(pid=9),)
    assert ids_in(tmp_path / "state.db") == [2]


async def test_a_save_holds_the_state_of_the_moment_it_began(tmp_path: Path) -> None:
    engine = Engine("main", Verdicts(max_age=90))
    engine.observe([received(pid=pid) for pid in range(1, 3_000)], START)
    with state_at(tmp_path) as store:
        saving = asyncio.create_task(store.save(changes(engine.take_changes())))
        await asyncio.sleep(0)  # it has begun
        engine.observe([authenticated(pid=pid) for pid in range(1, 3_000)], START)
        await saving
    with state_at(tmp_path) as store:
        saved = store.saved.clusters["main"].engine.open
    assert len(saved) == 2_999
    assert {(session.state, session.authenticated) for session in saved} == {(State.RECEIVED, None)}


async def test_others_get_their_turn_while_much_is_saved(tmp_path: Path) -> None:
    turns = 0
    with state_at(tmp_path) as store:
        saving = asyncio.create_task(store.save(changes(verdicts=[verdict(pid=pid) for pid in range(20_000)])))
        while not saving.done():
            await asyncio.sleep(0)
            turns += 1
        await saving
    assert turns > 20


async def test_the_state_is_nobody_elses_to_read(tmp_path: Path) -> None:
    with state_at(tmp_path) as store:
        await store.save(changes(ENGINE))
        store.keep(verdict())
        modes = modes_in(tmp_path)
    assert len(modes) == 5, modes
    assert set(modes.values()) == {0o600}, modes


async def test_somebody_who_reads_for_long_keeps_no_save_from_being_done(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with state_at(tmp_path) as store:
        await store.save(changes(outcomes=numbered(store, outcome())))
        with reading(path) as connection:
            connection.execute("BEGIN")
            assert connection.execute("SELECT count(*) FROM outcome").fetchone() == (1,)
            for _ in range(3):
                await store.save(changes(ENGINE, outcomes=numbered(store, outcome())))
            await store.tidy(Retention(0.0, 0))
            assert connection.execute("SELECT count(*) FROM outcome").fetchone() == (1,)
        assert ids_in(path) == []


async def test_a_full_disk_is_an_error_and_the_state_as_it_was(tmp_path: Path) -> None:
    with state_at(tmp_path) as store:
        await store.save(changes(ENGINE))
        with files_no_larger_than(64 * 1024), pytest.raises(StateError, match=r"could not be saved .*check the disk"):
            await store.save(changes(verdicts=[verdict(pid=pid) for pid in range(2_000)]))
    with state_at(tmp_path) as store:
        assert store.saved.clusters == {"main": CLUSTER}
        assert store.saved.verdicts == ()


# verdicts between two saves


async def test_verdicts_that_came_after_the_last_save_are_there_after_a_crash(tmp_path: Path) -> None:
    with state_at(tmp_path) as store:
        store.keep(verdict(pid=1))
        await store.save(changes(verdicts=[verdict(pid=1)], up_to=store.verdict_number))
        store.keep(verdict(pid=2))
    with state_at(tmp_path) as store:
        assert store.saved.verdicts == (verdict(pid=1),)
        assert store.saved.verdicts_since == (verdict(pid=2),)


async def test_a_verdict_that_was_decided_before_the_last_save_does_not_come_back(tmp_path: Path) -> None:
    with state_at(tmp_path) as store:
        store.keep(verdict(pid=1))
        await store.save(changes(up_to=store.verdict_number))
    with state_at(tmp_path) as store:
        assert (store.saved.verdicts, store.saved.verdicts_since) == ((), ())


async def test_the_numbers_of_verdicts_go_on_after_a_restart_though_their_file_is_gone(tmp_path: Path) -> None:
    with state_at(tmp_path) as store:
        for _ in range(3):
            store.keep(verdict())
        await store.save(changes(up_to=store.verdict_number))
        store.mark_clean()
    (tmp_path / "verdicts").unlink()
    with state_at(tmp_path) as store:
        store.keep(verdict(pid=2))
        assert store.verdict_number == 4
    with state_at(tmp_path) as store:
        assert store.saved.verdicts_since == (verdict(pid=2),)


async def test_a_verdict_that_cannot_be_kept_at_once_has_a_number_all_the_same(tmp_path: Path) -> None:
    with state_at(tmp_path) as store:
        with files_no_larger_than(10), pytest.raises(OSError, match=r"[Ff]ile too large|no space"):
            store.keep(verdict())
        assert store.verdict_number == 1


async def test_the_verdicts_of_a_state_that_was_kept_aside_are_all_read(tmp_path: Path) -> None:
    with state_at(tmp_path) as store:
        for pid in (1, 2):
            store.keep(verdict(pid=pid))
        await store.save(changes(verdicts=[verdict(pid=1), verdict(pid=2)], up_to=2))
    (tmp_path / "state.db").write_bytes(b"no database any more" * 500)
    with state_at(tmp_path) as store:
        assert store.kept_aside is not None
        assert store.saved.verdicts_since == (verdict(pid=1), verdict(pid=2))
        assert store.verdict_number == 2
        assert store.saved.verdicts_lost is False


@pytest.mark.parametrize(
    ("clean", "decided", "gone", "lost"),
    [
        (False, 1, True, True),
        (True, 1, True, False),
        (False, 0, True, False),
        (False, 1, False, False),
    ],
    ids=["after a power failure", "after an end in order", "where there were none", "where the file is there"],
)
async def test_verdicts_are_lost_only(tmp_path: Path, clean: bool, decided: int, gone: bool, lost: bool) -> None:
    with state_at(tmp_path) as store:
        for _ in range(decided):
            store.keep(verdict())
        await store.save(changes(up_to=store.verdict_number))
        if clean:
            store.mark_clean()
    if gone:
        (tmp_path / "verdicts").unlink()
    with state_at(tmp_path) as store:
        assert store.saved.verdicts_lost is lost


async def test_only_what_is_said_at_the_end_makes_an_end_in_order(tmp_path: Path) -> None:
    ends = []
    for clean in (False, True, False):
        with state_at(tmp_path) as store:
            await store.save(changes())
            if clean:
                store.mark_clean()
        with state_at(tmp_path) as store:
            ends.append(store.saved.clean)
    assert ends == [False, True, False]


@pytest.mark.parametrize("kind", ["directory", "symlink", "pipe"])
def test_a_file_for_verdicts_that_is_none_is_named_and_the_state_stays_free(tmp_path: Path, kind: str) -> None:
    verdicts = tmp_path / "verdicts"
    match kind:
        case "directory":
            verdicts.mkdir()
        case "symlink":
            verdicts.symlink_to(tmp_path / "elsewhere")
        case _:
            os.mkfifo(verdicts)
    with pytest.raises(StateError, match=r"/verdicts: the file for verdicts cannot be opened"):
        state_at(tmp_path)
    assert not (tmp_path / "elsewhere").exists()
    with Store(tmp_path / "state.db", tmp_path / "others"):
        pass


READER = """
import sys
from pathlib import Path
import msgspec
from pgoauthd.runtime.history import History, Wanted
wanted, seen = int(sys.argv[2]), 0
with History(Path(sys.argv[1])) as history:
    print("open", flush=True)
    while seen < wanted:
        ids = [msgspec.json.decode(line)["id"] for line in history.outcomes(Wanted())]
        assert ids == [*range(1, len(ids) + 1)], ids
        assert len(ids) >= seen
        seen = len(ids)
"""


async def test_another_process_reads_the_history_while_the_daemon_saves(tmp_path: Path) -> None:
    saves = 60
    with state_at(tmp_path) as store:
        await store.save(changes(outcomes=numbered(store, outcome())))
        path = str(tmp_path / "state.db")
        reader = await asyncio.create_subprocess_exec(
            sys.executable, "-c", READER, path, str(2 * saves + 1), stdout=asyncio.subprocess.PIPE
        )
        assert reader.stdout is not None
        assert await reader.stdout.readline() == b"open\n"
        for _ in range(saves):
            await store.save(changes(ENGINE, outcomes=numbered(store, outcome(), outcome())))
        assert await asyncio.wait_for(reader.wait(), 20) == 0
