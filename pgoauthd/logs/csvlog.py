"""Finds the entries that concern a login in csvlog; the rest is skipped in C, never parsed.

A field of csvlog may hold newlines and whole imitations of entries, but inside a quoted field every quote is doubled.
So `LOG,00000,"connection …`, one single quote after a comma, never stands inside a field: where it is found, the
entry's own message begins. From there on the entry's limits follow by counting quotes, and it must then be whole.
"""

from __future__ import annotations

import re

from pgoauthd.logs.events import AuthEvent
from pgoauthd.logs.lines import Ending, ReadStats, Scan
from pgoauthd.logs.marks import BELOW_FATAL, LEVELS, STARTS
from pgoauthd.logs.records import NO_ERROR, Record, read_client
from pgoauthd.logs.sayings import Sayings
from pgoauthd.logs.times import Timestamps

_BELOW_FATAL = rb'G,[0-9A-Z]{5},"' + STARTS
_FATAL = rb'FATAL,[0-9A-Z]{5},"'
"""Two searches: with a fixed beginning each is many times faster than one for both."""
_QUOTED = rb'"[^"]*+(?:""[^"]*+)*+"'
"""Possessive, like all repetitions here that could be long: what does not match fails at once."""
_BARE = rb'[^",\n]*+'
_NO_ERROR = NO_ERROR.encode()
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
_LINE = rb'(?:[^"\n]++|"[^"]*+")*+\n'
"""Up to a newline that no quotes enclose; a doubled quote reads as two quoted stretches."""
_MAX_HEAD_BYTES = 4096
"""More than the columns before the message can take: two names and a host name."""


class CsvlogScanner:
    """Scanner of csvlog. Each entry is found and limited by itself, so damage spoils no more than what it touches."""

    def __init__(self, timestamps: Timestamps) -> None:
        self._timestamps = timestamps
        self._sayings = Sayings()
        self._below_fatal = re.compile(_BELOW_FATAL)
        self._fatal = re.compile(_FATAL)
        self._match = re.compile(_ENTRY).match
        self._match_line = re.compile(_LINE).match

    def scan(self, data: bytes, ending: Ending, stats: ReadStats) -> Scan:
        """Events of all whole entries; one that has begun waits for its end."""
        events: list[AuthEvent] = []
        done = 0
        hits = self._hits(data)
        for number, at in enumerate(hits, 1):
            if at < done:
                continue
            start = _start(data, at)
            entry = self._match(data, start) if start >= 0 else None
            if entry is not None and entry.start("severity") == at:
                stats.entries_seen += 1
                done = entry.end()
                if (event := self._understand(entry, stats)) is not None:
                    events.append(event)
            elif ending is not Ending.OVER and number == len(hits) and start >= 0 and not self._match_line(data, start):
                return Scan(events, start)
            else:
                stats.parse_failures += 1
                done = at + 1
        # The head of an entry whose message has not come yet may be among the last bytes.
        return Scan(events, max(done, data.rfind(b"\n", 0, max(len(data) - _MAX_HEAD_BYTES, 0)) + 1))

    def _hits(self, data: bytes) -> list[int]:
        """Where the severities begin of what may be entries of ours, in order."""
        hits = [hit.start() for hit in self._fatal.finditer(data)]
        for hit in self._below_fatal.finditer(data):
            at = hit.start()
            hits += [at - len(rest) for rest in BELOW_FATAL if data.endswith(rest, 0, at)]
        hits.sort()
        return hits

    def _understand(self, entry: re.Match[bytes], stats: ReadStats) -> AuthEvent | None:
        try:
            return self._sayings.understand(_record(entry), self._timestamps.read(entry["time"].decode()))
        except (ValueError, OverflowError):
            stats.parse_failures += 1
            return None


def _start(data: bytes, at: int) -> int:
    """Where the entry begins whose severity is at `at`: after the nearest newline outside quotes; -1 if not here."""
    start = data.rfind(b"\n", 0, at) + 1
    while data.count(b'"', start, at) % 2:
        if start == 0:
            return -1
        start = data.rfind(b"\n", 0, start - 1) + 1
    return start


def _record(entry: re.Match[bytes]) -> Record:
    (
        _, role, database, pid, client, session, line, severity, state, message, detail, context, application, backend
    ) = entry.groups()  # fmt: skip
    client_addr, client_port = read_client(_text(client))
    return Record(
        role=_text(role),
        database=_text(database),
        pid=int(pid),
        client_addr=client_addr,
        client_port=client_port,
        session_id=session.decode(),
        line_num=int(line),
        severity=LEVELS[severity],
        sqlstate=state.decode() if state != _NO_ERROR else None,
        message=_text(message) or "",
        detail=_text(detail),
        context=_text(context),
        application_name=_text(application),
        backend_type=_text(backend),
    )


def _text(field: bytes | None) -> str | None:
    """What stands between the quotes of a field; None for an empty one, quoted or not."""
    if not field:
        return None
    return (field.replace(b'""', b'"') if b'"' in field else field).decode("utf-8", "replace")
