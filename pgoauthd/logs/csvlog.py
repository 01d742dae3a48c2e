"""Finds the entries that concern a login in csvlog; the rest is skipped in C, never parsed.

A field of csvlog may hold newlines and whole imitations of entries, but inside a quoted field every quote is doubled.
So `LOG,00000,"connection …`, one single quote after a comma, never stands inside a field: where it is found, the
entry's own message begins. From there on the entry's limits follow by counting quotes, and it must then be whole.
Likewise an odd number of quotes between a comma and a text always begins a field; of each entry's end it shows whether
it is one.
"""

from __future__ import annotations

import re
from collections import deque

from pgoauthd.logs.events import AuthEvent
from pgoauthd.logs.lines import Ending, ReadStats, Scan
from pgoauthd.logs.marks import STARTS
from pgoauthd.logs.records import NO_ERROR, Record, read_client
from pgoauthd.logs.sayings import FATAL, Sayings
from pgoauthd.logs.times import Timestamps

_BELOW_FATAL = rb'G,[0-9A-Z]{5},"' + STARTS
"""With the letter that LOG, WARNING and DEBUG end in, one search finds them all."""
_TEXT = rb'"(?:"")*+[^",\r\n]'
"""How a field's text begins, if a comma is before it: inside a field the number of quotes is even, but at its end, and
there a comma or the end of a line follows. So no text of a user can look like this."""
_FATAL = rb"FATAL,[0-9A-Z]{5}," + _TEXT
"""Two searches: with a fixed beginning each is many times faster than one for both."""
_QUOTED = rb'"[^"]*+(?:""[^"]*+)*+"'
"""Possessive, like all repetitions here that could be long: what does not match fails at once."""
_BARE = rb'[^",\n]*+'
_STAMP = rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
_OPTIONAL = b"(?:" + _QUOTED + b")?+"


def _quoted(name: bytes) -> bytes:
    """A column that may be empty; its group is what stands between the quotes."""
    return rb'(?:"(?P<' + name + rb'>[^"]*+(?:""[^"]*+)*+)")?'


_HEAD = b",".join(
    (
        rb"(?P<time>" + _STAMP + rb'\.\d{3} [^",\n]+)',
        _quoted(b"role"),
        _quoted(b"database"),
        rb"(?P<pid>\d+)",
        _quoted(b"client"),
        rb"(?P<session>[0-9a-f]+\.[0-9a-f]+)",
        rb"(?P<line>\d+)",
        _OPTIONAL,  # command tag
        _STAMP + rb' [^",\n]+',  # session start
        rb"[\d/]*",  # virtual transaction
        rb"\d+",  # transaction
        rb'(?P<severity>[^",\n]+)',
        rb"(?P<state>[0-9A-Z]{5})",
    )
)
_TAIL = b",".join(
    (
        _quoted(b"message"),
        _quoted(b"detail"),
        _OPTIONAL,  # hint
        _OPTIONAL,  # internal query
        rb"\d*",  # position in it
        _quoted(b"context"),
        _OPTIONAL,  # query
        rb"\d*",  # position in it
        _OPTIONAL,  # location
        _quoted(b"application"),
        _quoted(b"backend"),
        rb"\d*",  # leader of a parallel worker
        rb"-?\d*",  # query id
    )
)
ENTRY_HEAD = _HEAD + b","
"""How every entry begins: the 13 columns before the message."""
_ENTRY = ENTRY_HEAD + _TAIL + b"(?:,(?:" + _QUOTED + b"|" + _BARE + rb"))*+\r?\n"
"""The 26 columns of PostgreSQL 14 to 19 (write_csvlog()), and any that later versions may append."""
_MAX_HEAD_BYTES = 4096
"""More than the columns before the message can take: two names and a host name."""


class CsvlogScanner:
    """Scanner of csvlog. Each entry is found and limited by itself, so damage spoils no more than what it touches."""

    def __init__(self, timestamps: Timestamps) -> None:
        self._timestamps = timestamps
        self._understand = Sayings().understand
        self._below_fatal = re.compile(_BELOW_FATAL)
        self._fatal = re.compile(_FATAL)
        self._text = re.compile(b"," + _TEXT)
        self._match = re.compile(_ENTRY.decode(), re.ASCII).match

    def scan(self, data: bytes, ending: Ending, stats: ReadStats) -> Scan:
        """Events of all whole entries; one that has begun waits for its end."""
        events: list[AuthEvent] = []
        done = 0
        hits = self._hits(data)
        for number, at in enumerate(hits, 1):
            if at < done:
                continue
            start = _start(data, at)
            stop = _stop(data, at) if start >= 0 else 0
            # A character for each byte: names and numbers of bytes mean what they say.
            entry = self._match(data[start:stop].decode("latin-1")) if stop else None
            if entry is not None and start + entry.end("severity") == at:
                stats.entries_seen += 1
                done = stop
                try:
                    event = self._understand(_record(entry), self._timestamps.read(entry["time"]))
                except (ValueError, OverflowError):
                    stats.parse_failures += 1
                    continue
                if event is not None:
                    events.append(event)
            elif ending is not Ending.OVER and number == len(hits) and start >= 0 and not stop:
                return Scan(events, start)
            else:
                stats.parse_failures += 1
                done = at + 1
        # The head of an entry whose message has not come yet may be among the last bytes.
        done = max(done, data.rfind(b"\n", 0, max(len(data) - _MAX_HEAD_BYTES, 0)) + 1)
        return Scan(events, done if ending is Ending.OPEN else max(done, self._last_stop(data, done)))

    def _last_stop(self, data: bytes, done: int) -> int:
        """Where the last whole entry ends, as shown by the last text that begins behind `done`; 0 if none does."""
        begins = deque((found.start() for found in self._text.finditer(data, done)), maxlen=1)
        return _stop_before_end(data, begins[0]) if begins else 0

    def _hits(self, data: bytes) -> list[int]:
        """Where the severities end of what may be entries of ours, in order."""
        hits = [hit.start() + len(FATAL) for hit in self._fatal.finditer(data)]
        below = (hit.start() + 1 for hit in self._below_fatal.finditer(data))
        hits += [at for at in below if data.endswith((b"LOG", b"WARNING", b"DEBUG"), 0, at)]
        hits.sort()
        return hits


def _start(data: bytes, at: int) -> int:
    """Where the entry begins that `at` is in: after the nearest newline outside quotes, if `at` is; -1 if not here."""
    start = data.rfind(b"\n", 0, at) + 1
    while data.count(b'"', start, at) % 2:
        if start == 0:
            return -1
        start = data.rfind(b"\n", 0, start - 1) + 1
    return start


def _stop(data: bytes, at: int) -> int:
    """Where the entry ends that `at` is in: behind the next newline outside quotes, as `at` is; 0 if not here."""
    stop, quotes = at, 0
    while True:
        newline = data.find(b"\n", stop) + 1
        quotes += data.count(b'"', stop, newline)
        if newline == 0 or quotes % 2 == 0:
            return newline
        stop = newline


def _stop_before_end(data: bytes, at: int) -> int:
    """Where the last entry ends that ends at all: behind the last newline outside quotes, as `at` is; 0 if not here."""
    stop, quotes = len(data), data.count(b'"', at)
    while stop > 0:
        newline = data.rfind(b"\n", 0, stop) + 1
        quotes -= data.count(b'"', newline, stop)
        if quotes % 2 == 0:
            return newline
        stop = newline - 1
    return 0


def _record(entry: re.Match[str]) -> Record:
    fields = entry.groups()
    if not entry.string.isascii():
        fields = tuple(field and field.encode("latin-1").decode("utf-8", "replace") for field in fields)
    (
        _, role, database, pid, client, session, line, severity, state, message, detail, context, application, backend
    ) = fields  # fmt: skip
    client_addr, client_port = read_client(_text(client) if client else None)
    return Record(
        role=_text(role) if role else None,
        database=_text(database) if database else None,
        pid=int(pid),
        client_addr=client_addr,
        client_port=client_port,
        session_id=session,
        line_num=int(line),
        severity=severity,
        sqlstate=state if state != NO_ERROR else None,
        message=_text(message) if message else "",
        detail=_text(detail) if detail else None,
        context=_text(context) if context else None,
        application_name=_text(application) if application else None,
        backend_type=_text(backend) if backend else None,
    )


def _text(field: str) -> str:
    """What stands between the quotes of a field."""
    return field.replace('""', '"')
