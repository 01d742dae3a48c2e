"""Finds the entries that concern a login in stderr format; the rest is skipped in C, never split into lines.

An entry is a first line, continuation lines that begin with a tab, and the lines of its DETAIL, CONTEXT and the like
that follow at once with the same process id: the server writes all of them with one call.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from pgoauthd.logs.events import AuthEvent
from pgoauthd.logs.lines import Ending, ReadStats, Scan
from pgoauthd.logs.prefix import LinePrefix
from pgoauthd.logs.records import NO_ERROR, NO_SESSION, Names, Record
from pgoauthd.logs.sayings import LEVELS, LOG_STARTS, Sayings
from pgoauthd.logs.times import Timestamps

_STARTS = b"|".join(re.escape(start.encode()) for start in LOG_STARTS)
_OURS = (
    rb"LOG:  (?:[0-9A-Z]{5}: )?(?:" + _STARTS + rb")",
    rb"WARNING:  (?:[0-9A-Z]{5}: )?(?:" + _STARTS + rb")",
    rb"FATAL:  ",
)
"""One search for each severity: with a fixed beginning each is many times faster than one for all."""
_TAB = ord("\t")
_SATELLITES = frozenset({b"DETAIL", b"HINT", b"QUERY", b"CONTEXT", b"STATEMENT", b"LOCATION", b"BACKTRACE"})
_UNKNOWN = "[unknown]"


class _Entry(NamedTuple):
    head: re.Match[bytes]
    texts: dict[bytes, str]
    """By severity or by DETAIL, CONTEXT, …"""
    stop: int


class StderrScanner:
    """Scanner of stderr format under one log_line_prefix."""

    def __init__(self, prefix: LinePrefix, timestamps: Timestamps) -> None:
        self._prefix = prefix
        self._ours = tuple(re.compile(pattern) for pattern in _OURS)
        self._match = prefix.line.match
        self._timestamps = timestamps
        self._sayings = Sayings()

    def scan(self, data: bytes, ending: Ending, stats: ReadStats) -> Scan:
        """Events of all complete entries; the last one waits until it is known that no line of it follows."""
        events: list[AuthEvent] = []
        end = data.rfind(b"\n") + 1
        done = 0
        for at in sorted(hit.start() for ours in self._ours for hit in ours.finditer(data, 0, end)):
            start = data.rfind(b"\n", 0, at) + 1
            if at < done or data[start] == _TAB:
                continue
            stop = data.find(b"\n", at) + 1
            head = self._match(data, start, stop)
            if head is None:
                stats.parse_failures += 1
                done = stop
            elif head["severity"].decode() in LEVELS:
                entry = self._entry(data, head, stop, end)
                if entry.stop == end and ending is Ending.OPEN:
                    return Scan(events, start)
                stats.entries_seen += 1
                done = entry.stop
                events += self._understand(entry, stats)
        return Scan(events, end)

    def _entry(self, data: bytes, head: re.Match[bytes], stop: int, end: int) -> _Entry:
        texts: dict[bytes, str] = {}
        part, begin = head, head.end()
        while True:
            while stop < end and data[stop] == _TAB:
                stop = data.find(b"\n", stop) + 1
            texts.setdefault(part["severity"], _unfold(data[begin : stop - 1]))
            following = self._match(data, stop, end) if stop < end else None
            if following is None or not _belongs(following, head):
                return _Entry(head, texts, stop)
            part, begin, stop = following, following.end(), data.find(b"\n", following.end()) + 1

    def _understand(self, entry: _Entry, stats: ReadStats) -> list[AuthEvent]:
        try:
            record, time = self._record(*self._head(entry.head), entry)
            event = self._sayings.understand(record, time)
        except (ValueError, OverflowError):
            stats.parse_failures += 1
            return []
        return [event] if event is not None else []

    def _head(self, head: re.Match[bytes]) -> tuple[dict[str, str], Names]:
        """The parts of the prefix. What separates role and database may be part of their names, too."""
        parts = head.groupdict(b"")
        names = Names.READ
        if parts.get("role") and parts.get("database"):
            between = head.string[head.end("role") : head.start("database")]
            if between and between in parts["database"]:
                names = Names.AMBIGUOUS
                again = self._prefix.names.fullmatch(head.string, head.start(), head.start("severity"))
                parts |= again.groupdict(b"") if again is not None else {}
        return {name: text.decode("utf-8", "replace") for name, text in parts.items()}, names

    def _record(self, head: dict[str, str], names: Names, entry: _Entry) -> tuple[Record, float]:
        session_id = head.get("session") or None
        pid = int(head["pid"]) if head.get("pid") else int((session_id or ".0").split(".")[1], 16)
        if session_id is None and head.get("start"):
            session_id = f"{int(self._timestamps.read_second(head['start'])):x}.{pid:x}"
        state = head.get("state") or head["verbose_state"]
        record = Record(
            role=_name(head.get("role")),
            database=_name(head.get("database")),
            pid=pid,
            client_addr=_name(head.get("host")),
            client_port=int(head["port"]) if head.get("port") else None,
            session_id=session_id,
            line_num=int(head["line"]) if head.get("line") else None,
            severity=head["severity"],
            sqlstate=state if state not in ("", NO_ERROR) else None,
            message=entry.texts[entry.head["severity"]],
            detail=entry.texts.get(b"DETAIL"),
            context=entry.texts.get(b"CONTEXT"),
            application_name=_name(head.get("application")),
            backend_type=self._backend(head),
            names=names,
        )
        return record, self._time(head, session_id)

    def _backend(self, head: dict[str, str]) -> str | None:
        """The process's type. Without %b, empty names betray one without a session: a session has "[unknown]"."""
        if head.get("leader"):
            return "parallel worker"
        if head.get("backend"):
            return head["backend"]
        filled = any(head.get(name) for name in ("role", "database", "application", "host"))
        return NO_SESSION if self._prefix.tells_sessions and not filled else None

    def _time(self, head: dict[str, str], session_id: str | None) -> float:
        """When it was logged; a prefix without %m, %t and %n leaves the session's start to go by."""
        if head.get("milli"):
            return self._timestamps.read(head["milli"])
        if head.get("epoch"):
            return float(head["epoch"])
        if head.get("second"):
            return self._timestamps.read_second(head["second"])
        return float(int((session_id or "").split(".")[0], 16))


def _belongs(following: re.Match[bytes], head: re.Match[bytes]) -> bool:
    if following["severity"] not in _SATELLITES:
        return False
    names = following.re.groupindex
    return all(following[name] == head[name] for name in ("pid", "session") if name in names)


def _unfold(text: bytes) -> str:
    """A message as it was before the server put a tab after each newline (append_with_tabs())."""
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n").removesuffix(b"\r")
    return text.replace(b"\n\t", b"\n").decode("utf-8", "replace")


def _name(text: str | None) -> str | None:
    return text if text and text != _UNKNOWN else None
