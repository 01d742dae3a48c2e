"""Finds the entries that concern a login in stderr format; the rest is skipped in C, never split into lines.

An entry is a first line, continuation lines that begin with a tab, and the lines of its DETAIL, CONTEXT and the like
that follow at once with the same process id: the server writes all of them with one call.
"""

from __future__ import annotations

import re

from pgoauthd.logs.events import AuthEvent
from pgoauthd.logs.lines import Ending, ReadStats, Scan
from pgoauthd.logs.marks import LEVELS, STARTS
from pgoauthd.logs.prefix import LinePrefix
from pgoauthd.logs.sayings import Sayings
from pgoauthd.logs.stderrhead import HeadReader
from pgoauthd.logs.times import Timestamps
from pgoauthd.logs.torn import TornLines

_OURS = b":  (?:" + STARTS + b"|(?<=FATAL:  )|[0-9A-Z]{5}: " + STARTS + b")"
"""It begins with fixed letters, which the search looks for first, and then has a branch for each letter to come."""
_LEVELS = tuple(LEVELS)
_TAB, _NEWLINE, _RETURN = b"\t\n\r"
"""Numbers: `in` finds one several times faster than it finds bytes."""
_SATELLITES = frozenset({b"DETAIL", b"HINT", b"QUERY", b"CONTEXT", b"STATEMENT", b"LOCATION", b"BACKTRACE"})
_MAY_BE_SATELLITE = b":  (?<=[" + b"".join(sorted({name[-1:] for name in _SATELLITES})) + b"]:  )"
"""Most lines show at once, by one letter, that they are none; only the others are worth a match."""


class StderrScanner:
    """Scanner of stderr format under one log_line_prefix."""

    def __init__(self, prefix: LinePrefix, timestamps: Timestamps) -> None:
        self._ours = re.compile(_OURS)
        self._may_be_satellite = re.compile(_MAY_BE_SATELLITE).search
        self._match = prefix.line.match
        self._read = HeadReader(prefix, timestamps).read
        self._understand = Sayings().understand
        self._torn = TornLines(prefix)

    def scan(self, data: bytes, ending: Ending, stats: ReadStats) -> Scan:
        """Events of all complete entries; the last one waits until it is known that no line of it follows."""
        events: list[AuthEvent] = []
        strays: list[int] = []
        used = end = data.rfind(b"\n") + 1
        done = first_stop = 0
        for hit in self._ours.finditer(data, 0, end):
            at = hit.start()
            if at < first_stop or not data.endswith(_LEVELS, 0, at):
                continue
            start, stop = data.rfind(b"\n", 0, at) + 1, data.find(b"\n", at) + 1
            if at < done or data[start] == _TAB:
                strays.append(at)
                continue
            head = self._match(data, start, stop)
            if head is None:
                stats.parse_failures += 1
                done = first_stop = stop
            elif (severity := head["severity"]) in LEVELS and head.end("severity") == at:
                first_stop = stop
                texts, stop = self._texts(data, head, severity, stop, end)
                if stop == end and ending is Ending.OPEN:
                    used = start
                    break
                stats.entries_seen += 1
                done = stop
                event = self._event(head, severity, texts, first_stop, stats)
                if event is not None:
                    events.append(event)
            else:
                strays.append(at)
        stats.parse_failures += self._torn.count(data, strays, used)
        self._torn.pass_over(data, used)
        return Scan(events, used)

    def _event(
        self, head: re.Match[bytes], severity: bytes, texts: dict[bytes, str], first_stop: int, stats: ReadStats
    ) -> AuthEvent | None:
        """What an entry of ours says, if it can be read."""
        is_of_two = self._torn.in_head(head)
        if is_of_two or self._torn.in_text(head, first_stop):
            stats.parse_failures += 1
        if is_of_two:
            return None
        try:
            return self._understand(*self._read(head, severity, texts))
        except (ValueError, OverflowError):
            stats.parse_failures += 1
            return None

    def _texts(
        self, data: bytes, head: re.Match[bytes], severity: bytes, stop: int, end: int
    ) -> tuple[dict[bytes, str], int]:
        """The entry's texts, by severity or by DETAIL, CONTEXT, …, and where it ends; its first line ends at `stop`."""
        texts: dict[bytes, str] = {}
        part = head
        while True:
            while stop < end and data[stop] == _TAB:
                stop = data.find(b"\n", stop) + 1
            texts.setdefault(severity, _unfold(data[part.end() : stop - 1]))
            if stop == end or self._may_be_satellite(data, stop, data.find(b"\n", stop)) is None:
                return texts, stop
            following = self._match(data, stop, end)
            if following is None or not _belongs(following, head):
                return texts, stop
            part, stop = following, data.find(b"\n", following.end()) + 1
            severity = part["severity"]


def _belongs(following: re.Match[bytes], head: re.Match[bytes]) -> bool:
    """Whether it is a part of the entry: of the same process, and no entry of its own."""
    return following["severity"] in _SATELLITES and following.group("pid", "session") == head.group("pid", "session")


def _unfold(text: bytes) -> str:
    """A message as it was before the server put a tab after each newline (append_with_tabs())."""
    if _RETURN in text:
        text = text.replace(b"\r\n", b"\n").removesuffix(b"\r")
    if _NEWLINE in text:
        text = text.replace(b"\n\t", b"\n")
    return text.decode("utf-8", "replace")
