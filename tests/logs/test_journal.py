"""The journal: whose entries count, how lines are put together, and what no other text can do."""

from __future__ import annotations

import pytest

from pgoauthd.logs.events import AuthEvent, EventKind, Saying
from pgoauthd.logs.prefix import compile_prefix
from pgoauthd.logs.readers import LogFormat, recognise
from tests.logs.fix_lines import DEFAULT_PREFIX, Entry, read_all, reader, render, stderr_lines
from tests.logs.fix_wrapped import FOREIGN_JOURNAL_ENTRIES, LINE_MAX, journal_entry, journal_lines

HEAD = "2026-11-22 01:11:56.131 UTC [30463] alice@app "
RECEIVED = HEAD + "LOG:  connection received: host=10.0.0.7 port=50001"
FATAL = HEAD + 'FATAL:  OAuth bearer authentication failed for user "alice"'
DETAIL = HEAD + "DETAIL:  The token is not a JWT."
LINE = journal_entry(MESSAGE=RECEIVED, _PID="30463")
FOREIGN = b"".join(journal_entry(**({"_PID": "9", "_STREAM_ID": "s9"} | more)) for more in FOREIGN_JOURNAL_ENTRIES)


def told(*messages: str, pid: str = "30463", **more: object) -> bytes:
    return b"".join(journal_entry(MESSAGE=message, _PID=pid, **more) for message in messages)


def read(data: bytes) -> tuple[list[AuthEvent], int, int]:
    """Events, parse failures, lines too long."""
    made = reader(LogFormat.JOURNAL)
    events = made.feed(data) + made.finish()
    assert made.consumed == len(data)
    return events, made.stats.parse_failures, made.stats.overlong


def test_the_lines_of_an_entry_are_put_together_whatever_stands_between() -> None:
    first, detail = told(FATAL), told(DETAIL)
    ((event,), *_) = read(first + FOREIGN + detail + FOREIGN)
    assert (event.saying, event.detail) == (Saying.OAUTH_FAILED, "The token is not a JWT.")


def test_a_message_of_several_lines_is_put_together() -> None:
    message = 'connection authenticated: identity="a\nb" method=oauth (/hba:1)'
    first, second = journal_lines(stderr_lines(Entry(message=message))).splitlines(keepends=True)
    ((event,), *_) = read(first + FOREIGN + second)
    assert event.identity == "a\nb"


def test_a_line_of_another_process_does_not_go_on_with_an_entry() -> None:
    other = told("\tand more", pid="9")
    ((event,), *_) = read(told(FATAL) + other + told(DETAIL))
    assert event.role == "alice"
    assert event.detail == "The token is not a JWT."


def test_an_entry_waits_for_further_lines_until_the_source_is_idle() -> None:
    made = reader(LogFormat.JOURNAL)
    assert made.feed(told(FATAL)) == made.feed(FOREIGN) == []
    assert made.consumed == 0
    (event,) = made.feed(told(DETAIL)) + made.flush()
    assert event.detail is not None
    assert made.consumed == made.stats.bytes


def test_the_next_entry_of_the_server_ends_the_wait() -> None:
    made = reader(LogFormat.JOURNAL)
    assert len(made.feed(told(FATAL, HEAD + "ERROR:  something else"))) == 1


def test_a_text_of_numbers_is_read() -> None:
    line = told(RECEIVED.replace("alice", "al\udcffice"))
    assert b'"MESSAGE":[' in line
    ((event,), *_) = read(line)
    assert event.role == "al\ufffdice"


def test_journalctl_of_old_puts_spaces_between() -> None:
    line = journal_entry(MESSAGE=list(RECEIVED.encode())).replace(b'":', b'" : ').replace(b",", b", ")
    assert len(read(line)[0]) == 1
    assert recognise(line, compile_prefix(DEFAULT_PREFIX)) is LogFormat.JOURNAL


@pytest.mark.parametrize("entry", FOREIGN_JOURNAL_ENTRIES)
def test_an_entry_of_another_service_is_passed_over(entry: dict[str, object]) -> None:
    assert read(journal_entry(**({"_PID": "9"} | entry))) == ([], 0, 0)


@pytest.mark.parametrize("damage", [LINE[:-2], LINE[1:], LINE.replace(b'","', b'",,"', 1)])
def test_broken_json_counts_as_a_failure(damage: bytes) -> None:
    events, failures, _ = read(LINE + damage.rstrip(b"\n") + b"\n" + LINE)
    assert (len(events), failures) == (2, 1)


def test_broken_json_counts_once_however_long_it_waits() -> None:
    made = reader(LogFormat.JOURNAL)
    for byte in LINE + LINE[:-2] + b"\n" + told(FATAL):
        made.feed(bytes([byte]))
    made.finish()
    assert made.stats.parse_failures == 1


@pytest.mark.parametrize("command", ["postgres", "postmaster"])
def test_a_server_with_another_prefix_counts_as_failures(command: str) -> None:
    line = told("[30463]: LOG:  connection received: host=x", _COMM=command)
    assert read(line + line) == ([], 2, 0)


@pytest.mark.parametrize("message", [None, ["two", "texts"], [256], [-1], 7, {"a": 1}, [[1]]])
def test_a_message_that_is_no_text_says_nothing(message: object) -> None:
    events, failures, _ = read(journal_entry(MESSAGE=message, _PID="1") + LINE)
    assert (len(events), failures) == (1, 0)


def test_a_text_that_journalctl_left_out_counts_as_too_long() -> None:
    assert read(journal_entry(MESSAGE=None, _PID="1") * 2) == ([], 0, 2)


# what nobody can forge


@pytest.mark.parametrize("name", ["SYSLOG_IDENTIFIER", "_CMDLINE", "_EXE"])
def test_no_other_member_is_the_message(name: str) -> None:
    forged = f'x","MESSAGE":"{RECEIVED}'
    assert read(told("nothing", **{name: forged})) == ([], 0, 0)


def test_a_line_inside_a_message_begins_no_entry() -> None:
    """journald's own protocol takes line breaks; what the server writes after one, it writes after a tab."""
    message = f'{HEAD}LOG:  connection authenticated: identity="a\n{RECEIVED}\n{FATAL}" method=oauth (/hba:1)'
    ((event,), *_) = read(told(message))
    assert (event.kind, event.identity) == (EventKind.AUTHENTICATED, f"a\n{RECEIVED}\n{FATAL}")


def test_a_message_with_all_its_parts_is_read() -> None:
    ((event,), *_) = read(told(f"{FATAL}\n{DETAIL}\n\tand more"))
    assert event.detail == "The token is not a JWT.\nand more"


@pytest.mark.parametrize("between", [b"", FOREIGN, told(HEAD + "LOG:  checkpoint", _STREAM_ID="f2")])
def test_the_rest_of_a_line_that_journald_has_split_begins_no_entry(between: bytes) -> None:
    begin = told(HEAD + "STATEMENT:  " + "x" * (LINE_MAX - 60), _LINE_BREAK="line-max")
    again = told("y" * LINE_MAX, _LINE_BREAK="line-max")
    events, failures, overlong = read(LINE + begin + between + again + between + told(RECEIVED + "9") + LINE)
    assert ([event.client_port for event in events], failures, overlong) == ([50001, 50001], 0, 1)


@pytest.mark.parametrize("flushing", [True, False])
def test_nor_does_it_where_reading_begins_again(*, flushing: bool) -> None:
    begin = told("x" * LINE_MAX, _LINE_BREAK="line-max")
    made = reader(LogFormat.JOURNAL)
    made.feed(LINE + begin)
    if flushing:
        made.flush()
    assert made.consumed <= len(LINE)
    left = (LINE + begin + told(RECEIVED))[made.consumed :]
    assert len(read_all(LogFormat.JOURNAL, left)) == (0 if flushing else 1)


def test_a_rest_that_never_comes_holds_nothing_up_for_long() -> None:
    torn = told("x" * LINE_MAX, _LINE_BREAK="line-max", _STREAM_ID="gone")
    made = reader(LogFormat.JOURNAL)
    events, most = made.feed(torn), 0
    for _ in range(40):
        events += made.feed(LINE * 50)
        most = max(most, made.stats.bytes - made.consumed)
    events += made.finish()
    assert most < 1 << 19
    assert (len(events), made.stats.overlong) == (2000, 0)


def test_a_login_in_a_line_that_journald_has_split_is_given_up_and_counted() -> None:
    identity = "x" * 2 * LINE_MAX
    line = render(LogFormat.JOURNAL, Entry(message=f'connection authenticated: identity="{identity}" method=oauth'))
    events, failures, overlong = read(LINE + line + LINE)
    assert (len(events), failures, overlong) == (2, 0, 1)


@pytest.mark.parametrize(
    "head",
    [
        b'{"MESSAGE":"x","_PID":"1"}\n',
        b'{"MESSAGE":"\\"__REALTIME_TIMESTAMP\\":\\"1\\""}\n',
        b"__CURSOR=s=1\n__REALTIME_TIMESTAMP=1795309916131000\nMESSAGE=x\n",
    ],
)
def test_what_is_no_journal_is_not_recognised(head: bytes) -> None:
    assert recognise(head, compile_prefix(DEFAULT_PREFIX)) is None
