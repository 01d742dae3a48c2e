"""Finds the entries that concern a login in csvlog; the rest is skipped in C, never parsed.

A field of csvlog may hold newlines and whole imitations of entries, but inside a quoted field every quote is doubled.
So `LOG,00000,"connection …`, one single quote after a comma, never stands inside a field: where it is found, the
entry's own message begins. From there on the entry's limits follow by counting quotes, and it must then be whole.
"""

from __future__ import annotations

import re

from pgoauthd.logs.events import AuthEvent
from pgoauthd.logs.lines import Ending, ReadStats, Scan
from pgoauthd.logs.records import NO_ERROR, Record
from pgoauthd.logs.sayings import LOG_STARTS, Sayings
from pgoauthd.logs.times import Timestamps

_STARTS = b"|".join(re.escape(start.encode()) for start in LOG_STARTS)
_OURS = (
    rb'LOG,[0-9A-Z]{5},"(?:' + _STARTS + rb")",
    rb'WARNING,[0-9A-Z]{5},"(?:' + _STARTS + rb")",
    rb'FATAL,[0-9A-Z]{5},"',
)
"""One search for each severity: with a fixed beginning each is many times faster than one for all."""
_QUOTED = rb'"[^"]*+(?:""[^"]*+)*+"'
"""Possessive, like all repetitions here that could be long: what does not match fails at once."""
_BARE = rb'[^",\n]*+'
_STAMP = rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"


def _columns(*columns: tuple[str, bytes]) -> bytes:
    return b",".join(b"(?P<" + name.encode() + b">" + pattern + b")" for name, pattern in columns)


_OPTIONAL = b"(?:" + _QUOTED + b")?+"
_HEAD = _columns(
    ("time", _STAMP + rb'\.\d{3} [^",\n]+'),
    ("role", _OPTIONAL),
    ("database", _OPTIONAL),
    ("pid", rb"\d+"),
    ("client", _OPTIONAL),
    ("session", rb"[0-9a-f]+\.[0-9a-f]+"),
    ("line", rb"\d+"),
    ("ps", _OPTIONAL),
    ("start", _STAMP + rb' [^",\n]+'),
    ("vxid", rb"[\d/]*"),
    ("txid", rb"\d+"),
    ("severity", rb'[^",\n]+'),
    ("state", rb"[0-9A-Z]{5}"),
)
_TAIL = _columns(
    ("message", _OPTIONAL),
    ("detail", _OPTIONAL),
    ("hint", _OPTIONAL),
    ("internal_query", _OPTIONAL),
    ("internal_query_pos", rb"\d*"),
    ("context", _OPTIONAL),
    ("query", _OPTIONAL),
    ("query_pos", rb"\d*"),
    ("location", _OPTIONAL),
    ("application", _OPTIONAL),
    ("backend", _OPTIONAL),
    ("leader", rb"\d*"),
    ("query_id", rb"-?\d*"),
)
ENTRY_HEAD = _HEAD + b","
"""How every entry begins: the 13 columns before the message."""
_ENTRY = ENTRY_HEAD + _TAIL + b"(?:,(?:" + _QUOTED + b"|" + _BARE + rb"))*+\r?\n"
"""The 26 columns of PostgreSQL 14 to 19 (write_csvlog()), and any that later versions may append."""
_LINE = rb'(?:[^"\n]++|"[^"]*+")*+\n'
"""Up to a newline that no quotes enclose; a doubled quote reads as two quoted stretches."""
_MAX_HEAD_BYTES = 4096
"""More than the columns before the message can take: two names and a host name."""


class CsvlogScanner:
    """Scanner of csvlog. Each entry is found and limited by itself, so damage spoils no more than what it touches."""

    def __init__(self, timestamps: Timestamps) -> None:
        self._timestamps = timestamps
        self._sayings = Sayings()
        self._ours = tuple(re.compile(pattern) for pattern in _OURS)
        self._match = re.compile(_ENTRY).match
        self._match_line = re.compile(_LINE).match

    def scan(self, data: bytes, ending: Ending, stats: ReadStats) -> Scan:
        """Events of all whole entries; one that has begun waits for its end."""
        events: list[AuthEvent] = []
        done = 0
        hits = sorted(hit.start() for ours in self._ours for hit in ours.finditer(data))
        for number, at in enumerate(hits, 1):
            if at < done:
                continue
            start = _start(data, at)
            entry = self._match(data, start) if start >= 0 else None
            if entry is not None and entry.start("severity") == at:
                stats.entries_seen += 1
                done = entry.end()
                events += self._understand(entry, stats)
            elif ending is not Ending.OVER and number == len(hits) and start >= 0 and not self._match_line(data, start):
                return Scan(events, start)
            else:
                stats.parse_failures += 1
                done = at + 1
        # The head of an entry whose message has not come yet may be among the last bytes.
        return Scan(events, max(done, data.rfind(b"\n", 0, max(len(data) - _MAX_HEAD_BYTES, 0)) + 1))

    def _understand(self, entry: re.Match[bytes], stats: ReadStats) -> list[AuthEvent]:
        try:
            event = self._sayings.understand(_record(entry), self._timestamps.read(entry["time"].decode()))
        except (ValueError, OverflowError):
            stats.parse_failures += 1
            return []
        return [event] if event is not None else []


def _start(data: bytes, at: int) -> int:
    """Where the entry begins whose severity is at `at`: after the nearest newline outside quotes; -1 if not here."""
    start = data.rfind(b"\n", 0, at) + 1
    while data.count(b'"', start, at) % 2:
        if start == 0:
            return -1
        start = data.rfind(b"\n", 0, start - 1) + 1
    return start


def _record(entry: re.Match[bytes]) -> Record:
    client_addr, client_port = _client(_text(entry["client"]))
    state = entry["state"].decode()
    return Record(
        role=_text(entry["role"]),
        database=_text(entry["database"]),
        pid=int(entry["pid"]),
        client_addr=client_addr,
        client_port=client_port,
        session_id=entry["session"].decode(),
        line_num=int(entry["line"]),
        severity=entry["severity"].decode("utf-8", "replace"),
        sqlstate=state if state != NO_ERROR else None,
        message=_text(entry["message"]) or "",
        detail=_text(entry["detail"]),
        context=_text(entry["context"]),
        application_name=_text(entry["application"]),
        backend_type=_text(entry["backend"]),
    )


def _text(field: bytes) -> str | None:
    """A quoted field; None for an empty one, quoted or not."""
    return field[1:-1].replace(b'""', b'"').decode("utf-8", "replace") or None


def _client(client: str | None) -> tuple[str | None, int | None]:
    """`host:port`, or the host alone for a Unix socket ("[local]")."""
    host, colon, port = (client or "").rpartition(":")
    return (host, int(port)) if colon and port.isdecimal() else (client, None)
