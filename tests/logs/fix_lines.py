"""Writes entries as PostgreSQL writes them in each of its log formats, and others after it; reads them back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from pgoauthd.logs.events import AuthEvent
from pgoauthd.logs.prefix import compile_prefix
from pgoauthd.logs.readers import LogFormat, LogReader, open_reader
from tests.logs.fix_wrapped import cnpg_lines, journal_lines

DEFAULT_PREFIX = "%m [%p] %q%u@%d "
START = datetime(2026, 11, 22, 1, 11, 56, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the server has to say once."""

    message: str
    severity: str = "LOG"
    sqlstate: str = "00000"
    detail: str | None = None
    context: str | None = None
    statement: str | None = None
    role: str | None = "alice"
    database: str | None = "app"
    host: str = "10.0.0.7"
    port: int | None = 50001
    pid: int = 30463
    line_num: int = 1
    milliseconds: int = 131
    application_name: str = ""
    backend_type: str = "client backend"

    @property
    def timestamp(self) -> str:
        return (START + timedelta(milliseconds=self.milliseconds)).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + " UTC"

    @property
    def time(self) -> float:
        return (int(START.timestamp()) * 1000 + self.milliseconds) / 1000

    @property
    def session_id(self) -> str:
        return f"{int(START.timestamp()):x}.{self.pid:x}"


def csv_line(entry: Entry) -> bytes:
    """write_csvlog()."""

    def quote(text: str | None) -> str:
        return "" if text is None else '"' + text.replace('"', '""') + '"'

    client = entry.host if entry.port is None else f"{entry.host}:{entry.port}"
    columns = [
        entry.timestamp, quote(entry.role), quote(entry.database), str(entry.pid), quote(client), entry.session_id,
        str(entry.line_num), quote("authentication"), "2026-11-22 01:11:56 UTC", "0/1", "0", entry.severity,
        entry.sqlstate, quote(entry.message), quote(entry.detail), "", "", "", quote(entry.context),
        quote(entry.statement), "1" if entry.statement else "", "", quote(entry.application_name),
        quote(entry.backend_type), "", "0",
    ]  # fmt: skip
    return (",".join(columns) + "\n").encode()


def json_line(entry: Entry) -> bytes:
    """write_jsonlog()."""
    members = {
        "timestamp": entry.timestamp, "user": entry.role, "dbname": entry.database, "pid": entry.pid,
        "remote_host": entry.host, "remote_port": entry.port, "session_id": entry.session_id,
        "line_num": entry.line_num, "ps": "authentication", "session_start": "2026-11-22 01:11:56 UTC", "vxid": "0/1",
        "txid": 0, "error_severity": entry.severity,
        "state_code": entry.sqlstate if entry.sqlstate != "00000" else None, "message": entry.message,
        "detail": entry.detail, "context": entry.context, "statement": entry.statement,
        "application_name": entry.application_name or None, "backend_type": entry.backend_type, "query_id": 0,
    }  # fmt: skip
    present = {name: value for name, value in members.items() if value is not None}
    return (json.dumps(present, separators=(",", ":"), ensure_ascii=False) + "\n").encode()


def stderr_lines(entry: Entry) -> bytes:
    """send_message_to_server_log() under DEFAULT_PREFIX."""
    names = f"{entry.role or '[unknown]'}@{entry.database or '[unknown]'}"
    prefix = f"{entry.timestamp} [{entry.pid}] {names} "
    parts = [(entry.severity, entry.message), ("DETAIL", entry.detail), ("CONTEXT", entry.context)]
    parts.append(("STATEMENT", entry.statement))
    lines = (f"{prefix}{name}:  " + text.replace("\n", "\n\t") + "\n" for name, text in parts if text is not None)
    return "".join(lines).encode()


RENDER: dict[LogFormat, Callable[[Entry], bytes]] = {
    LogFormat.STDERR: stderr_lines,
    LogFormat.CSVLOG: csv_line,
    LogFormat.JSONLOG: json_line,
    LogFormat.CNPG: lambda entry: cnpg_lines(csv_line(entry)),
    LogFormat.JOURNAL: lambda entry: journal_lines(stderr_lines(entry)),
}


def render(log_format: LogFormat, *entries: Entry) -> bytes:
    return b"".join(RENDER[log_format](entry) for entry in entries)


def reader(log_format: LogFormat, prefix: str = DEFAULT_PREFIX, max_line_bytes: int = 1 << 20) -> LogReader:
    return open_reader(log_format, prefix=compile_prefix(prefix), timezone=UTC, max_line_bytes=max_line_bytes)


def read_all(log_format: LogFormat, data: bytes, prefix: str = DEFAULT_PREFIX) -> list[AuthEvent]:
    made = reader(log_format, prefix)
    return made.feed(data) + made.finish()


def cut(data: bytes, at: Iterable[int]) -> list[bytes]:
    """The pieces of data between these places."""
    places = sorted({0, len(data), *(place % (len(data) + 1) for place in at)})
    return [data[begin:end] for begin, end in pairwise(places)]
