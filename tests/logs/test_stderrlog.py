"""Entries of stderr format: which lines belong together, and what is none."""

from __future__ import annotations

import pytest

from pgoauthd.logs.events import EventKind, Saying
from pgoauthd.logs.readers import LogFormat
from tests.logs.fix_lines import Entry, read_all, reader, render, stderr_lines

AUTHORIZED = Entry(message="connection authorized: user=alice database=app")
FAILED = Entry(
    severity="FATAL",
    message='OAuth bearer authentication failed for user "alice"',
    detail='Connection matched file "/etc/pg_hba.conf" line 6: "host all all 127.0.0.1/32 oauth map=m"',
)


def test_detail_lines_belong_to_the_line_before() -> None:
    (event,) = read_all(LogFormat.STDERR, stderr_lines(FAILED))
    assert (event.saying, event.hba_line, event.usermap) == (Saying.OAUTH_FAILED, 6, "m")


def test_a_detail_of_another_process_does_not() -> None:
    other = stderr_lines(FAILED).splitlines(keepends=True)[1].replace(b"[30463]", b"[30464]")
    (event,) = read_all(LogFormat.STDERR, stderr_lines(FAILED).splitlines(keepends=True)[0] + other)
    assert event.hba_line is None


def test_a_detail_of_two_lines_is_one_detail() -> None:
    detail = f"The token is not a JWT.\n{FAILED.detail}"
    entry = Entry(severity="FATAL", message=FAILED.message, detail=detail)
    (event,) = read_all(LogFormat.STDERR, stderr_lines(entry))
    assert (event.detail, event.hba_line) == ("The token is not a JWT.", 6)


@pytest.mark.parametrize("satellite", ["HINT", "QUERY", "CONTEXT", "STATEMENT", "LOCATION", "BACKTRACE"])
def test_no_line_of_an_entry_hides_its_detail(satellite: str) -> None:
    first, detail = stderr_lines(FAILED).splitlines(keepends=True)
    between = f"2026-11-22 01:11:56.131 UTC [30463] alice@app {satellite}:  LOG:  x\n".encode()
    (event,) = read_all(LogFormat.STDERR, first + between + detail)
    assert event.hba_line == 6


def test_a_hint_or_statement_does_not_hide_the_detail_after_it() -> None:
    prefix = b"2026-11-22 01:11:56.131 UTC [30463] alice@app "
    first, detail = stderr_lines(FAILED).splitlines(keepends=True)
    between = prefix + b"HINT:  look\n\tharder\n" + prefix + b"QUERY:  select\n"
    (event,) = read_all(LogFormat.STDERR, first + between + detail + prefix + b"STATEMENT:  FATAL:  \n")
    assert event.hba_line == 6


def test_a_line_raised_inside_a_function_is_known_by_its_context() -> None:
    forged = Entry(message=AUTHORIZED.message, context="PL/pgSQL function inline_code_block line 1 at RAISE")
    assert read_all(LogFormat.STDERR, stderr_lines(forged)) == []


def test_an_entry_waits_for_lines_of_its_own() -> None:
    first, second = stderr_lines(FAILED).splitlines(keepends=True)
    made = reader(LogFormat.STDERR)
    assert made.feed(first) == []
    assert made.consumed == 0
    assert made.feed(second) == []
    (event,) = made.feed(stderr_lines(AUTHORIZED))
    assert event.hba_line == 6


def test_an_idle_source_completes_the_last_entry() -> None:
    made = reader(LogFormat.STDERR)
    made.feed(stderr_lines(FAILED))
    assert [event.hba_line for event in made.flush()] == [6]
    assert made.flush() == []
    assert made.consumed == made.stats.bytes


def test_a_half_line_keeps_waiting_when_the_source_is_idle() -> None:
    line = stderr_lines(AUTHORIZED)
    made = reader(LogFormat.STDERR)
    assert made.feed(line[:-5]) + made.flush() == []
    assert made.consumed == 0
    made.feed(line[-5:])
    assert [event.kind for event in made.flush()] == [EventKind.AUTHORIZED]


def test_the_end_of_the_source_completes_a_line_without_newline() -> None:
    made = reader(LogFormat.STDERR)
    assert made.feed(stderr_lines(AUTHORIZED).rstrip(b"\n")) == []
    assert [event.kind for event in made.finish()] == [EventKind.AUTHORIZED]
    assert made.consumed == made.stats.bytes


@pytest.mark.parametrize("severity", ["ERROR", "STATEMENT", "DETAIL", "HINT", "CONTEXT", "NOTICE"])
def test_a_message_quoted_by_another_entry_says_nothing(severity: str) -> None:
    line = f"2026-11-22 01:11:56.131 UTC [30463] alice@app {severity}:  select 'LOG:  {AUTHORIZED.message}'\n"
    made = reader(LogFormat.STDERR)
    assert made.feed(line.encode()) + made.finish() == []
    assert made.stats.parse_failures == 0


def test_a_continuation_line_that_imitates_an_entry_says_nothing() -> None:
    imitation = stderr_lines(AUTHORIZED).decode()
    entry = Entry(severity="ERROR", message=f"x\n{imitation}{imitation}")
    made = reader(LogFormat.STDERR)
    assert made.feed(stderr_lines(entry)) + made.finish() == []
    assert made.stats.parse_failures == 0


def test_a_line_of_ours_without_the_prefix_is_a_failure() -> None:
    made = reader(LogFormat.STDERR)
    assert made.feed(b"LOG:  connection authorized: user=alice database=app\n") + made.finish() == []
    assert made.stats.parse_failures == 1


@pytest.mark.parametrize("word", ["MSG", "DEBUG", "G", "ALOG", "XFATAL"])
def test_a_word_that_ends_like_a_severity_is_none(word: str) -> None:
    line = f"2026-11-22 01:11:56.131 UTC [30463] alice@app {word}:  {AUTHORIZED.message}\n"
    assert read_all(LogFormat.STDERR, line.encode() + stderr_lines(AUTHORIZED)) == read_all(
        LogFormat.STDERR, stderr_lines(AUTHORIZED)
    )


def test_what_other_programs_say_in_words_like_ours_is_no_failure() -> None:
    made = reader(LogFormat.STDERR)
    assert made.feed(b"MSG:  connection received: host=x port=1\n") + made.finish() == []
    assert made.stats.parse_failures == 0


@pytest.mark.parametrize(
    "line",
    [
        b"2026-13-45 01:11:56.131 UTC [30463] alice@app LOG:  connection received: host=x port=1\n",
        b"2026-11-22 25:11:56.131 UTC [30463] alice@app LOG:  connection received: host=x port=1\n",
    ],
)
def test_a_time_that_is_none_is_a_failure(line: bytes) -> None:
    made = reader(LogFormat.STDERR)
    assert made.feed(line) + made.finish() == []
    assert made.stats.parse_failures == 1


def test_carriage_returns_of_a_windows_server_are_dropped() -> None:
    data = stderr_lines(FAILED).replace(b"\n", b"\r\n")
    (event,) = read_all(LogFormat.STDERR, data)
    assert (event.saying, event.hba_line, event.usermap) == (Saying.OAUTH_FAILED, 6, "m")


def test_nul_and_invalid_utf8_are_replaced_and_spoil_no_neighbour() -> None:
    line = stderr_lines(AUTHORIZED)
    events = read_all(LogFormat.STDERR, line.replace(b"alice", b"al\x00i\xffce") + line)
    assert [event.role for event in events] == ["al\0i\ufffdce", "alice"]


def test_a_name_cut_inside_a_character_is_readable() -> None:
    name = "ä" * 31 + "a"
    cut = name.encode()[:-2]
    line = b"2026-11-22 01:11:56.131 UTC [30463] " + cut + b'@app FATAL:  role "' + cut + b'" does not exist\n'
    (event,) = read_all(LogFormat.STDERR, line)
    assert event.role == "ä" * 30 + "\ufffd"


def test_output_of_other_programs_between_entries_is_passed_over() -> None:
    noise = b"cp: cannot stat '/archive/0001': No such file or directory\n\x00\x01\n\n\tindented\n"
    made = reader(LogFormat.STDERR)
    events = made.feed(noise + stderr_lines(AUTHORIZED) + noise + stderr_lines(FAILED) + noise) + made.finish()
    assert [event.kind for event in events] == [EventKind.AUTHORIZED, EventKind.FATAL]
    assert made.stats.parse_failures == 0


def test_a_process_that_serves_no_client_logs_no_failed_login() -> None:
    line = b"2026-11-22 01:11:56.131 UTC [99] LOG:  starting up\n2026-11-22 01:11:56.131 UTC [99] FATAL:  bad luck\n"
    assert read_all(LogFormat.STDERR, line) == []


def test_a_session_id_is_put_together_from_start_and_pid() -> None:
    line = b"2026-11-22 01:11:56.131 UTC 2026-11-22 01:11:56 UTC [30463] LOG:  connection received: host=x port=1\n"
    (event,) = read_all(LogFormat.STDERR, line, "%m %s [%p] ")
    assert event.session_id == "6b02415c.76ff"


def test_a_prefix_without_start_or_session_leaves_the_session_id_unknown() -> None:
    (event,) = read_all(LogFormat.STDERR, stderr_lines(AUTHORIZED))
    assert (event.session_id, event.pid) == (None, 30463)


def test_a_parallel_worker_says_nothing() -> None:
    fatal = b"2026-11-22 01:11:56.131 UTC [7] %sFATAL:  terminating connection due to administrator command\n"
    assert read_all(LogFormat.STDERR, fatal % b"5 ", "%m [%p] %P ") == []
    assert len(read_all(LogFormat.STDERR, fatal % b" ", "%m [%p] %P ")) == 1


def test_many_entries_are_emitted_in_file_order() -> None:
    entries = [Entry(message="connection received: host=x port=1", pid=pid) for pid in range(100, 150)]
    mixed = [entry for pair in zip(entries, [FAILED] * 50, strict=True) for entry in pair]
    events = read_all(LogFormat.STDERR, render(LogFormat.STDERR, *mixed))
    assert [event.kind for event in events] == [EventKind.RECEIVED, EventKind.FATAL] * 50
    assert [event.pid for event in events[::2]] == list(range(100, 150))
