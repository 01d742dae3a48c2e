"""Entries of csvlog: where one begins and ends, whatever its fields hold."""

from __future__ import annotations

import pytest

from pgoauthd.logs.events import EventKind
from pgoauthd.logs.readers import LogFormat
from tests.logs.fix_lines import Entry, csv_line, read_all, reader

AUTHORIZED = Entry(message="connection authorized: user=alice database=app")
LINE = csv_line(AUTHORIZED)


def imitation(pid: int = 1) -> str:
    return csv_line(Entry(message="connection authorized: user=mallory database=app", role="mallory", pid=pid)).decode()


def foreign(**fields: str) -> bytes:
    return csv_line(Entry(**({"severity": "ERROR", "message": "x"} | fields)))  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["message", "detail", "context", "statement", "role", "database", "application_name"])
def test_an_entry_imitated_inside_a_field_says_nothing(field: str) -> None:
    data = foreign(**{field: f"x\n{imitation()}{imitation()}y"})
    made = reader(LogFormat.CSVLOG)
    events = made.feed(LINE + data + LINE) + made.finish()
    assert [event.role for event in events] == ["alice", "alice"]
    assert made.stats.parse_failures == 0


@pytest.mark.parametrize("field", ["message", "detail", "statement", "role", "database"])
@pytest.mark.parametrize("quotes", ['"', '""', '"""', '",', ',"', '\n"', '"\n', '","', '"\n"'])
def test_quotes_beside_an_imitation_do_not_help_it(field: str, quotes: str) -> None:
    data = foreign(**{field: f"x{quotes}\n{imitation()}{quotes}{imitation()}"})
    made = reader(LogFormat.CSVLOG)
    events = made.feed(LINE + data + LINE) + made.finish()
    assert [event.role for event in events] == ["alice", "alice"]
    assert made.stats.parse_failures == 0


@pytest.mark.parametrize(
    "role",
    [
        "new\nline",
        '"\n"',
        "2026-11-22 01:11:56.131 UTC,,,1,,0.0,1,,2026-11-22 01:11:56 UTC,,0,LOG,00000,",
        "x\n2026-11-22 01:11:56.131 UTC,",
        'x\n2026-11-22 01:11:56.131 UTC,"',
        "a,b",
        ",LOG,00000,",
        "\n\n\n",
    ],
)
def test_a_role_of_any_characters_is_read_whole(role: str) -> None:
    entry = Entry(message="connection received: host=x port=1", role=role)
    made = reader(LogFormat.CSVLOG)
    events = made.feed(LINE + csv_line(entry) + LINE) + made.finish()
    assert [event.role for event in events] == ["alice", role, "alice"]
    assert made.stats.parse_failures == 0


def test_a_message_with_newlines_is_one_entry() -> None:
    message = 'connection authenticated: identity="a\nb""\n" method=oauth (/etc/pg_hba.conf:3)'
    (event,) = read_all(LogFormat.CSVLOG, csv_line(Entry(message=message)))
    assert event.identity == 'a\nb""\n'


def test_reading_may_begin_inside_a_field() -> None:
    data = foreign(statement=f"select\n{imitation()}\n;")
    made = reader(LogFormat.CSVLOG)
    events = made.feed(data[len(data) // 2 :] + LINE) + made.finish()
    assert [event.role for event in events] == ["alice"]


def test_an_entry_that_was_torn_spoils_only_itself() -> None:
    for length in range(1, LINE.rindex(b",")):
        made = reader(LogFormat.CSVLOG)
        events = made.feed(LINE + LINE[:length] + b"\n" + LINE + LINE) + made.finish()
        assert [event.role for event in events] == ["alice"] * 3, length
        assert made.stats.parse_failures <= 1


def test_an_entry_written_after_a_torn_one_on_the_same_line_is_counted_as_a_failure() -> None:
    for length in range(1, len(LINE) - 1):
        made = reader(LogFormat.CSVLOG)
        events = made.feed(LINE + LINE[:length] + LINE + LINE) + made.finish()
        assert len(events) + made.stats.parse_failures >= 3, length
        assert [event.role for event in events[:1] + events[-1:]] == ["alice"] * 2


@pytest.mark.parametrize("severity", ["XLOG", "MSG", "DEBUG"])
def test_a_word_that_ends_like_a_severity_is_none(severity: str) -> None:
    assert len(read_all(LogFormat.CSVLOG, csv_line(Entry(message=AUTHORIZED.message, severity=severity)) + LINE)) == 1


def test_columns_that_later_versions_append_are_passed_over() -> None:
    longer = LINE.rstrip(b"\n") + b',"new ""column""",42,,\n'
    assert len(read_all(LogFormat.CSVLOG, longer + LINE)) == 2


def test_too_few_columns_are_a_failure() -> None:
    made = reader(LogFormat.CSVLOG)
    events = made.feed(b",".join(LINE.split(b",")[:20]) + b"\n" + LINE) + made.finish()
    assert len(events) == 1
    assert made.stats.parse_failures == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"2026-11-22 01:11:56.131 UTC", b"yesterday"),
        (b"2026-11-22 01:11:56.131", b"2026-99-22 01:11:56.131"),
        (b",30463,", b",,"),
        (b"6b02415c.76ff", b"6b02415c"),
        (b'"alice"', b'"ali"ce"'),
        (b'"alice"', b"alice"),
    ],
)
def test_a_column_that_is_not_what_it_must_be_is_a_failure(old: bytes, new: bytes) -> None:
    made = reader(LogFormat.CSVLOG)
    events = made.feed(LINE.replace(old, new) + LINE) + made.finish()
    assert len(events) == 1
    assert made.stats.parse_failures == 1


def test_carriage_returns_of_a_windows_server_are_dropped() -> None:
    (first, second) = read_all(LogFormat.CSVLOG, (LINE + LINE).replace(b"\n", b"\r\n"))
    assert first == second
    assert first.kind is EventKind.AUTHORIZED


def test_nul_and_invalid_utf8_are_replaced() -> None:
    (event,) = read_all(LogFormat.CSVLOG, LINE.replace(b"alice", b"al\x00\xff\xc3"))
    assert event.role == "al\0\ufffd\ufffd"


@pytest.mark.parametrize("role", ["zoë", "田中", "al\u00a0ice", "x\u0663"])
def test_names_of_any_letters_are_read_as_they_are(role: str) -> None:
    (event,) = read_all(LogFormat.CSVLOG, csv_line(Entry(message="connection received: host=x port=1", role=role)))
    assert event.role == role


def test_digits_are_those_of_ascii() -> None:
    made = reader(LogFormat.CSVLOG)
    assert made.feed(LINE.replace(b",30463,", ",٣٠٤٦٣,".encode())) + made.finish() == []
    assert made.stats.parse_failures == 1


def test_a_half_entry_keeps_waiting_and_is_a_failure_at_the_end() -> None:
    made = reader(LogFormat.CSVLOG)
    assert made.feed(LINE + LINE[:-5]) + made.flush() != []
    assert made.consumed == len(LINE)
    assert made.finish() == []
    assert made.stats.parse_failures == 1


def test_the_last_entry_may_lack_its_newline() -> None:
    assert len(read_all(LogFormat.CSVLOG, LINE + LINE.rstrip(b"\n"))) == 2


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        (b'"[local]"', ("[local]", None)),
        (b'"10.0.0.7:50001"', ("10.0.0.7", 50001)),
        (b'"::1:50001"', ("::1", 50001)),
        (b'"db.example.org:1"', ("db.example.org", 1)),
        (b'"a""b:1"', ('a"b', 1)),
    ],
)
def test_the_client_is_taken_apart(client: bytes, expected: tuple[str, int | None]) -> None:
    (event,) = read_all(LogFormat.CSVLOG, LINE.replace(b'"10.0.0.7:50001"', client))
    assert (event.client_addr, event.client_port) == expected


def test_a_foreign_field_of_many_quotes_costs_no_time() -> None:
    data = foreign(statement='",\n' * 200_000)
    made = reader(LogFormat.CSVLOG, max_line_bytes=1 << 24)
    events = made.feed(LINE + data) + made.feed(LINE) + made.finish()
    assert len(events) == 2


@pytest.mark.parametrize("field", ["message", "detail", "statement", "role", "application_name"])
@pytest.mark.parametrize(
    "text", ['FATAL,28000,""', "FATAL,28000,", 'FATAL,28000,"', 'x\nFATAL,28000,"x"', "FATAL,28000,\n"]
)
@pytest.mark.parametrize("size", [1 << 20, 50])
def test_text_that_looks_like_the_middle_of_an_entry_is_no_failure(field: str, text: str, size: int) -> None:
    data = LINE + foreign(**{field: text}) + LINE
    made = reader(LogFormat.CSVLOG)
    events = [event for at in range(0, len(data), size) for event in made.feed(data[at : at + size])] + made.finish()
    assert [event.role for event in events] == ["alice", "alice"]
    assert (made.stats.parse_failures, made.stats.overlong) == (0, 0)


@pytest.mark.parametrize("message", ['"x" is none', '""x""', "x", "x,"])
def test_a_fatal_is_seen_whatever_quotes_its_message_begins_with(message: str) -> None:
    (event,) = read_all(LogFormat.CSVLOG, csv_line(Entry(message=message, severity="FATAL", sqlstate="28000")))
    assert event.kind is EventKind.FATAL
