"""The same real runs in each format, read in every chunking."""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest

from pgoauthd.logs.events import AuthEvent, EventKind, Saying
from pgoauthd.logs.prefix import compile_prefix
from pgoauthd.logs.readers import LogFormat, recognise
from tests.logs.fix_corpus import RUNS, as_stderr_says, by_session, corpus
from tests.logs.fix_lines import DEFAULT_PREFIX, cut, read_all, reader

KINDS = {
    "18.6-default": {
        EventKind.SERVER_STARTED: 1, EventKind.RECEIVED: 62, EventKind.AUTHENTICATED: 50, EventKind.AUTHORIZED: 34,
        EventKind.READY: 29, EventKind.DISCONNECTED: 29, EventKind.CAUSE: 24, EventKind.LOST: 1, EventKind.FATAL: 31,
        EventKind.SERVER_STOPPED: 1,
    },
    "19rc1-default": {
        EventKind.SERVER_STARTED: 1, EventKind.RECEIVED: 62, EventKind.AUTHENTICATED: 49, EventKind.AUTHORIZED: 34,
        EventKind.READY: 29, EventKind.DISCONNECTED: 29, EventKind.CAUSE: 17, EventKind.LOST: 1, EventKind.FATAL: 30,
        EventKind.SERVER_STOPPED: 1,
    },
}  # fmt: skip

SAYINGS = {
    "18.6-default": {
        Saying.OAUTH_FAILED: 22, Saying.IDENTITY_MISMATCH: 13, Saying.USERMAP_NO_MATCH: 1, Saying.TOKEN_MALFORMED: 1,
        Saying.TOKEN_NOT_BEARER: 1, Saying.TOKEN_EMPTY: 1, Saying.VALIDATOR_REFUSED: 1,
        Saying.VALIDATOR_NO_IDENTITY: 1, Saying.VALIDATOR_INTERNAL_ERROR: 2, Saying.FOREIGN: 3, Saying.ROLE_MISSING: 1,
        Saying.ROLE_NOLOGIN: 1, Saying.ROLE_CONNECTION_LIMIT: 1, Saying.DATABASE_MISSING: 1,
        Saying.DATABASE_NO_CONNECT: 1, Saying.CHANNEL_BINDING_UNSUPPORTED: 1, Saying.AUTHZID_UNSUPPORTED: 1,
        Saying.SASL_NO_AUTH_VALUE: 1, Saying.HANDSHAKE_TIMEOUT: 1,
    },
    "19rc1-default": {
        Saying.OAUTH_FAILED: 20, Saying.IDENTITY_MISMATCH: 13, Saying.USERMAP_NO_MATCH: 1, Saying.TOKEN_MALFORMED: 1,
        Saying.TOKEN_NOT_BEARER: 1, Saying.TOKEN_EMPTY: 1, Saying.ROLE_MISSING: 1, Saying.ROLE_NOLOGIN: 1,
        Saying.ROLE_CONNECTION_LIMIT: 1, Saying.DATABASE_MISSING: 1, Saying.DATABASE_NO_CONNECT: 1,
        Saying.CHANNEL_BINDING_UNSUPPORTED: 1, Saying.AUTHZID_UNSUPPORTED: 1, Saying.SASL_NO_AUTH_VALUE: 1,
        Saying.HANDSHAKE_TIMEOUT: 1, Saying.OTHER: 1,
    },
}  # fmt: skip

every_run = pytest.mark.parametrize("run", RUNS)
every_format = pytest.mark.parametrize("log_format", LogFormat)


@every_run
@every_format
def test_the_format_shows_in_the_first_lines(run: str, log_format: LogFormat) -> None:
    assert recognise(corpus(run, log_format)[:4096], compile_prefix(DEFAULT_PREFIX)) is log_format


@every_run
@every_format
def test_every_step_of_every_login_becomes_one_event(run: str, log_format: LogFormat) -> None:
    events = read_all(log_format, corpus(run, log_format))
    assert Counter(event.kind for event in events) == KINDS[run]
    assert Counter(event.saying for event in events if event.saying is not None) == SAYINGS[run]


@every_run
@every_format
def test_nothing_of_it_fails_to_be_read(run: str, log_format: LogFormat) -> None:
    data = corpus(run, log_format)
    made = reader(log_format)
    made.feed(data)
    made.finish()
    assert (made.stats.parse_failures, made.stats.overlong) == (0, 0)
    assert made.stats.bytes == made.consumed == len(data)


@every_run
def test_csvlog_and_jsonlog_say_the_same_of_every_session(run: str) -> None:
    csv = by_session(read_all(LogFormat.CSVLOG, corpus(run, LogFormat.CSVLOG)))
    assert csv == by_session(read_all(LogFormat.JSONLOG, corpus(run, LogFormat.JSONLOG)))
    assert len(csv) == 63


@every_run
@pytest.mark.parametrize(
    ("log_format", "plain"), [(LogFormat.CNPG, LogFormat.CSVLOG), (LogFormat.JOURNAL, LogFormat.STDERR)]
)
def test_what_others_make_of_a_log_says_the_same_as_the_log(run: str, log_format: LogFormat, plain: LogFormat) -> None:
    assert read_all(log_format, corpus(run, log_format)) == read_all(plain, corpus(run, plain))


@every_run
def test_stderr_says_the_same_but_for_what_its_prefix_lacks(run: str) -> None:
    stderr = by_session(read_all(LogFormat.STDERR, corpus(run, LogFormat.STDERR)))
    jsonlog = by_session(read_all(LogFormat.JSONLOG, corpus(run, LogFormat.JSONLOG)))
    assert stderr.keys() == jsonlog.keys()
    for pid, events in stderr.items():
        assert [as_stderr_says(event) for event in events] == [as_stderr_says(event) for event in jsonlog[pid]]


@every_run
@every_format
def test_byte_by_byte_gives_the_same_events(run: str, log_format: LogFormat) -> None:
    data = corpus(run, log_format)[:20_000]
    made = reader(log_format)
    events: list[AuthEvent] = []
    for at in range(len(data)):
        events += made.feed(data[at : at + 1])
    assert events + made.finish() == read_all(log_format, data)


@every_run
@every_format
@pytest.mark.parametrize("seed", range(8))
def test_random_chunks_give_the_same_events(run: str, log_format: LogFormat, seed: int) -> None:
    data = corpus(run, log_format)
    chance = random.Random(seed)  # noqa: S311 - a repeatable choice of places
    made = reader(log_format)
    events: list[AuthEvent] = []
    for chunk in cut(data, (chance.randrange(len(data)) for _ in range(10 ** (seed % 4)))):
        events += made.feed(chunk)
    assert events + made.finish() == read_all(log_format, data)


@every_run
@every_format
@pytest.mark.parametrize("seed", range(4))
def test_reading_again_from_what_was_consumed_loses_and_repeats_nothing(
    run: str, log_format: LogFormat, seed: int
) -> None:
    data = corpus(run, log_format)
    chance = random.Random(seed)  # noqa: S311 - a repeatable choice of places
    events: list[AuthEvent] = []
    begin = 0
    for stop in sorted(chance.randrange(len(data)) for _ in range(60)):
        if stop <= begin:
            continue
        made = reader(log_format)
        events += made.feed(data[begin:stop])
        begin += made.consumed
    assert events + read_all(log_format, data[begin:]) == read_all(log_format, data)


ENTRY_STARTS = {
    LogFormat.STDERR: re.compile(rb"^(?=\d{4}-[^\n]* (?:LOG|WARNING|ERROR|FATAL):  )", re.MULTILINE),
    LogFormat.CSVLOG: re.compile(rb"^(?=\d{4}-[^\n]*,\d+,)", re.MULTILINE),
    LogFormat.JSONLOG: re.compile(rb"^(?=\{)", re.MULTILINE),
    LogFormat.CNPG: re.compile(rb"^(?=\{)", re.MULTILINE),
    LogFormat.JOURNAL: re.compile(
        rb'^(?=\{[^\n]*"MESSAGE":"\d{4}-[^\n]* (?:LOG|WARNING|ERROR|FATAL):  )', re.MULTILINE
    ),
}


@every_run
@every_format
def test_flushing_between_entries_changes_nothing(run: str, log_format: LogFormat) -> None:
    data = corpus(run, log_format)
    made = reader(log_format)
    events: list[AuthEvent] = []
    for entry in ENTRY_STARTS[log_format].split(data):
        events += made.feed(entry) + made.flush()
        assert made.consumed == made.stats.bytes or log_format is LogFormat.CSVLOG
    assert events == read_all(log_format, data)


@every_run
@every_format
def test_an_identity_with_a_newline_is_whole(run: str, log_format: LogFormat) -> None:
    identity = 'alice\nFAKE LOG: connection authenticated: identity="x" method=oauth'
    found = [event for event in read_all(log_format, corpus(run, log_format)) if event.identity == identity]
    assert [event.kind for event in found] == [EventKind.AUTHENTICATED, EventKind.CAUSE]
    assert (found[0].method, found[0].hba_line, found[0].role) == ("oauth", 6, "alice")


@every_run
@every_format
def test_an_identity_that_imitates_the_tail_is_whole(run: str, log_format: LogFormat) -> None:
    identity = 'alice" method=oauth (/etc/pg_hba.conf:1)'
    found = [event for event in read_all(log_format, corpus(run, log_format)) if event.identity == identity]
    assert [event.kind for event in found] == [EventKind.AUTHENTICATED, EventKind.CAUSE]
    assert found[0].hba_file is not None
    assert found[0].hba_file.endswith("/main/pg_hba.conf")


@every_run
@every_format
def test_a_role_with_space_and_quote_is_whole(run: str, log_format: LogFormat) -> None:
    events = [event for event in read_all(log_format, corpus(run, log_format)) if event.role == 'we ird"x']
    assert {event.kind for event in events} >= {EventKind.AUTHENTICATED, EventKind.AUTHORIZED, EventKind.READY}
    assert {event.database for event in events} == {"postgres"}


@every_run
@every_format
def test_an_application_name_with_quotes_is_whole(run: str, log_format: LogFormat) -> None:
    events = read_all(log_format, corpus(run, log_format))
    names = {event.application_name for event in events if event.kind is EventKind.AUTHORIZED}
    assert 'my "app" ok' in names


@every_format
def test_the_reason_that_a_validator_gave_postgresql_19_stands_in_detail(log_format: LogFormat) -> None:
    events = read_all(log_format, corpus("19rc1-default", log_format))
    fatals = [event for event in events if event.saying is Saying.OAUTH_FAILED]
    assert {event.detail for event in fatals} == {
        None,
        'Required scope "postgres" is missing.',
        "The token is not a JWT.",
        "The token has no subject.",
    }
    assert {event.hba_line for event in fatals} == {3, 6}


@every_format
@pytest.mark.parametrize(("run", "major"), [("18.6-default", 18), ("19rc1-default", 19)])
def test_the_server_tells_its_major_version(log_format: LogFormat, run: str, major: int) -> None:
    events = read_all(log_format, corpus(run, log_format))
    assert [event.server_version for event in events if event.kind is EventKind.SERVER_STARTED] == [major]
    assert events[-1].kind is EventKind.SERVER_STOPPED
