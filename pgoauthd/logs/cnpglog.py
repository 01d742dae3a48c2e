"""Finds the entries that concern a login in the log of a CloudNativePG pod; the rest is skipped in C, not decoded.

The instance manager reads the server's csvlog and writes one JSON object a line: what it has to say itself, and each
entry of the server as `"logger":"postgres","msg":"record","record":{…}` with csvlog's columns, all of them strings,
without those that are empty. The docs of CloudNativePG (Logging) describe it; `pkg/management/postgres/logpipe` is it.
"""

from __future__ import annotations

import re

import msgspec

from pgoauthd.logs.cri import CRI_HEAD
from pgoauthd.logs.events import AuthEvent
from pgoauthd.logs.lines import Ending, ReadStats, Scan, lines_with
from pgoauthd.logs.records import NO_ERROR, Record, read_client
from pgoauthd.logs.sayings import LOG_STARTS, Sayings
from pgoauthd.logs.times import Timestamps

CNPG_HEAD = rb"(?:" + CRI_HEAD + rb')?\{(?>[^\n]*?"(?:logging_pod"|logger":"(?:postgres|pgaudit|instance-manager)"))'
"""A line that the instance manager writes, with or without what a container runtime puts before it."""
_CODE = rb'","sql_state_code":"[0-9A-Z]{5}","message":"'
_STARTS = b"|".join(re.escape(start.encode()) for start in LOG_STARTS)
_OURS = rb'verity":"(?:(?:LOG|WARNING|DEBUG)' + _CODE + rb"(?:" + _STARTS + rb")|FATAL" + _CODE + rb")"
"""`"error_severity":"LOG","sql_state_code":"00000","message":"connection …`, in the order of the columns. As in
jsonlog, no text of a user can look like this: inside a JSON string each quote has a backslash before it."""
_SERVER = "postgres"
"""`logger` of the server's own entries; those of pgaudit have another."""


class _Columns(msgspec.Struct, gc=False):
    """What `Record` needs of csvlog's columns, under the manual's names for them (section 19.8.4)."""

    log_time: str = ""
    user_name: str | None = None
    database_name: str | None = None
    process_id: str = ""
    connection_from: str = ""
    session_id: str | None = None
    session_line_num: str | None = None
    error_severity: str = ""
    sql_state_code: str = NO_ERROR
    message: str = ""
    detail: str | None = None
    context: str | None = None
    application_name: str | None = None
    backend_type: str | None = None


class _Line(msgspec.Struct, gc=False):
    logger: str = ""
    record: _Columns | None = None


class CnpgScanner:
    """Scanner of a pod's log. A line is an entry, and may have a container runtime's head."""

    def __init__(self, timestamps: Timestamps) -> None:
        self._timestamps = timestamps
        self._sayings = Sayings()
        self._ours = re.compile(_OURS)
        self._head = re.compile(CRI_HEAD)
        self._decode = msgspec.json.Decoder(_Line).decode

    def scan(self, data: bytes, _ending: Ending, stats: ReadStats) -> Scan:
        """Events of all whole lines of `data`."""
        events: list[AuthEvent] = []
        end = data.rfind(b"\n") + 1
        for start, stop in lines_with(self._ours, data, end):
            events += self._read(data, start, stop, stats)
        return Scan(events, end)

    def _read(self, data: bytes, start: int, stop: int, stats: ReadStats) -> list[AuthEvent]:
        head = self._head.match(data, start, stop)
        try:
            line = self._decode(data[head.end() if head is not None else start : stop])
            if line.logger != _SERVER or line.record is None:
                return []
            stats.entries_seen += 1
            event = self._sayings.understand(_record(line.record), self._timestamps.read(line.record.log_time))
        except (msgspec.DecodeError, ValueError, OverflowError):
            stats.parse_failures += 1
            return []
        return [event] if event is not None else []


def _record(columns: _Columns) -> Record:
    client_addr, client_port = read_client(columns.connection_from)
    return Record(
        role=columns.user_name or None,
        database=columns.database_name or None,
        pid=int(columns.process_id),
        client_addr=client_addr,
        client_port=client_port,
        session_id=columns.session_id or None,
        line_num=int(columns.session_line_num) if columns.session_line_num else None,
        severity=columns.error_severity,
        sqlstate=columns.sql_state_code if columns.sql_state_code != NO_ERROR else None,
        message=columns.message,
        detail=columns.detail or None,
        context=columns.context or None,
        application_name=columns.application_name or None,
        backend_type=columns.backend_type or None,
    )
