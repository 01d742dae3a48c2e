"""Logs of CloudNativePG's pods: which lines are the server's, and what of them is kept."""

from __future__ import annotations

import json
import random
import string

import pytest

from pgoauthd.logs.events import AuthEvent, EventKind
from pgoauthd.logs.prefix import compile_prefix
from pgoauthd.logs.readers import LogFormat, recognise
from tests.logs.fix_corpus import RUNS, corpus
from tests.logs.fix_lines import DEFAULT_PREFIX, Entry, cut, read_all, reader, render
from tests.logs.fix_wrapped import FOREIGN_POD_LINES, in_container

FAILED = Entry(message="connection received: host=10.0.0.7 port=50001", severity="LOG", role=None, database=None)
LINE = render(LogFormat.CNPG, FAILED)
PREFIX = compile_prefix(DEFAULT_PREFIX)
FAKE = '","record":{"error_severity":"FATAL","sql_state_code":"28000","message":"connection received: host=x'


def with_record(**members: object) -> bytes:
    line = json.loads(LINE)
    line["record"] |= members
    return (json.dumps(line, separators=(",", ":")) + "\n").encode()


def failures_of(data: bytes) -> int:
    made = reader(LogFormat.CNPG)
    assert made.feed(data) + made.finish() == []
    return made.stats.parse_failures


def test_an_entry_has_what_csvlog_has() -> None:
    assert read_all(LogFormat.CNPG, LINE) == read_all(LogFormat.CSVLOG, render(LogFormat.CSVLOG, FAILED))
    (event,) = read_all(LogFormat.CNPG, LINE)
    assert (event.client_addr, event.client_port, event.pid, event.line_num) == ("10.0.0.7", 50001, 30463, 1)


def test_a_unix_socket_has_no_port() -> None:
    (event,) = read_all(
        LogFormat.CNPG, with_record(connection_from="[local]", message="connection received: host=[local]")
    )
    assert (event.client_addr, event.client_port) == ("[local]", None)


@pytest.mark.parametrize("name", ["sql_state_code", "message"])
def test_an_entry_without_what_every_entry_has_is_none_of_ours(name: str) -> None:
    line = json.loads(LINE)
    del line["record"][name]
    assert failures_of(json.dumps(line, separators=(",", ":")).encode() + b"\n") == 0


@pytest.mark.parametrize("name", ["process_id", "log_time"])
@pytest.mark.parametrize("text", ["", "x", "9" * 5000, 7, None])
def test_a_column_that_cannot_be_read_counts_as_a_failure(name: str, text: object) -> None:
    assert failures_of(with_record(**{name: text})) == 1


@pytest.mark.parametrize("line", FOREIGN_POD_LINES)
def test_what_is_not_the_servers_is_passed_over(line: str) -> None:
    assert failures_of(line.encode() + b"\n") == 0


@pytest.mark.parametrize("damage", [LINE[:-3], LINE[:-40], LINE[40:], LINE.replace(b'","', b'",,"', 1)])
def test_broken_json_counts_as_a_failure(damage: bytes) -> None:
    assert failures_of(damage.rstrip(b"\n") + b"\n") == 1


def test_a_record_of_another_logger_is_none_of_the_servers() -> None:
    assert failures_of(LINE.replace(b'"logger":"postgres"', b'"logger":"pgaudit"')) == 0


@pytest.mark.parametrize("name", ["user_name", "application_name", "query", "detail"])
@pytest.mark.parametrize("text", [FAKE, "\n" + LINE.decode(), "\n2026-11-22T01:11:56.131Z stdout F " + LINE.decode()])
def test_no_text_of_a_client_is_an_entry(name: str, text: str) -> None:
    entry = with_record(error_severity="ERROR", message="syntax error", **{name: text})
    assert failures_of(entry) == failures_of(in_container(entry)) == 0
    assert read_all(LogFormat.CNPG, with_record(**{name: text}))[0].kind is EventKind.RECEIVED


# under a container runtime


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("part_bytes", [16 * 1024, 1000, 350, 100])
def test_a_container_runtime_changes_nothing(run: str, part_bytes: int) -> None:
    data = in_container(corpus(run, LogFormat.CNPG), part_bytes)
    assert read_all(LogFormat.CNPG, data) == read_all(LogFormat.CNPG, corpus(run, LogFormat.CNPG))


@pytest.mark.parametrize("seed", range(6))
def test_parts_are_put_together_in_any_chunking(seed: int) -> None:
    data = in_container(corpus(RUNS[0], LogFormat.CNPG), 300)
    chance = random.Random(seed)  # noqa: S311 - a repeatable choice of places
    made = reader(LogFormat.CNPG)
    events: list[AuthEvent] = []
    for chunk in cut(data, (chance.randrange(len(data)) for _ in range(10 ** (seed % 4)))):
        events += made.feed(chunk) + (made.flush() if chance.random() < 0.5 else [])
    assert events + made.finish() == read_all(LogFormat.CNPG, corpus(RUNS[0], LogFormat.CNPG))
    assert (made.consumed, made.stats.parse_failures) == (len(data), 0)


def test_reading_again_from_what_was_consumed_loses_and_repeats_no_part() -> None:
    data = in_container(corpus(RUNS[0], LogFormat.CNPG), 300)
    chance = random.Random(1)  # noqa: S311 - a repeatable choice of places
    events: list[AuthEvent] = []
    begin = 0
    for stop in sorted(chance.randrange(len(data)) for _ in range(300)):
        if stop > begin:
            made = reader(LogFormat.CNPG)
            events += made.feed(data[begin:stop]) + made.flush()
            begin += made.consumed
    assert events + read_all(LogFormat.CNPG, data[begin:]) == read_all(LogFormat.CNPG, data)


def test_parts_of_two_streams_are_kept_apart() -> None:
    (out, out_rest), (err, err_rest) = (
        [
            f"2026-11-22T01:11:56.131Z {stream} {tag} ".encode() + part
            for tag, part in (("P", LINE[:at]), ("F", LINE[at:]))
        ]
        for stream, at in (("stdout", 300), ("stderr", 400))
    )
    assert len(read_all(LogFormat.CNPG, out + b"\n" + err + b"\n" + out_rest + err_rest)) == 2
    assert len(read_all(LogFormat.CNPG, out + b"\n" + err + b"\n" + err_rest + out_rest)) == 2


def test_a_line_that_never_ends_counts_as_a_failure_and_spoils_nothing() -> None:
    parts = in_container(LINE, len(LINE) - 20).splitlines(keepends=True)
    whole = in_container(LINE).replace(b"stdout", b"stderr")
    made = reader(LogFormat.CNPG)
    events = made.feed(parts[0] + whole)
    assert (events, made.consumed) == ([], 0)
    assert len(made.finish()) == 1
    assert (made.stats.parse_failures, made.consumed) == (1, made.stats.bytes)


def test_a_line_of_endless_parts_is_bounded() -> None:
    part = b"2026-11-22T01:11:56.131Z stdout P " + b"x" * 500 + b"\n"
    made = reader(LogFormat.CNPG, max_line_bytes=4096)
    most = 0
    for _ in range(200):
        made.feed(part)
        most = max(most, made.stats.bytes - made.consumed)
    assert most <= 4096
    assert made.stats.overlong > 0
    assert len(made.feed(in_container(b"x\n" + LINE))) == 1


@pytest.mark.parametrize("data", [LINE, in_container(LINE), in_container(LINE, 400), FOREIGN_POD_LINES[0].encode()])
def test_a_pods_log_is_recognised(data: bytes) -> None:
    assert recognise(b"waiting\n" + data, PREFIX) is LogFormat.CNPG


@pytest.mark.parametrize(
    "head",
    [
        b'{"level":"info","ts":"2026-11-22","msg":"some other operator"}\n',
        b"2026-11-22T01:11:56.131Z stdout F hello\n",
        b'{"level":"info","msg":"\\"logging_pod\\":\\"x\\""}\n',
    ],
)
def test_what_is_no_pods_log_is_not_recognised(head: bytes) -> None:
    assert recognise(head + head, PREFIX) is None


def test_a_marker_inside_a_line_is_no_part() -> None:
    name = "".join(random.Random(2).choices(string.ascii_letters, k=20)) + " stdout P x"  # noqa: S311
    (event,) = read_all(LogFormat.CNPG, in_container(with_record(user_name=name)))
    assert event.role == name
