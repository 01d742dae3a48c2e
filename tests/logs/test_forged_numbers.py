"""Numbers that no server writes: a client's name can forge a line of stderr format, which must not stop the daemon."""

from __future__ import annotations

import msgspec
import pytest

from pgoauthd.correlation.engine import Engine
from pgoauthd.correlation.outcome_json import encode
from pgoauthd.correlation.verdicts import Verdicts
from pgoauthd.logs.readers import LogFormat
from tests.logs.fix_lines import reader

HUGE = "9" * 20
ENDLESS = "9" * 5000
WIDE = "<%n> [%p] %c %l "

STDERR_LINES = [
    f"2026-01-01 00:00:00.000 UTC [{HUGE}] a@b LOG:  connection received: host=h",
    f"2026-01-01 00:00:00.000 UTC [{ENDLESS}] a@b LOG:  connection received: host=h",
    f"2026-01-01 00:00:00.000 UTC [1] a@b LOG:  connection received: host=h port={HUGE}",
    f'2026-01-01 00:00:00.000 UTC [1] a@b LOG:  connection authenticated: identity="a" method=oauth (/f:{HUGE})',
    f"2026-01-01 00:00:00.000 UTC [1] LOG:  starting PostgreSQL {HUGE} on x, 64-bit",
    "9999-12-31 23:59:59.000 -15 [1] a@b LOG:  connection received: host=h",
    "0001-01-01 00:00:00.000 +15 [1] a@b LOG:  connection received: host=h",
]
WIDE_LINES = [
    f"<{HUGE}.000> [1] 6b02415c.1 1 LOG:  connection received: host=h",
    f"<1795310000.000> [1] {'f' * 300}.1 1 LOG:  connection received: host=h",
    f"<1795310000.000> [1] 6b02415c.{'f' * 20} 1 LOG:  connection received: host=h",
    f"<1795310000.000> [1] 6b02415c.1 {HUGE} LOG:  connection received: host=h",
]


def survives(log_format: LogFormat, line: str, prefix: str) -> None:
    """Read the line, join it, save what is open and write what came of it: nothing raises."""
    lines = reader(log_format, prefix)
    events = lines.feed(f"{line}\n".encode()) + lines.finish()
    engine = Engine("main", Verdicts(max_age=90))
    outcomes = [outcome for event in events for outcome in engine.observe([event], event.time)]
    msgspec.msgpack.encode(engine.state)
    for outcome in outcomes + engine.advance(5e9):
        encode(outcome)


@pytest.mark.parametrize("line", STDERR_LINES)
def test_a_forged_line_does_not_stop_the_pipeline(line: str) -> None:
    survives(LogFormat.STDERR, line, "%m [%p] %q%u@%d ")


@pytest.mark.parametrize("line", WIDE_LINES)
def test_nor_does_one_with_forged_escapes(line: str) -> None:
    survives(LogFormat.STDERR, line, WIDE)


@pytest.mark.parametrize("line", [STDERR_LINES[0], WIDE_LINES[0], WIDE_LINES[3]])
def test_it_counts_as_unreadable(line: str) -> None:
    lines = reader(LogFormat.STDERR, WIDE if line.startswith("<") else "%m [%p] %q%u@%d ")
    assert lines.feed(f"{line}\n".encode()) + lines.finish() == []
    assert lines.stats.parse_failures == 1


@pytest.mark.parametrize("member", ['"pid":%s', '"pid":1,"line_num":%s', '"pid":1,"remote_port":%s', '"pid":-%s'])
def test_jsonlog_with_huge_numbers_neither(member: str) -> None:
    line = (
        '{"timestamp":"2026-11-22 01:11:56.131 UTC",' + member % HUGE + ',"session_id":"6b02415c.76ff",'
        '"error_severity":"LOG","message":"connection received: host=127.0.0.1 port=48080",'
        '"backend_type":"not initialized"}'
    )
    survives(LogFormat.JSONLOG, line, "%m [%p] ")


@pytest.mark.parametrize("line_number", [HUGE, ENDLESS])
def test_csvlog_with_huge_numbers_neither(line_number: str) -> None:
    line = (
        f'2026-11-22 01:11:56.131 UTC,,,30463,"127.0.0.1:48080",6b02415c.76ff,{line_number},"",'
        "2026-11-22 01:11:56 UTC,,0,LOG,00000,"
        '"connection received: host=127.0.0.1 port=48080",,,,,,,,,"","not initialized",,0'
    )
    survives(LogFormat.CSVLOG, line, "%m [%p] ")
