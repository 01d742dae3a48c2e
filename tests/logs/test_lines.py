"""Lines too long, sources that end, and how much needs never be read again, in every format."""

from __future__ import annotations

import pytest

from pgoauthd.logs.lines import ChunkReader
from pgoauthd.logs.readers import LogFormat
from tests.logs.fix_lines import Entry, reader, render

MAX = 4096
AUTHORIZED = Entry(message="connection authorized: user=alice database=app")
every_format = pytest.mark.parametrize("log_format", LogFormat)
every_chunking = pytest.mark.parametrize("size", [1 << 20, 1000, 64])


def chunks(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@every_format
@every_chunking
def test_a_foreign_line_that_is_too_long_is_skipped_and_its_neighbours_are_read(
    log_format: LogFormat, size: int
) -> None:
    line = render(log_format, AUTHORIZED)
    long = render(log_format, Entry(severity="ERROR", message="x" * 50_000))
    made = reader(log_format, max_line_bytes=MAX)
    events = [event for chunk in chunks(line + long + line, size) for event in made.feed(chunk)] + made.finish()
    assert [event.role for event in events] == ["alice", "alice"]
    assert made.consumed == made.stats.bytes == len(line + long + line)
    assert made.stats.parse_failures == 0


@every_format
@pytest.mark.parametrize("size", [1000, 64])
def test_a_line_of_ours_that_is_too_long_is_given_up_and_counted(log_format: LogFormat, size: int) -> None:
    line = render(log_format, AUTHORIZED)
    long = render(
        log_format, Entry(message="connection authorized: user=alice database=app application_name=" + "x" * 50_000)
    )
    made = reader(log_format, max_line_bytes=MAX)
    events = [event for chunk in chunks(line + long + line, size) for event in made.feed(chunk)] + made.finish()
    assert [event.application_name for event in events] == [None, None]
    assert made.stats.overlong == 1


@every_format
def test_no_more_is_kept_than_allowed(log_format: LogFormat) -> None:
    made = reader(log_format, max_line_bytes=MAX)
    assert isinstance(made, ChunkReader)
    made.feed(render(log_format, AUTHORIZED)[:150])
    most = 0
    for _ in range(1000):
        made.feed(b"x" * 100)
        most = max(most, len(made._kept))  # noqa: SLF001 - memory leaves no other trace
    assert most <= MAX


@every_format
def test_a_line_that_is_too_long_counts_when_it_is_whole(log_format: LogFormat) -> None:
    """Until then nothing of it is consumed, so that who goes on from there counts it, and counts it once."""
    line = render(log_format, AUTHORIZED)
    made = reader(log_format, max_line_bytes=MAX)
    made.feed(line + b"x" * 10_000)
    made.feed(b"x" * 10_000)
    assert (made.stats.overlong, made.consumed) == (0, len(line))
    made.feed(b"x\n")
    assert (made.stats.overlong, made.consumed) == (1, made.stats.bytes)


@every_format
def test_a_line_that_is_too_long_and_never_ends_counts_when_the_source_has_ended(log_format: LogFormat) -> None:
    made = reader(log_format, max_line_bytes=MAX)
    made.feed(b"x" * 10_000)
    made.finish()
    assert (made.stats.overlong, made.consumed) == (1, made.stats.bytes)


@every_format
def test_an_entry_of_many_lines_that_is_too_long_is_bounded(log_format: LogFormat) -> None:
    line = render(log_format, AUTHORIZED)
    long = render(log_format, Entry(message="connection received: host=x port=1", statement="select\n" * 20_000))
    made = reader(log_format, max_line_bytes=MAX)
    assert isinstance(made, ChunkReader)
    most = 0
    events = []
    for chunk in chunks(line + long + line, 500):
        events += made.feed(chunk)
        most = max(most, len(made._kept))  # noqa: SLF001
    events += made.finish()
    assert [event.role for event in (events[0], events[-1])] == ["alice", "alice"]
    assert most <= MAX


@every_format
def test_an_empty_source_says_nothing(log_format: LogFormat) -> None:
    made = reader(log_format)
    assert made.feed(b"") + made.flush() + made.finish() == []
    assert (made.consumed, made.stats.bytes) == (0, 0)


@every_format
@pytest.mark.parametrize("noise", [b"\n" * 5000, b"\r\n" * 5000, b"\x00" * 5000 + b"\n", b"\xff\xfe\n" * 5000])
def test_noise_is_passed_over(log_format: LogFormat, noise: bytes) -> None:
    line = render(log_format, AUTHORIZED)
    made = reader(log_format)
    events = made.feed(noise + line + noise + line) + made.finish()
    assert [event.role for event in events] == ["alice", "alice"]


@every_format
def test_entries_count_as_seen_once_however_often_they_waited(log_format: LogFormat) -> None:
    made = reader(log_format)
    for chunk in chunks(render(log_format, AUTHORIZED, AUTHORIZED, AUTHORIZED), 7):
        made.feed(chunk)
    made.finish()
    assert made.stats.entries_seen == 3
