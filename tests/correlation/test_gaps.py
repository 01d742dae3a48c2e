"""Lines that are missing: reported where that is certain, on no real log, and never where it may be otherwise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pytest
from msgspec.structs import replace

from pgoauthd.correlation.gaps import AROUND_SECONDS, MAX_SESSIONS, UNKNOWN_SECONDS, Gaps
from pgoauthd.logs.events import AuthEvent, EventKind, Saying
from pgoauthd.logs.readers import LogFormat
from tests.logs.fix_corpus import RUNS, corpus
from tests.logs.fix_lines import reader

RECEIVED, AUTHENTICATED, AUTHORIZED, READY, FATAL, CAUSE = (
    EventKind.RECEIVED,
    EventKind.AUTHENTICATED,
    EventKind.AUTHORIZED,
    EventKind.READY,
    EventKind.FATAL,
    EventKind.CAUSE,
)
LOGIN = {RECEIVED: 1, AUTHENTICATED: 2, AUTHORIZED: 3, READY: 4}
AFTER_ALL = {
    Saying.ROLE_MISSING, Saying.ROLE_NOLOGIN, Saying.ROLE_CONNECTION_LIMIT, Saying.DATABASE_MISSING,
    Saying.DATABASE_NO_CONNECT, Saying.DATABASE_CONNECTION_LIMIT,
}  # fmt: skip
AFTER_IDENTITY = AFTER_ALL | {Saying.IDENTITY_MISMATCH, Saying.USERMAP_NO_MATCH}
START = 1_795_310_000
WITH_NUMBERS = (LogFormat.CSVLOG, LogFormat.JSONLOG, LogFormat.CNPG)


def line(kind: EventKind, start: int, number: int, *, pid: int = 1, saying: Saying | None = None) -> AuthEvent:
    return AuthEvent(
        kind=kind, time=0.0, pid=pid, session_id=f"{start:x}.{pid:x}", line_num=number, saying=saying,
        client_addr="10.0.0.7",
    )  # fmt: skip


def login(
    start: int, *missing: EventKind, pid: int = 1, numbers: dict[EventKind, int] | None = None
) -> list[AuthEvent]:
    """A login's lines but for those missing."""
    return [line(kind, start, at, pid=pid) for kind, at in (numbers or LOGIN).items() if kind not in missing]


def known(*, until: int = START) -> list[AuthEvent]:
    """Logins that are read before, so that those from `until` on can be judged."""
    return [*login(until - UNKNOWN_SECONDS - 1), *login(until - 1)]


def lost(events: Iterable[AuthEvent]) -> int:
    """What is found, whether the events come one by one or all at once."""
    events, gaps = list(events), Gaps()
    found = sum(gaps.find([event]) for event in events)
    assert Gaps().find(events) == found
    return found


@pytest.mark.parametrize("missing", [RECEIVED, AUTHENTICATED, AUTHORIZED])
def test_a_line_between_logins_that_have_it_is_lost(missing: EventKind) -> None:
    assert lost([*known(), *login(START, missing), *login(START + 5)]) == 1


def test_every_line_that_is_missing_is_counted() -> None:
    assert lost([*known(), *login(START, RECEIVED, AUTHENTICATED, AUTHORIZED), *login(START + 5)]) == 3


def test_a_lost_line_is_reported_once() -> None:
    gaps = Gaps()
    assert gaps.find([*known(), *login(START, RECEIVED), *login(START + 5)]) == 1
    assert gaps.find([*login(START + 6), *login(START + 7)]) == 0


def test_no_more_lines_are_lost_than_the_numbers_leave_room_for() -> None:
    numbers = {READY: 3}
    assert lost([*known(), *login(START, numbers=numbers), *login(START + 5)]) == 2


def test_what_logins_after_it_do_not_confirm_is_not_lost() -> None:
    assert lost([*known(), *login(START, RECEIVED)]) == 0


@pytest.mark.parametrize("away", [AROUND_SECONDS, AROUND_SECONDS + 1])
def test_a_login_much_later_confirms_nothing(away: int) -> None:
    assert lost([*known(), *login(START, RECEIVED), *login(START + away)]) == (away <= AROUND_SECONDS)


@pytest.mark.parametrize("away", [AROUND_SECONDS, AROUND_SECONDS + 1])
def test_a_login_long_before_confirms_nothing(away: int) -> None:
    before = [*login(START - 2 * UNKNOWN_SECONDS - 2), *login(START - away)]
    assert lost([*before, *login(START, RECEIVED), *login(START + 5)]) == (away <= AROUND_SECONDS)


def test_a_server_that_does_not_log_a_step_loses_no_line_of_it() -> None:
    """Its own modules may log instead, so the numbers have room."""
    assert lost(event for second in range(300) for event in login(START + second, AUTHENTICATED)) == 0


def test_a_line_for_which_the_numbers_have_no_room_is_not_lost() -> None:
    numbers = {AUTHENTICATED: 1, AUTHORIZED: 2, READY: 3}
    assert lost([*known(), *login(START, numbers=numbers), *login(START + 5)]) == 0


def test_lines_of_others_between_those_of_a_login_are_not_lost() -> None:
    numbers = {RECEIVED: 3, AUTHENTICATED: 7, AUTHORIZED: 90, READY: 200}
    assert lost([*known(), *login(START, numbers=numbers), *login(START + 5)]) == 0


def test_of_logins_that_began_about_when_reading_did_nothing_is_said() -> None:
    assert lost([*login(START - 5), *login(START, RECEIVED), *login(START + 5)]) == 0


def test_a_session_of_long_ago_that_is_ended_says_nothing() -> None:
    """Though it is what is read first."""
    ended = line(FATAL, START - 90_000, 4000, saying=Saying.OTHER)
    assert lost([ended, *login(START), replace(ended, session_id=f"{START - 80_000:x}.2"), *login(START + 5)]) == 0


def test_a_login_that_was_under_way_when_reading_began_says_nothing_of_those_after_it() -> None:
    """It may have waited long for its client."""
    slow = line(AUTHORIZED, START - 300, 3)
    assert lost([slow, *login(START - 1), *login(START, RECEIVED), *login(START + 5)]) == 0


def test_a_session_that_ends_long_after_its_login_lacks_nothing() -> None:
    end = line(FATAL, START, 4000, saying=Saying.OTHER)
    assert lost([*known(), *login(START), *login(START + 5), end, *login(START + 6)]) == 0


def test_what_is_forgotten_is_not_taken_for_lost() -> None:
    many = [line(RECEIVED, START + 1, 1, pid=pid) for pid in range(2, MAX_SESSIONS + 2)]
    late = line(AUTHENTICATED, START, 2)
    assert lost([*known(), line(RECEIVED, START, 1), *many, late, *login(START + 5)]) == 0


def test_a_worker_of_the_server_that_fails_is_no_login() -> None:
    worker = replace(line(FATAL, START, 2, saying=Saying.DATABASE_MISSING), client_addr=None)
    assert lost([*known(), worker, replace(worker, line_num=4), *login(START + 5)]) == 0


@pytest.mark.parametrize("without", [{"session_id": None}, {"line_num": None}, {"session_id": "damaged"}])
def test_without_session_id_or_number_nothing_is_said(without: dict[str, object]) -> None:
    """A log in stderr format has them only with %c and %l."""
    bare = [replace(event, **without) for event in login(START, RECEIVED)]
    assert lost([*known(), *bare, *login(START + 5)]) == 0


def events_of(run: str, log_format: LogFormat) -> list[AuthEvent]:
    made = reader(log_format)
    return [*made.feed(corpus(run, log_format)), *made.finish()]


def between_logins(events: list[AuthEvent]) -> list[AuthEvent]:
    """With logins before, so that the first ones can be judged, and one after."""
    starts = [int(str(event.session_id).partition(".")[0], 16) for event in events]
    return [*known(until=min(starts)), *events, *login(max(starts) + 5)]


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("log_format", WITH_NUMBERS)
def test_in_a_real_log_nothing_is_missing(run: str, log_format: LogFormat) -> None:
    assert lost(between_logins(events_of(run, log_format))) == 0


def shows(later: Iterable[AuthEvent], kind: EventKind) -> bool:
    """Whether one of the lines that follow in the session proves that this one was there."""
    proving = {RECEIVED: {*EventKind}, AUTHENTICATED: {AUTHORIZED, READY}, AUTHORIZED: {READY}}[kind]
    sayings = {RECEIVED: {*Saying}, AUTHENTICATED: AFTER_IDENTITY, AUTHORIZED: AFTER_ALL}[kind]
    return any(event.kind in proving or event.saying in sayings for event in later)


@pytest.mark.parametrize("run", RUNS)
def test_each_line_taken_out_of_a_real_log_is_reported_where_later_lines_show_it(run: str) -> None:
    events = events_of(run, LogFormat.JSONLOG)
    reported: Counter[bool] = Counter()
    for at, event in enumerate(events):
        if event.kind not in (RECEIVED, AUTHENTICATED, AUTHORIZED):
            continue
        later = [other for other in events[at + 1 :] if other.session_id == event.session_id]
        found = lost(between_logins(events[:at] + events[at + 1 :]))
        assert found == shows(later, event.kind), event
        reported[found == 1] += 1
    assert reported[True] > 9 * reported[False]
