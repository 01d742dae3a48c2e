"""Finds the entries that concern a login in jsonlog, one JSON object a line; the rest is skipped in C, not decoded."""

from __future__ import annotations

import re

import msgspec

from pgoauthd.logs.events import AuthEvent
from pgoauthd.logs.lines import Ending, ReadStats, Scan, lines_with
from pgoauthd.logs.marks import STARTS
from pgoauthd.logs.records import Record
from pgoauthd.logs.sayings import Sayings
from pgoauthd.logs.times import Timestamps

_MESSAGE = b'message":"' + STARTS
_CODE = rb'state_code":"[0-9A-Z]{5}","'
_OURS = (
    rb'verity":"(?:LOG","(?:'
    + _MESSAGE
    + b"|"
    + _CODE
    + _MESSAGE
    + rb')|FATAL"|WARNING","'
    + _CODE
    + _MESSAGE
    + rb'|DEBUG","'
    + _MESSAGE
    + b")"
)
"""`"error_severity":"LOG","message":"connection …`, as write_jsonlog() orders its members. It begins in mid-word with
a letter that is rare in a line, which the search looks for first. Inside a JSON string each quote has a backslash
before it, so no text of a user can look like this."""


class JsonlogScanner:
    """Scanner of jsonlog. A line is an entry; neither order nor number of its members matters beyond `_OURS`."""

    def __init__(self, timestamps: Timestamps) -> None:
        self._timestamps = timestamps
        self._sayings = Sayings()
        self._ours = re.compile(_OURS)
        self._decode = msgspec.json.Decoder(Record).decode

    def scan(self, data: bytes, _ending: Ending, stats: ReadStats) -> Scan:
        """Events of all whole lines of `data`."""
        events: list[AuthEvent] = []
        end = data.rfind(b"\n") + 1
        for start, stop in lines_with(self._ours, data, end):
            stats.entries_seen += 1
            try:
                record = self._read(data[start:stop])
                event = self._sayings.understand(record, self._timestamps.read(record.timestamp))
            except (msgspec.DecodeError, ValueError, OverflowError):
                stats.parse_failures += 1
                continue
            if event is not None:
                events.append(event)
        return Scan(events, end)

    def _read(self, line: bytes) -> Record:
        try:
            return self._decode(line)
        except UnicodeDecodeError:
            # a database in SQL_ASCII logs whatever bytes its clients send
            return self._decode(line.decode("utf-8", "replace").encode())
