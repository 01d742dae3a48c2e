from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import msgspec
import pytest

from pgoauthd.correlation.engine import (
    MAX_DECIDED_BY_SILENCE,
    Engine,
    EngineChanges,
    EngineState,
    Known,
    Limits,
    Silenced,
)
from pgoauthd.correlation.outcome import Outcome, Result, Unmatched
from pgoauthd.correlation.session import ENDS, TRANSITIONS, State, Step
from pgoauthd.correlation.verdicts import Verdicts
from pgoauthd.logs.events import AuthEvent, EventKind, Saying
from pgoauthd.tokens.reasons import Reason
from tests.fix_events import (
    PID,
    START,
    authenticated,
    authorized,
    cause,
    event,
    fatal,
    ready,
    received,
    session_id,
    verdict,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgoauthd.correlation.verdicts import SessionVerdict


@dataclasses.dataclass
class Desk:
    """An engine with its verdicts, and all that it has said."""

    verdicts: Verdicts = dataclasses.field(default_factory=lambda: Verdicts(max_age=90))
    limits: Limits = dataclasses.field(default_factory=Limits)
    state: EngineState = dataclasses.field(default_factory=EngineState)

    def __post_init__(self) -> None:
        self.engine = Engine("main", self.verdicts, self.limits, self.state)
        self.outcomes: list[Outcome] = []

    def read(self, *events: AuthEvent) -> list[Outcome]:
        for one in events:
            self.outcomes += self.engine.observe([one], one.time)
        return self.outcomes

    def wait(self, until: float) -> list[Outcome]:
        self.outcomes += self.engine.advance(START + until)
        return self.outcomes


@pytest.fixture
def desk() -> Desk:
    return Desk()


def one(outcomes: Sequence[Outcome]) -> tuple[Result, Reason]:
    assert len(outcomes) == 1, outcomes
    return outcomes[0].result, outcomes[0].reason


def test_the_table_has_an_entry_for_every_step_in_every_state_that_is_no_end() -> None:
    assert set(TRANSITIONS) == set(State) - ENDS
    for state, steps in TRANSITIONS.items():
        assert set(steps) == set(Step), state


def test_ready_ends_a_login_as_a_success_with_all_that_its_lines_said(desk: Desk) -> None:
    desk.verdicts.add(verdict(), START)
    outcomes = desk.read(received(), authenticated(), authorized(), ready())
    assert one(outcomes) == (Result.SUCCESS, Reason.OK)
    outcome = outcomes[0]
    assert outcome.session_id == session_id()
    assert outcome.identity == "alice"
    assert (outcome.role, outcome.database, outcome.application_name) == ("alice", "app", "psql")
    assert (outcome.client_addr, outcome.client_port) == ("10.0.0.7", 50001)
    assert (outcome.hba_file, outcome.hba_line) == ("/hba", 6)
    assert outcome.server_authentication_seconds == 0.004
    assert outcome.validation_seconds == 0.0004
    assert outcome.time == START + 0.03
    assert outcome.started == START
    assert outcome.issuer == "https://idp.example"
    assert len(desk.engine) == 0
    assert desk.engine.matched == 1


def test_authorized_alone_is_no_success_yet(desk: Desk) -> None:
    assert desk.read(received(), authenticated(), authorized()) == []


def test_authorized_counts_as_success_when_no_fatal_follows_for_the_settling_time(desk: Desk) -> None:
    desk.read(received(), authenticated(), authorized())
    assert desk.wait(5.0) == []
    assert one(desk.wait(5.1)) == (Result.SUCCESS, Reason.OK)


def test_a_server_that_logs_ready_is_waited_for_longer_than_the_settling_time(desk: Desk) -> None:
    desk.read(received(), authenticated(), authorized(), ready())
    other = {"pid": 5000}
    desk.read(received(1, **other), authenticated(1, **other), authorized(1, **other))
    assert len(desk.wait(20)) == 1
    assert len(desk.wait(70)) == 2


def test_a_disconnection_after_authorized_is_a_success(desk: Desk) -> None:
    outcomes = desk.read(received(), authenticated(), authorized(), event(EventKind.DISCONNECTED, 0.5))
    assert one(outcomes) == (Result.SUCCESS, Reason.OK)


@pytest.mark.parametrize(
    ("saying", "reason"),
    [
        (Saying.ROLE_MISSING, Reason.ROLE_MISSING),
        (Saying.ROLE_NOLOGIN, Reason.ROLE_NOLOGIN),
        (Saying.ROLE_CONNECTION_LIMIT, Reason.ROLE_CONNECTION_LIMIT),
        (Saying.DATABASE_MISSING, Reason.DATABASE_MISSING),
        (Saying.DATABASE_NO_CONNECT, Reason.DATABASE_NO_CONNECT),
        (Saying.DATABASE_CONNECTION_LIMIT, Reason.DATABASE_CONNECTION_LIMIT),
        (Saying.DATABASE_NOT_ACCEPTING, Reason.DATABASE_NOT_ACCEPTING),
        (Saying.OTHER, Reason.SERVER_ERROR),
    ],
)
def test_a_fatal_after_authorized_is_a_refusal_of_its_own(desk: Desk, saying: Saying, reason: Reason) -> None:
    desk.verdicts.add(verdict(), START)
    outcomes = desk.read(received(), authenticated(), authorized(), fatal(saying, 0.03))
    assert one(outcomes) == (Result.REFUSED, reason)


def test_a_lone_fatal_is_a_discovery(desk: Desk) -> None:
    outcomes = desk.read(received(), fatal(role="alice", method="oauth"))
    assert one(outcomes) == (Result.DISCOVERY, Reason.DISCOVERY)
    assert outcomes[0].method == "oauth"


def test_a_lone_fatal_is_no_discovery_when_a_token_was_seen(desk: Desk) -> None:
    desk.verdicts.add(verdict(Reason.EXPIRED), START)
    outcomes = desk.read(received(), fatal())
    assert one(outcomes) == (Result.REFUSED, Reason.EXPIRED)
    assert outcomes[0].message == "the verdict says expired"


@pytest.mark.parametrize(
    ("saying", "reason"),
    [
        (Saying.VALIDATOR_REFUSED, Reason.VALIDATOR_REFUSED),
        (Saying.VALIDATOR_NO_IDENTITY, Reason.VALIDATOR_NO_IDENTITY),
        (Saying.VALIDATOR_INTERNAL_ERROR, Reason.VALIDATOR_INTERNAL_ERROR),
        (Saying.IDENTITY_MISMATCH, Reason.IDENTITY_MISMATCH),
        (Saying.USERMAP_NO_MATCH, Reason.USERMAP_NO_MATCH),
        (Saying.TOKEN_MALFORMED, Reason.TOKEN_MALFORMED),
        (Saying.TOKEN_EMPTY, Reason.TOKEN_EMPTY),
        (Saying.TOKEN_NOT_BEARER, Reason.TOKEN_NOT_BEARER),
    ],
)
def test_the_line_before_the_fatal_says_why_and_the_pair_counts_once(
    desk: Desk, saying: Saying, reason: Reason
) -> None:
    outcomes = desk.read(received(), authenticated(), cause(saying), fatal())
    assert one(outcomes) == (Result.REFUSED, reason)


def test_the_shims_line_goes_before_the_servers(desk: Desk) -> None:
    shim = cause(Saying.SHIM, 0.01, reason_code="scope_missing", detail='Required scope "postgres" is missing.')
    outcomes = desk.read(received(), shim, authenticated(), cause(Saying.VALIDATOR_REFUSED), fatal())
    assert one(outcomes) == (Result.REFUSED, Reason.SCOPE_MISSING)
    assert outcomes[0].message == 'Required scope "postgres" is missing.'


def test_a_reason_in_the_fatal_itself_goes_before_the_warning_of_a_failed_validator(desk: Desk) -> None:
    """PostgreSQL 19 where the module had nobody to ask: both entries have its reason as their DETAIL."""
    said = fatal(reason_code="validator_unavailable", detail="The server could not reach pgoauthd on its socket.")
    outcomes = desk.read(received(), cause(Saying.VALIDATOR_INTERNAL_ERROR), said)
    assert one(outcomes) == (Result.REFUSED, Reason.VALIDATOR_UNAVAILABLE)


def test_a_code_that_this_version_does_not_know_is_still_a_refusal_by_the_validator(desk: Desk) -> None:
    outcomes = desk.read(received(), cause(Saying.SHIM, reason_code="from_the_future"), fatal())
    assert one(outcomes) == (Result.REFUSED, Reason.VALIDATOR_REFUSED)


def test_a_refusal_without_a_known_reason_takes_the_verdicts(desk: Desk) -> None:
    desk.verdicts.add(verdict(Reason.AUDIENCE_MISMATCH), START)
    outcomes = desk.read(received(), authenticated(), cause(Saying.VALIDATOR_REFUSED), fatal())
    assert one(outcomes) == (Result.REFUSED, Reason.AUDIENCE_MISMATCH)


def test_a_mapping_failure_after_our_yes_is_the_mappings(desk: Desk) -> None:
    desk.verdicts.add(verdict(), START)
    said = cause(Saying.USERMAP_NO_MATCH, usermap="people")
    outcomes = desk.read(received(), authenticated(identity="mallory"), said, fatal())
    assert one(outcomes) == (Result.REFUSED, Reason.USERMAP_NO_MATCH)
    assert outcomes[0].usermap == "people"
    assert "mallory" in outcomes[0].message


def test_our_yes_and_an_unexplained_no_is_a_mapping_failure_in_any_language(desk: Desk) -> None:
    desk.verdicts.add(verdict(), START)
    outcomes = desk.read(received(), authenticated(identity="bob"), fatal())
    assert one(outcomes) == (Result.REFUSED, Reason.IDENTITY_MISMATCH)


def test_nineteens_single_fatal_with_a_detail_is_a_refusal(desk: Desk) -> None:
    outcomes = desk.read(received(), fatal(detail="The token is not a JWT."))
    assert one(outcomes) == (Result.REFUSED, Reason.VALIDATOR_REFUSED)
    assert outcomes[0].message == "The token is not a JWT."


def test_an_identity_followed_by_an_unexplained_fatal_is_no_discovery(desk: Desk) -> None:
    assert one(desk.read(received(), authenticated(), fatal())) == (Result.REFUSED, Reason.VALIDATOR_REFUSED)


def test_an_unknown_fatal_before_authentication_is_the_servers(desk: Desk) -> None:
    assert one(desk.read(received(), fatal(Saying.OTHER))) == (Result.REFUSED, Reason.SERVER_ERROR)


@pytest.mark.parametrize(
    ("saying", "reason"),
    [
        (Saying.SASL_MALFORMED, Reason.SASL_MALFORMED),
        (Saying.SASL_NO_AUTH_VALUE, Reason.SASL_NO_AUTH_VALUE),
        (Saying.CHANNEL_BINDING_UNSUPPORTED, Reason.CHANNEL_BINDING_UNSUPPORTED),
        (Saying.AUTHZID_UNSUPPORTED, Reason.AUTHZID_UNSUPPORTED),
        (Saying.HANDSHAKE_TIMEOUT, Reason.HANDSHAKE_TIMEOUT),
        (Saying.HBA_NO_ENTRY, Reason.HBA_NO_ENTRY),
        (Saying.HBA_REJECTED, Reason.HBA_REJECTED),
        (Saying.TOO_MANY_CONNECTIONS, Reason.TOO_MANY_CONNECTIONS),
        (Saying.SERVER_NOT_READY, Reason.SERVER_NOT_READY),
        (Saying.OTHER_METHOD_FAILED, Reason.OTHER_METHOD_FAILED),
    ],
)
def test_a_fatal_that_names_its_cause_is_that_cause(desk: Desk, saying: Saying, reason: Reason) -> None:
    assert one(desk.read(received(), fatal(saying))) == (Result.REFUSED, reason)


def test_a_client_that_goes_away_is_abandoned_when_the_timeout_is_over(desk: Desk) -> None:
    desk.read(received())
    assert desk.wait(65) == []
    outcomes = desk.wait(65.1)
    assert one(outcomes) == (Result.ABANDONED, Reason.CLIENT_GONE)
    assert outcomes[0].time == START


def test_silence_on_nineteen_may_be_a_discovery_and_says_so(desk: Desk) -> None:
    desk.read(event(EventKind.SERVER_STARTED, -1, pid=1, server_version=19), received())
    assert one(desk.wait(70)) == (Result.ABANDONED, Reason.SILENT)


def test_a_login_that_our_module_asked_about_says_which_version_the_server_is(desk: Desk) -> None:
    """Reading began after the server had said so."""
    asked = msgspec.structs.replace(verdict(), server_version=190_000)
    desk.read(received(pid=5))
    desk.verdicts.add(asked, START)
    desk.read(received(), authenticated(), authorized(), event(EventKind.READY, 0.1))
    assert one(desk.wait(70)[1:]) == (Result.ABANDONED, Reason.SILENT)


def test_a_broken_connection_is_abandoned_at_once(desk: Desk) -> None:
    assert one(desk.read(received(), event(EventKind.LOST, 0.1))) == (Result.ABANDONED, Reason.CONNECTION_LOST)


def test_a_refusal_whose_last_lines_are_lost_is_still_a_refusal(desk: Desk) -> None:
    desk.verdicts.add(verdict(Reason.EXPIRED), START)
    desk.read(received())
    assert one(desk.wait(70)) == (Result.REFUSED, Reason.EXPIRED)


def test_a_server_that_stops_ends_what_is_open(desk: Desk) -> None:
    desk.read(received(), received(pid=5), authenticated(pid=5), authorized(pid=5))
    outcomes = desk.read(event(EventKind.SERVER_STOPPED, 2, pid=1))
    assert {(o.pid, o.result) for o in outcomes} == {(PID, Result.ABANDONED), (5, Result.SUCCESS)}
    assert len(desk.engine) == 0


def test_interleaved_sessions_do_not_mix(desk: Desk) -> None:
    desk.read(received(), received(pid=5), authenticated(pid=5, identity="eve"), authenticated())
    desk.read(cause(Saying.IDENTITY_MISMATCH, pid=5), authorized(), fatal(pid=5), ready())
    assert {(o.pid, o.reason) for o in desk.outcomes} == {(PID, Reason.OK), (5, Reason.IDENTITY_MISMATCH)}


@pytest.mark.parametrize(
    "stray",
    [event(EventKind.DISCONNECTED, 99), event(EventKind.LOST, 99), fatal(Saying.OTHER, 99)],
    ids=lambda stray: str(stray.kind),
)
def test_the_end_of_a_long_session_is_no_attempt(desk: Desk, stray: AuthEvent) -> None:
    assert desk.read(stray) == []
    assert len(desk.engine) == 0


def test_a_fatal_after_success_by_silence_does_not_count_the_attempt_twice(desk: Desk) -> None:
    desk.read(received(), authenticated(), authorized())
    desk.wait(6)
    outcomes = desk.read(fatal(Saying.ROLE_MISSING, 7))
    assert one(outcomes) == (Result.SUCCESS, Reason.OK)
    assert desk.engine.unmatched[Unmatched.LATE] == 1


def test_open_attempts_are_bounded_and_the_oldest_is_given_up() -> None:
    desk = Desk(limits=Limits(max_open=2))
    desk.read(received(pid=1), received(pid=2), received(pid=3))
    assert len(desk.engine) == 2
    assert desk.engine.unmatched[Unmatched.EVICTED] == 1


def test_without_session_ids_a_pid_that_comes_round_again_is_a_new_attempt(desk: Desk) -> None:
    outcomes = desk.read(received(with_id=False), received(100, with_id=False))
    assert one(outcomes) == (Result.ABANDONED, Reason.CLIENT_GONE)
    assert len(desk.engine) == 1


@pytest.mark.parametrize("late_by", [0.0, 0.999], ids=["same second", "next second"])
def test_without_session_ids_the_verdict_is_found_by_pid_and_start(desk: Desk, late_by: float) -> None:
    desk.verdicts.add(verdict(), START)
    lines = [received(late_by + 0.002), authenticated(1), authorized(1), ready(1)]
    outcomes = desk.read(*(msgspec.structs.replace(line, session_id=None) for line in lines))
    assert one(outcomes) == (Result.SUCCESS, Reason.OK)
    assert outcomes[0].session_id == session_id()
    assert desk.engine.matched == 1


def test_without_session_ids_the_id_is_put_together_as_the_server_does(desk: Desk) -> None:
    outcomes = desk.read(received(with_id=False), fatal(with_id=False))
    assert outcomes[0].session_id == session_id()


def test_another_method_is_an_attempt_of_its_own_method(desk: Desk) -> None:
    outcomes = desk.read(received(), authenticated(method="scram-sha-256"), authorized(), ready())
    assert outcomes[0].method == "scram-sha-256"


def test_an_oauth_identity_that_was_never_validated_is_a_finding() -> None:
    desk = Desk(state=EngineState(known=Known(validated_since=START - 10)))
    desk.read(received(), authenticated(), authorized(), ready())
    assert desk.engine.unmatched[Unmatched.LOGGED_NOT_VALIDATED] == 1


@pytest.mark.parametrize("said", [None, verdict()], ids=["older than the daemon", "validated"])
def test_a_login_before_the_daemon_or_with_a_verdict_is_no_finding(said: SessionVerdict | None) -> None:
    desk = Desk(state=EngineState(known=Known(validated_since=START + 10 if said is None else START - 10)))
    if said is not None:
        desk.verdicts.add(said, START)
    desk.read(received(), authenticated(), authorized(), ready())
    assert desk.engine.unmatched[Unmatched.LOGGED_NOT_VALIDATED] == 0


def test_another_methods_login_needs_no_verdict() -> None:
    desk = Desk(state=EngineState(known=Known(validated_since=START - 10)))
    desk.read(received(), authenticated(method="cert"), authorized(), ready())
    assert desk.engine.unmatched[Unmatched.LOGGED_NOT_VALIDATED] == 0


def test_a_restart_in_the_middle_of_a_login_changes_nothing() -> None:
    lines = [received(), authenticated(), authorized(), received(pid=7), ready(), fatal(pid=7)]
    for cut in range(len(lines)):
        first = Desk()
        first.read(*lines[:cut])
        saved = msgspec.msgpack.decode(msgspec.msgpack.encode(first.engine.state), type=EngineState)
        second = Desk(state=saved)
        second.read(*lines[cut:])
        reasons = [(o.pid, o.reason) for o in first.outcomes + second.outcomes]
        assert reasons == [(PID, Reason.OK), (7, Reason.DISCOVERY)], cut


def test_the_settling_time_goes_on_after_a_restart() -> None:
    first = Desk()
    first.read(received(), authenticated(), authorized())
    second = Desk(state=first.engine.state)
    assert one(second.wait(5.1)) == (Result.SUCCESS, Reason.OK)


def test_what_is_open_at_the_end_of_a_log_is_counted_as_unfinished(desk: Desk) -> None:
    desk.read(received(), received(pid=5), authenticated(pid=5), authorized(pid=5))
    assert one(desk.engine.finish()) == (Result.SUCCESS, Reason.OK)
    assert desk.engine.unmatched[Unmatched.UNFINISHED] == 1


def test_verdicts_that_no_line_asks_for_expire_and_are_counted() -> None:
    verdicts = Verdicts(max_age=90)
    verdicts.add(verdict(), START)
    assert verdicts.expire(START + 90) == 0
    assert verdicts.expire(START + 91) == 1
    assert len(verdicts) == 0


def test_the_age_of_a_verdict_does_not_hang_on_its_own_timestamp() -> None:
    verdicts = Verdicts(max_age=90)
    verdicts.add(verdict(at=-5000), START)
    assert verdicts.expire(START + 1) == 0


def test_one_session_asked_for_again_and_again_is_kept_once() -> None:
    verdicts = Verdicts(max_age=90)
    for pid in range(1000):
        verdicts.add(msgspec.structs.replace(verdict(), pid=pid), START)
    assert len(verdicts) == 1
    assert verdicts.take(None, 0, None) is None
    assert verdicts.take(None, 999, None) is not None


def test_verdicts_are_bounded() -> None:
    verdicts = Verdicts(max_age=90, max_count=1)
    assert verdicts.add(verdict(), START) == 0
    assert verdicts.add(verdict(pid=9), START) == 1
    assert verdicts.take(session_id(), PID, None) is None


LATER = [
    (authenticated(80), 1),
    (authorized(80), 1),
    (ready(80), 1),
    (fatal(Saying.OAUTH_FAILED, 80), 1),
    (event(EventKind.DISCONNECTED, 80), 0),
    (event(EventKind.LOST, 80), 0),
]


@pytest.mark.parametrize(("line", "late"), LATER, ids=[line.kind.value for line, _ in LATER])
def test_what_an_abandoned_attempt_says_later_is_no_second_attempt_but_counted(
    desk: Desk, line: AuthEvent, late: int
) -> None:
    desk.read(received())
    desk.wait(70)
    assert one(desk.read(line)) == (Result.ABANDONED, Reason.CLIENT_GONE)
    assert desk.engine.unmatched[Unmatched.LATE] == late


def test_the_ready_line_of_a_success_by_silence_contradicts_nothing(desk: Desk) -> None:
    desk.read(received(), authenticated(), authorized())
    desk.wait(6)
    desk.read(ready(7))
    assert desk.engine.unmatched[Unmatched.LATE] == 0
    assert len(desk.outcomes) == 1


def test_a_message_that_breaks_off_explains_the_fatal_and_is_no_discovery(desk: Desk) -> None:
    outcomes = desk.read(received(), cause(Saying.MESSAGE_BROKEN), fatal())
    assert one(outcomes) == (Result.REFUSED, Reason.SASL_MALFORMED)


def test_a_message_that_breaks_off_in_an_old_session_is_no_attempt(desk: Desk) -> None:
    assert desk.read(cause(Saying.MESSAGE_BROKEN)) == []
    assert len(desk.engine) == 0


def forged(at: float) -> list[AuthEvent]:
    return [authorized(at, pid=7, role="postgres"), ready(at + 0.01, pid=7)]


def test_a_success_from_nowhere_is_a_finding_where_connections_are_logged() -> None:
    desk = Desk(state=EngineState(known=Known(validated_since=START - 10)))
    desk.read(received(), fatal(), *forged(100))
    assert desk.engine.unmatched[Unmatched.LOGGED_NOT_VALIDATED] == 1


def test_a_login_that_began_before_the_first_logged_connection_is_none() -> None:
    desk = Desk(state=EngineState(known=Known(validated_since=START - 10)))
    desk.read(received(), fatal(), *forged(30))
    assert desk.engine.unmatched[Unmatched.LOGGED_NOT_VALIDATED] == 0


def test_where_connections_are_not_logged_a_success_needs_none() -> None:
    desk = Desk(state=EngineState(known=Known(validated_since=START - 10)))
    desk.read(*forged(100))
    assert desk.engine.unmatched[Unmatched.LOGGED_NOT_VALIDATED] == 0


def test_a_login_that_came_and_went_leaves_nothing_to_save(desk: Desk) -> None:
    desk.verdicts.add(verdict(), START)
    desk.read(received(), authenticated(), authorized(), ready())
    assert desk.engine.take_changes() == EngineChanges(known=desk.engine.state.known)
    assert not desk.engine.take_changes().matter
    assert not desk.verdicts.take_changes().matter


def test_whoever_never_saves_keeps_nothing_of_what_is_over(desk: Desk) -> None:
    for start in range(0, 30_000, 1_000):
        for pid in range(start + 1, start + 1_001):
            desk.engine.observe([received(pid=pid), fatal(pid=pid)], START)
    changes = desk.engine.take_changes()
    assert (changes.open, changes.ended, changes.silenced, changes.forgotten) == ((), (), (), ())


def test_an_attempt_is_to_be_saved_when_it_begins_when_it_moves_and_when_it_ends(desk: Desk) -> None:
    desk.read(received())
    begun = desk.engine.take_changes()
    assert desk.engine.take_changes() == EngineChanges(known=begun.known)
    desk.read(authenticated())
    moved = desk.engine.take_changes()
    desk.read(authorized(), ready())
    ended = desk.engine.take_changes()
    assert [session.state for session in begun.open + moved.open] == [State.RECEIVED, State.AUTHENTICATED]
    assert (ended.open, ended.ended) == ((), (session_id(),))


def test_what_was_taken_to_be_saved_does_not_move_any_more(desk: Desk) -> None:
    desk.read(received())
    taken = desk.engine.take_changes()
    desk.read(authenticated(), authorized())
    assert (taken.open[0].state, taken.open[0].authenticated) == (State.RECEIVED, None)


def test_what_silence_has_decided_is_to_be_saved_and_forgotten_when_the_process_id_comes_again(desk: Desk) -> None:
    desk.read(received(with_id=False))
    desk.wait(70)
    silenced = desk.engine.take_changes()
    desk.read(received(80, with_id=False))
    again = desk.engine.take_changes()
    assert [(it.key, it.state) for it in silenced.silenced] == [(PID, State.ABANDONED)]
    assert (again.silenced, again.forgotten) == ((), (PID,))
    assert [it.pid for it in again.open] == [PID]


def test_an_attempt_that_is_given_up_for_lack_of_room_is_to_be_forgotten() -> None:
    desk = Desk(limits=Limits(max_open=1))
    desk.read(received(pid=1))
    desk.engine.take_changes()
    desk.read(received(pid=2))
    changes = desk.engine.take_changes()
    assert ([it.pid for it in changes.open], changes.ended) == ([2], (session_id(1),))


def test_of_what_silence_has_decided_the_oldest_is_forgotten_and_the_places_go_on_after_a_restart() -> None:
    first = Desk()
    first.read(*(received(pid=pid) for pid in (3, 1, 2)))
    first.wait(70)
    second = Desk(state=first.engine.state)
    second.read(*(received(80, pid=pid) for pid in range(10, 10 + MAX_DECIDED_BY_SILENCE - 2)))
    second.engine.take_changes()
    second.wait(150)
    silenced = second.engine.state.silenced
    assert len(silenced) == MAX_DECIDED_BY_SILENCE
    assert [it.key for it in silenced[:3]] == [session_id(1), session_id(2), session_id(10)]
    assert second.engine.take_changes().forgotten == (session_id(3),)
    places = [it.place for it in silenced]
    assert places == sorted(set(places))


def test_the_order_of_what_was_decided_by_silence_is_that_of_the_places_whatever_the_order_of_rows() -> None:
    silenced = tuple(Silenced(session_id(pid), place, State.REFUSED) for pid, place in ((1, 30), (2, 10), (3, 20)))
    desk = Desk(state=EngineState(silenced=silenced))
    assert [it.place for it in desk.engine.state.silenced] == [10, 20, 30]


def test_restored_attempts_are_in_the_order_in_which_they_began_whatever_the_order_of_rows() -> None:
    first = Desk()
    first.read(received(0, pid=3), received(1, pid=1), received(2, pid=2))
    rows = tuple(sorted(first.engine.state.open, key=lambda it: it.pid))
    second = Desk(state=EngineState(open=rows))
    assert [outcome.pid for outcome in second.wait(66.5)] == [3, 1]


def test_attempts_with_and_without_session_ids_that_were_authorized_at_once_can_be_restored() -> None:
    first = Desk()
    for with_id in (False, True):
        lines = [received(with_id=with_id), authenticated(with_id=with_id), authorized(with_id=with_id)]
        first.engine.observe(lines, START)
    second = Desk(state=first.engine.state)
    assert len(second.wait(5.1)) == 2


def test_other_limits_are_gone_by_from_now_on_and_what_is_open_stays(desk: Desk) -> None:
    desk.read(received())
    desk.engine.use(Limits(authentication_timeout=10.0), validated_since=START)
    assert desk.engine.validated_since == START
    assert one(desk.wait(16)) == (Result.ABANDONED, Reason.CLIENT_GONE)


def test_a_cluster_that_judges_no_tokens_any_more_needs_no_verdicts(desk: Desk) -> None:
    desk.engine.use(Limits(), validated_since=START - 10)
    desk.read(received(), authenticated(), authorized())
    desk.engine.use(Limits(), validated_since=None)
    desk.read(ready())
    assert desk.engine.unmatched[Unmatched.LOGGED_NOT_VALIDATED] == 0


def test_a_client_that_goes_away_from_our_refusal_has_been_refused_after_the_settling_time(desk: Desk) -> None:
    refused = cause(Saying.SHIM, reason_code="expired", detail="the token expired")
    assert desk.read(received(), refused) == []
    assert desk.engine.advance(START + 4) == []
    (outcome,) = desk.engine.advance(START + 6)
    assert (outcome.result, outcome.reason) == (Result.REFUSED, Reason.EXPIRED)
    assert desk.read(fatal(Saying.OAUTH_FAILED, 20)) == []
    assert desk.engine.unmatched[Unmatched.LATE] == 0


def test_a_refusal_that_waits_is_still_waited_for_after_a_restart(desk: Desk) -> None:
    desk.read(received(), cause(Saying.SHIM, reason_code="expired"))
    again = Engine("main", Verdicts(max_age=90), state=desk.engine.state)
    assert [outcome.reason for outcome in again.advance(START + 6)] == [Reason.EXPIRED]


def test_a_log_that_ends_after_our_refusal_has_refused(desk: Desk) -> None:
    desk.read(received(), cause(Saying.SHIM, reason_code="expired"))
    assert [outcome.reason for outcome in desk.engine.finish()] == [Reason.EXPIRED]
