"""Recognising a log by its content."""

from __future__ import annotations

import pytest

from pgoauthd.logs.prefix import compile_prefix
from pgoauthd.logs.readers import LogFormat, recognise
from tests.logs.fix_lines import DEFAULT_PREFIX, Entry, csv_line, json_line, render

PREFIX = compile_prefix(DEFAULT_PREFIX)
every_format = pytest.mark.parametrize("log_format", LogFormat)


@every_format
def test_a_log_of_foreign_entries_is_recognised(log_format: LogFormat) -> None:
    data = render(log_format, Entry(message="checkpoint starting: time"))
    assert recognise(data * 3, PREFIX) is log_format


@every_format
def test_a_log_is_recognised_after_lines_of_something_else(log_format: LogFormat) -> None:
    data = b"waiting for server to start....\n\n\x00\xff\n" + render(log_format, Entry(message="x"))
    assert recognise(data, PREFIX) is log_format


@every_format
def test_a_log_is_recognised_when_its_head_begins_in_mid_line(log_format: LogFormat) -> None:
    line = render(log_format, Entry(message="x"))
    assert recognise(line[7:] + line, PREFIX) is log_format


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\n\n\n",
        b"2026-11-22",
        b'{"time":"2026-11-22"}\n',
        b"LOG:  connection received: host=x port=1\n",
        b"2026-11-22 01:11:56.131 UTC,alice,app\n",
        b'127.0.0.1 - - [22/Nov/2026:01:11:56 +0000] "GET / HTTP/1.1" 200 5\n' * 100,
        bytes(range(256)) * 100,
    ],
)
def test_what_is_no_log_is_not_recognised(head: bytes) -> None:
    assert recognise(head, PREFIX) is None


def test_entries_of_another_format_inside_a_statement_do_not_mislead() -> None:
    imitation = json_line(Entry(message="x")).decode()
    assert recognise(csv_line(Entry(message="x", statement=f"\n{imitation}")), PREFIX) is LogFormat.CSVLOG
