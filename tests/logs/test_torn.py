"""Lines of stderr format that were torn: whatever is glued to them, a tear is counted, and an imitation is not."""

from __future__ import annotations

import pytest

from pgoauthd.logs.events import EventKind
from pgoauthd.logs.readers import LogFormat
from tests.logs.fix_lines import Entry, read_all, reader, stderr_lines

AUTHORIZED = Entry(message="connection authorized: user=alice database=app")
LATER = Entry(message="connection authorized: user=bob database=app", role="bob", pid=7, milliseconds=200)
EARLIER = Entry(message=LATER.message, role="bob", pid=7, milliseconds=100)
ERROR = Entry(message='relation "x" does not exist', severity="ERROR")
STATEMENT = Entry(message="x", severity="ERROR", statement="select\nx,\ny")
NAMELESS = "%m [%p] "
SETTINGS = {
    "%m [%p] %q%u@%d ": b"2026-11-22 01:11:56.131 UTC [7] a@b ",
    "%t:%u@%d:[%p]:": b"2026-11-22 01:11:56 UTC:a@b:[7]:",
    "%n %c %l ": b"1795309916.131 6b02415c.7 1 ",
    "%c %u ": b"6b02415c.7 a ",
    "%u@%d %m <%p>: ": b"a@b 2026-11-22 01:11:56.131 UTC <7>: ",
    "%p %q%u %s ": b"7 a 2026-11-22 01:11:56 UTC ",
}


def failures(data: bytes, size: int = 1 << 20) -> int:
    made = reader(LogFormat.STDERR)
    for at in range(0, len(data), size):
        made.feed(data[at : at + size])
    made.finish()
    return made.stats.parse_failures


@pytest.mark.parametrize("torn", [AUTHORIZED, ERROR, STATEMENT], ids=["ours", "foreign", "of several lines"])
@pytest.mark.parametrize("size", [1 << 20, 20])
def test_wherever_a_line_is_torn_the_entry_of_ours_that_is_glued_to_it_is_counted_once(torn: Entry, size: int) -> None:
    whole = stderr_lines(torn)
    for length in range(1, len(whole)):
        if whole[length - 1] not in b"\n\t":
            data = stderr_lines(AUTHORIZED) + whole[:length] + stderr_lines(LATER) + stderr_lines(AUTHORIZED)
            assert failures(data, size) == 1, whole[:length]


def test_an_entry_of_ours_that_is_torn_is_counted_whatever_is_glued_to_it() -> None:
    whole = stderr_lines(AUTHORIZED)
    foreign = stderr_lines(Entry(message="x", severity="ERROR", milliseconds=200))
    for length in range(whole.index(b"user="), len(whole) - 1):
        assert failures(whole[:length] + foreign) == 1, whole[:length]


def test_no_line_is_taken_for_one_of_the_process_whose_line_was_torn() -> None:
    whole = stderr_lines(AUTHORIZED)
    for length in range(1, len(whole) - 1):
        events = read_all(LogFormat.STDERR, whole[:length] + stderr_lines(LATER))
        assert [event for event in events if event.role == "bob"] == []


@pytest.mark.parametrize(("setting", "prefix"), SETTINGS.items())
def test_a_tear_is_seen_under_any_prefix(setting: str, prefix: bytes) -> None:
    glued = prefix + b"LOG:  connection received: host=x port=1\n"
    for torn in (prefix + b"ERROR:  canceling st", prefix + b"LOG:  connection received: host=y po"):
        made = reader(LogFormat.STDERR, setting)
        made.feed(glued + torn + glued + glued)
        made.finish()
        assert made.stats.parse_failures == 1, torn


@pytest.mark.parametrize(("setting", "prefix"), SETTINGS.items())
def test_whole_lines_are_no_torn_ones_under_any_prefix(setting: str, prefix: bytes) -> None:
    lines = prefix + b"LOG:  connection received: host=x port=1\n" + prefix + b"FATAL:  x:  y\n"
    made = reader(LogFormat.STDERR, setting)
    assert [event.kind for event in made.feed(lines) + made.finish()] == [EventKind.RECEIVED, EventKind.FATAL]
    assert made.stats.parse_failures == 0


@pytest.mark.parametrize("size", [1 << 20, 20])
@pytest.mark.parametrize("between", ["", "\n", "\n> "])
@pytest.mark.parametrize("severity", ["ERROR", "LOG", "FATAL"])
def test_a_line_that_quotes_an_older_one_is_no_torn_one(size: int, between: str, severity: str) -> None:
    """A log that is put into a table of the server that wrote it, which logs statements."""
    quoting = Entry(message=f"statement: insert '{between}{stderr_lines(EARLIER).decode()}", severity=severity)
    assert failures(stderr_lines(AUTHORIZED) + stderr_lines(quoting) + stderr_lines(AUTHORIZED), size) == 0


def test_an_imitation_in_a_message_neither_says_anything_nor_silences_it() -> None:
    message = f'password authentication failed for user "{stderr_lines(LATER).decode()}"'.replace("\n", "")
    line = f"2026-11-22 01:11:56.131 UTC [30463] FATAL:  {message}\n".encode()
    made = reader(LogFormat.STDERR, NAMELESS)
    events = made.feed(line) + made.finish()
    assert [(event.kind, event.pid) for event in events] == [(EventKind.FATAL, 30463)]
    assert made.stats.parse_failures == 1


def test_many_imitations_cost_no_time() -> None:
    imitation = stderr_lines(LATER)[:-1]
    data = stderr_lines(ERROR)[:-1] + imitation * 5000 + b"\n\t" + b"\n\t".join([b"x " + imitation] * 5000) + b"\n"
    assert failures(data) == 5001
