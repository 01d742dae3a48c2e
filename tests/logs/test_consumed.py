"""How far a reader has come when its source is idle: to the end of the last whole entry, whosever it is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgoauthd.logs.readers import LogFormat
from tests.logs.fix_lines import Entry, cut, reader, render
from tests.logs.fix_wrapped import in_container

NASTY = (
    '"', '""', ",", "\n", "\t", 'FATAL,28000,"', "FATAL,28000,", ',"x', "FATAL:  ", "LOG,00000,", "x",
    "2026-11-22 01:11:56.131 UTC,", ',"client backend",,0\n', "connection received: ", "y" * 5000,
)  # fmt: skip
texts = st.lists(st.sampled_from(NASTY), max_size=6).map("".join)
names = texts.filter(bool).map(lambda name: name[:60])
entries = st.builds(
    Entry,
    message=st.one_of(texts, st.just("connection authorized: user=alice database=app")),
    severity=st.sampled_from(["LOG", "ERROR", "FATAL", "WARNING"]),
    detail=st.none() | texts,
    statement=st.none() | texts,
    application_name=texts,
)
named = st.builds(Entry, message=texts, severity=st.just("ERROR"), statement=texts, role=names, database=names)
places = st.lists(st.integers(0, 60_000), max_size=6)
FOREIGN = Entry(message="canceling statement", severity="ERROR", statement="SELECT 1,\n'2',\n3;")


@settings(deadline=None)
@given(written=st.lists(entries, min_size=1, max_size=4), at=places, log_format=st.sampled_from(LogFormat))
def test_an_idle_source_of_whole_entries_is_consumed_whole(
    written: list[Entry], at: list[int], log_format: LogFormat
) -> None:
    made = reader(log_format)
    for chunk in cut(render(log_format, *written), at):
        made.feed(chunk)
        made.flush()
    assert made.consumed == made.stats.bytes
    assert made.stats.overlong == 0


@settings(deadline=None)
@given(written=st.lists(named, min_size=1, max_size=4), at=places)
def test_names_of_any_characters_keep_no_csvlog_from_being_consumed_whole(written: list[Entry], at: list[int]) -> None:
    made = reader(LogFormat.CSVLOG)
    for chunk in cut(render(LogFormat.CSVLOG, *written), at):
        made.feed(chunk)
    assert made.flush() == []
    assert made.consumed == made.stats.bytes


def test_parts_of_a_container_are_consumed_whole() -> None:
    made = reader(LogFormat.CNPG)
    made.feed(in_container(render(LogFormat.CNPG, FOREIGN, FOREIGN), part_bytes=50))
    made.flush()
    assert made.consumed == made.stats.bytes


@pytest.mark.parametrize("begun", range(1, len(render(LogFormat.CSVLOG, FOREIGN))))
def test_a_csvlog_entry_that_has_begun_is_waited_for(begun: int) -> None:
    whole = render(LogFormat.CSVLOG, FOREIGN)
    made = reader(LogFormat.CSVLOG)
    made.feed(whole * 3 + whole[:begun])
    made.flush()
    assert made.consumed == 3 * len(whole)


def test_reading_of_csvlog_goes_on_after_an_idle_moment_inside_an_entry() -> None:
    ours = render(LogFormat.CSVLOG, Entry(message="connection received: host=x port=1", role="a\nb"))
    for begun in range(1, len(ours)):
        made = reader(LogFormat.CSVLOG)
        made.feed(render(LogFormat.CSVLOG, FOREIGN) + ours[:begun])
        made.flush()
        assert [event.role for event in made.feed(ours[begun:]) + made.flush()] == ["a\nb"], begun
        assert (made.consumed, made.stats.parse_failures) == (made.stats.bytes, 0)
