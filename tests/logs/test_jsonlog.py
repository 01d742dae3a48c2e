"""Entries of jsonlog."""

from __future__ import annotations

import json

import pytest

from pgoauthd.logs.events import EventKind
from pgoauthd.logs.readers import LogFormat
from tests.logs.fix_lines import Entry, json_line, read_all, reader

AUTHORIZED = Entry(message="connection authorized: user=alice database=app")
LINE = json_line(AUTHORIZED)


@pytest.mark.parametrize("field", ["message", "detail", "context", "statement", "role", "database", "application_name"])
def test_an_entry_imitated_inside_a_member_says_nothing(field: str) -> None:
    imitation = json_line(Entry(message=AUTHORIZED.message, role="mallory")).decode()
    data = json_line(Entry(**({"severity": "ERROR", "message": "x"} | {field: f"x\n{imitation}"})))  # type: ignore[arg-type]
    made = reader(LogFormat.JSONLOG)
    events = made.feed(LINE + data + LINE) + made.finish()
    assert [event.role for event in events] == ["alice", "alice"]
    assert made.stats.entries_seen == 2


def test_members_that_are_not_known_are_passed_over() -> None:
    longer = LINE.replace(b'"query_id":0', b'"query_id":0,"new":{"nested":[1,2,null]}')
    assert len(read_all(LogFormat.JSONLOG, longer)) == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'{"timestamp"', b'"timestamp"'),
        (b'"pid":30463', b'"pid":"30463"'),
        (b'"timestamp":"2026-11-22 01:11:56.131 UTC"', b'"timestamp":"yesterday"'),
        (b'"timestamp":"2026-11-22 01:11:56.131 UTC"', b'"timestamp":"2026-11-22 01:11:56.abc UTC"'),
        (b'"session_id":"6b02415c.76ff"', b'"session_id":"?"'),
        (b'"query_id":0}', b'"query_id":0'),
        (b'"query_id":0}', b'"query_id":0}}'),
    ],
)
def test_a_line_of_ours_that_cannot_be_read_is_a_failure(old: bytes, new: bytes) -> None:
    made = reader(LogFormat.JSONLOG)
    events = made.feed(LINE.replace(old, new) + LINE) + made.finish()
    assert len(events) == 1
    assert made.stats.parse_failures == 1


def test_a_foreign_line_that_cannot_be_read_is_not_looked_at() -> None:
    made = reader(LogFormat.JSONLOG)
    assert len(made.feed(b"not json\n{\n\x00\xff\n" + LINE)) == 1
    assert made.stats.parse_failures == 0


def test_a_torn_line_is_a_failure_and_spoils_only_what_is_on_it() -> None:
    for length in range(1, len(LINE) - 1):
        made = reader(LogFormat.JSONLOG)
        events = made.feed(LINE + LINE[:length] + LINE + LINE) + made.finish()
        assert [event.role for event in events] == ["alice"] * 2, length
        assert made.stats.parse_failures == 1


def test_invalid_utf8_in_a_member_is_replaced() -> None:
    (event,) = read_all(LogFormat.JSONLOG, LINE.replace(b'"user":"alice"', b'"user":"al\xff\xc3"'))
    assert event.role == "al\ufffd\ufffd"


def test_escapes_are_read() -> None:
    entry = json.loads(LINE) | {"message": 'connection authenticated: identity="ä\n\\"\u2028" method=oauth (/f:1)'}
    (event,) = read_all(LogFormat.JSONLOG, (json.dumps(entry, separators=(",", ":")) + "\n").encode())
    assert event.identity == 'ä\n\\"\u2028'


def test_carriage_returns_of_a_windows_server_are_dropped() -> None:
    events = read_all(LogFormat.JSONLOG, (LINE + LINE).replace(b"\n", b"\r\n"))
    assert [event.kind for event in events] == [EventKind.AUTHORIZED] * 2


def test_a_half_line_keeps_waiting() -> None:
    made = reader(LogFormat.JSONLOG)
    assert made.feed(LINE[:-5]) + made.flush() == []
    assert made.consumed == 0
    assert len(made.feed(LINE[-5:])) == 1
    assert made.consumed == len(LINE)


def test_the_last_line_may_lack_its_newline() -> None:
    assert len(read_all(LogFormat.JSONLOG, LINE + LINE.rstrip(b"\n"))) == 2


def test_a_half_line_at_the_end_is_a_failure() -> None:
    made = reader(LogFormat.JSONLOG)
    assert made.feed(LINE[:-5]) + made.finish() == []
    assert made.stats.parse_failures == 1
