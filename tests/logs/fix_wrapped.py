"""Wraps the server's own lines as others do who take them: CloudNativePG, a container runtime, journald."""

from __future__ import annotations

import csv
import io
import json
import random
import re
from collections.abc import Iterator

COLUMNS = (
    "log_time", "user_name", "database_name", "process_id", "connection_from", "session_id", "session_line_num",
    "command_tag", "session_start_time", "virtual_transaction_id", "transaction_id", "error_severity",
    "sql_state_code", "message", "detail", "hint", "internal_query", "internal_query_pos", "context", "query",
    "query_pos", "location", "application_name", "backend_type", "leader_pid", "query_id",
)  # fmt: skip
"""Members of CloudNativePG's `record`, in the order of csvlog's columns."""
POD = "cluster-1"
TIME = "2026-11-22T01:11:56.131000001Z"
LINE_MAX = 48 * 1024
"""journald's LineMax."""
FOREIGN_POD_LINES = (
    f'{{"level":"info","ts":"{TIME}","logger":"instance-manager","msg":"Starting","logging_pod":"{POD}"}}',
    f'{{"level":"info","ts":"{TIME}","msg":"FATAL:  \\"error_severity\\":\\"FATAL\\"","logging_pod":"{POD}"}}',
    f'{{"level":"info","ts":"{TIME}","logger":"barman-cloud-wal-archive","msg":"FATAL:  x","logging_pod":"{POD}"}}',
    (
        f'{{"level":"info","ts":"{TIME}","logger":"pgaudit","msg":"record","logging_pod":"{POD}","record":{{"log_time":'
        '"2026-11-22 01:11:56.131 UTC","process_id":"7","session_id":"1.7","error_severity":"LOG",'
        '"sql_state_code":"00000","message":"connection received: host=x","audit":{"class":"READ"}}}'
    ),
    '{"level":"info"',
    "panic: runtime error",
)
FOREIGN_JOURNAL_ENTRIES = (
    {"MESSAGE": "Invalid user 2026-11-22 01:11:56.131 UTC [1] LOG:  connection received: host=x", "_COMM": "sshd"},
    {"MESSAGE": "\tat com.example.Main(FATAL:  )", "_COMM": "java", "_PID": "77", "_STREAM_ID": "7"},
    {"MESSAGE": "connection to server failed: FATAL:  no", "_COMM": "patroni", "SYSLOG_IDENTIFIER": "patroni"},
    {"MESSAGE": ["one FATAL:  ", "two"], "_COMM": "odd", "SYSLOG_IDENTIFIER": ["a", "b"]},
    {"MESSAGE": [27, 91, 48, 109], "_COMM": "kernel", "_TRANSPORT": "kernel"},
    {"MESSAGE": None, "_COMM": [255, 1]},
    {"MESSAGE": "Started postgresql.service", "_PID": "1", "_COMM": "systemd"},
)


def cnpg_lines(csvlog: bytes) -> bytes:
    """csvlog as the instance manager writes it, without those of the columns that are empty."""
    csv.field_size_limit(1 << 24)
    rows = csv.reader(io.StringIO(csvlog.decode("utf-8", "replace"), newline=""))
    return b"".join(_cnpg_line(dict(zip(COLUMNS, row, strict=False))) for row in rows)


def _cnpg_line(columns: dict[str, str]) -> bytes:
    record = {name: text for name, text in columns.items() if text}
    head = {"level": "info", "ts": TIME, "logger": "postgres", "msg": "record", "logging_pod": POD}
    line = json.dumps(head | {"record": record}, separators=(",", ":"), ensure_ascii=False)
    return line.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029").encode() + b"\n"


def in_container(lines: bytes, part_bytes: int = 16 * 1024) -> bytes:
    """The lines of a container as its runtime writes them: in parts where they are long, with stderr in between."""
    chance = random.Random(len(lines))  # noqa: S311 - a repeatable choice of places
    return b"".join(_with_heads(line, part_bytes, chance) for line in lines.splitlines(keepends=True))


def _with_heads(line: bytes, part_bytes: int, chance: random.Random) -> bytes:
    text = line.removesuffix(b"\n")
    parts = [text[at : at + part_bytes] for at in range(0, len(text), part_bytes)] or [b""]
    heads = [f"{TIME} stdout P ".encode()] * (len(parts) - 1) + [f"{TIME} stdout F ".encode()]
    between = f"{TIME} stderr F of another kind\n".encode() if chance.random() < 0.1 else b""
    return (b"\n" + between).join(head + part for head, part in zip(heads, parts, strict=True)) + b"\n"


def journal_lines(stderr: bytes, pid: str = "1") -> bytes:
    """What journald makes of a server's stderr, as `journalctl --output=json --all` writes it."""
    made: list[bytes] = []
    for line in stderr.decode("utf-8", "surrogateescape").split("\n"):
        found = re.match(r"\d{4}-[^\[\n]* \[(\d+)\] ", line)
        pid = found[1] if found else pid
        made += (journal_entry(**members) for members in _stream_entries(line, pid))
    return b"".join(made)


def _stream_entries(line: str, pid: str) -> Iterator[dict[str, object]]:
    while len(line) > LINE_MAX:
        yield {"MESSAGE": line[:LINE_MAX], "_PID": pid, "_LINE_BREAK": "line-max"}
        line = line[LINE_MAX:]
    if line.rstrip(" \t\r"):
        yield {"MESSAGE": line.rstrip(" \t\r"), "_PID": pid}


def journal_entry(**members: object) -> bytes:
    """One entry; its members stand in an order that changes from line to line."""
    entry: dict[str, object] = {
        "__REALTIME_TIMESTAMP": "1795309916131000", "_TRANSPORT": "stdout", "_STREAM_ID": "f1", "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "postgres", "_COMM": "postgres", "_SYSTEMD_UNIT": "postgresql.service",
    }  # fmt: skip
    shuffled = list((entry | {name: _journal_text(value) for name, value in members.items()}).items())
    random.Random(str(members)).shuffle(shuffled)  # noqa: S311 - a repeatable order
    return json.dumps(dict(shuffled), separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def _journal_text(value: object) -> object:
    """Numbers for what is not printable."""
    if isinstance(value, str) and re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", value):
        return list(value.encode("utf-8", "surrogateescape"))
    return value


def with_foreign_pod_lines(lines: bytes) -> bytes:
    return _mixed(lines, [line.encode() + b"\n" for line in FOREIGN_POD_LINES])


def with_foreign_entries(lines: bytes) -> bytes:
    return _mixed(
        lines, [journal_entry(**({"_PID": "9", "_STREAM_ID": "s9"} | more)) for more in FOREIGN_JOURNAL_ENTRIES]
    )


def _mixed(lines: bytes, foreign: list[bytes]) -> bytes:
    """A foreign line after each third line."""
    mixed: list[bytes] = []
    for number, line in enumerate(lines.splitlines(keepends=True)):
        mixed.append(line)
        if number % 3 == 0:
            mixed.append(foreign[number // 3 % len(foreign)])
    return b"".join(mixed)
