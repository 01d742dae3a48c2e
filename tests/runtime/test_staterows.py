from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from pgoauthd.correlation.engine import Engine
from pgoauthd.correlation.outcome_json import encode
from pgoauthd.correlation.verdicts import Verdicts
from pgoauthd.logs.events import Saying
from pgoauthd.runtime.statefile import open_state
from pgoauthd.runtime.staterows import MAX_UNWRITTEN_OUTCOMES, Rows, StateChanges
from pgoauthd.tokens.reasons import Reason
from tests.fix_events import START, authenticated, authorized, fatal, ready, received, session_id, verdict
from tests.fix_outcomes import AT, outcome
from tests.runtime.fix_state import ATTEMPTS, ENGINE, changes


def rows_of(*every: StateChanges) -> Rows:
    """The rows of each, laid over those before it."""
    rows = Rows()
    for one in every:
        later = Rows()
        for _ in later.add(one):
            pass
        rows.absorb(later)
    return rows


def test_a_login_that_came_and_went_between_two_saves_writes_no_row_but_its_outcome() -> None:
    verdicts = Verdicts(max_age=90)
    engine = Engine("main", verdicts)
    verdicts.add(verdict(), START)
    outcomes = engine.observe([received(), authenticated(), authorized(), ready()], START)
    outcomes += engine.observe([received(pid=2), fatal(Saying.OAUTH_FAILED, pid=2)], START)
    waiting = verdicts.take_changes()
    rows = rows_of(
        changes(engine.take_changes(), verdicts=waiting.added, decided=waiting.gone, outcomes=outcomes),
    )
    assert (rows.sessions, rows.silenced, rows.verdicts) == ({}, {}, {})
    assert len(rows.outcomes) == 2


def test_of_rows_that_waited_the_later_ones_stand() -> None:
    begun = changes(ENGINE, verdicts=[verdict()], put={ATTEMPTS: 1.0})
    over = changes(Engine("main", Verdicts(max_age=90)).take_changes(), decided=(session_id(),), put={ATTEMPTS: 2.0})
    rows = rows_of(begun, over)
    assert rows.verdicts == {session_id(): None}
    assert rows.put == {ATTEMPTS: 2.0}
    assert list(rows.sessions) == [("main", session_id(7))]


def test_what_was_counted_meanwhile_adds_up() -> None:
    assert rows_of(changes(added={ATTEMPTS: 1.0}), changes(added={ATTEMPTS: 2.5})).added == {ATTEMPTS: 3.5}


def test_too_many_outcomes_that_wait_leave_out_the_oldest() -> None:
    many = [outcome(id=number) for number in range(1, MAX_UNWRITTEN_OUTCOMES + 1)]
    rows = rows_of(changes(outcomes=many), changes(outcomes=[outcome(id=MAX_UNWRITTEN_OUTCOMES + 1)]))
    assert (rows.outcomes[0][0], rows.outcomes[-1][0]) == (2, MAX_UNWRITTEN_OUTCOMES + 1)
    assert rows.left_out == 1


def test_an_outcome_is_written_as_its_json_with_what_is_asked_for_most_beside_it(tmp_path: Path) -> None:
    token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJlc2lnbmF0dXJlc2lnbmF0dXJl"
    given = outcome(Reason.OK, id=7, role=token, identity=None)
    with closing(open_state(tmp_path / "state.db")) as connection:
        rows_of(changes(outcomes=[given])).write(connection)
        (row,) = connection.execute("SELECT * FROM outcome").fetchall()
    body = json.loads(row[9])
    assert row[9] == encode(given)
    assert (row[:6], row[8]) == ((7, AT, "main", "success", "ok", "oauth"), "192.0.2.7")
    assert (body["id"], body["role"], body["identity"]) == (7, row[6], row[7])
    assert token not in str(row)


def test_an_outcome_is_never_written_twice(tmp_path: Path) -> None:
    rows = rows_of(changes(ENGINE, verdicts=[verdict()], outcomes=[outcome(id=1)]))
    with closing(open_state(tmp_path / "state.db")) as connection:
        rows.write(connection)
        with pytest.raises(sqlite3.IntegrityError):
            rows.write(connection)


def test_a_stop_comes_after_each_piece_so_that_others_get_their_turn() -> None:
    rows = Rows()
    stops = sum(1 for _ in rows.add(changes(ENGINE, verdicts=[verdict(pid=pid) for pid in range(50)])))
    assert stops == 51


CANARY = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJlLW9mLXRoZS1jYW5hcnktd2hpY2gtbXVzdC1uZXZlci1zaG93"


def test_a_token_that_was_given_for_a_name_is_not_written_down() -> None:
    verdicts = Verdicts(max_age=90)
    verdicts.add(msgspec.structs.replace(verdict(), role=CANARY, database=CANARY), START)
    engine = Engine("main", verdicts)
    engine.observe(
        [
            received(pid=2),
            authenticated(pid=2, role=CANARY, identity=CANARY, usermap=CANARY),
            authorized(pid=2, database=CANARY, application_name=CANARY),
        ],
        START,
    )
    rows = rows_of(changes(engine.take_changes(), verdicts=verdicts.take_changes().added))
    written = [body for kind in (rows.sessions, rows.verdicts) for body in kind.values() if body is not None]
    assert len(written) == 2
    for body in written:
        assert b"redacted" in body
        assert CANARY[:12].encode() not in body
    session, waiting = engine.state.open[0], next(iter(verdicts))
    assert (session.last is not None and session.last.database, waiting.role) == (CANARY, CANARY)


def test_what_came_and_went_while_nothing_could_be_written_leaves_no_trace() -> None:
    verdicts = Verdicts(max_age=90)
    engine = Engine("main", verdicts)
    unwritten = Rows()
    for pid in range(1, 200):
        for events, waiting in (
            ([received(pid=pid)], [verdict(pid=pid)]),
            ([authenticated(pid=pid), fatal(pid=pid)], []),
        ):
            for one in waiting:
                verdicts.add(one, START)
            engine.observe(events, START)
            judged = verdicts.take_changes()
            taken = changes(engine.take_changes())
            unwritten.absorb(rows_of(taken._replace(verdicts=judged)))
    assert (unwritten.sessions, unwritten.verdicts) == ({}, {})
    assert not unwritten.fresh_sessions
    assert not unwritten.fresh_verdicts


def test_what_is_in_the_file_is_deleted_though_its_key_came_again_meanwhile() -> None:
    engine = Engine("main", Verdicts(max_age=90))
    engine.observe([received(with_id=False)], START)
    engine.take_changes()  # written
    unwritten = Rows()
    for events in ([fatal(with_id=False)], [received(with_id=False)], [fatal(with_id=False)]):
        engine.observe(events, START)
        unwritten.absorb(rows_of(changes(engine.take_changes())))
    assert list(unwritten.sessions.values()) == [None]
