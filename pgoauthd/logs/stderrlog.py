"""Finds the entries that concern a login in stderr format; the rest is skipped in C, never split into lines.

An entry is a first line, continuation lines that begin with a tab, and the lines of its DETAIL, CONTEXT and the like
that follow at once with the same process id: the server writes all of them with one call.
"""

from __future__ import annotations

import re

from pgoauthd.logs.events import AuthEvent
from pgoauthd.logs.lines import Ending, ReadStats, Scan
from pgoauthd.logs.marks import BELOW_FATAL, LEVELS, STARTS
from pgoauthd.logs.prefix import LinePrefix
from pgoauthd.logs.sayings import Sayings
from pgoauthd.logs.stderrhead import HeadReader
from pgoauthd.logs.times import Timestamps

_BELOW_FATAL = b"G:  (?:" + STARTS + b"|[0-9A-Z]{5}: " + STARTS + b")"
_FATAL = b"FATAL:  "
"""Two searches: with a fixed beginning each is many times faster than one for both."""
_TAB = ord("\t")
_SATELLITES = frozenset({b"DETAIL", b"HINT", b"QUERY", b"CONTEXT", b"STATEMENT", b"LOCATION", b"BACKTRACE"})
_MAY_BE_SATELLITE = b":  (?<=[" + b"".join(sorted({name[-1:] for name in _SATELLITES})) + b"]:  )"
"""Most lines show at once, by one letter, that they are none; only the others are worth a match."""


class StderrScanner:
    """Scanner of stderr format under one log_line_prefix."""

    def __init__(self, prefix: LinePrefix, timestamps: Timestamps) -> None:
        self._below_fatal = re.compile(_BELOW_FATAL)
        self._fatal = re.compile(_FATAL)
        self._may_be_satellite = re.compile(_MAY_BE_SATELLITE).search
        self._match = prefix.line.match
        self._heads = HeadReader(prefix, timestamps)
        self._sayings = Sayings()

    def scan(self, data: bytes, ending: Ending, stats: ReadStats) -> Scan:
        """Events of all complete entries; the last one waits until it is known that no line of it follows."""
        events: list[AuthEvent] = []
        end = data.rfind(b"\n") + 1
        done = 0
        for at in self._hits(data, end):
            start = data.rfind(b"\n", 0, at) + 1
            if at < done or data[start] == _TAB:
                continue
            stop = data.find(b"\n", at) + 1
            head = self._match(data, start, stop)
            if head is None:
                stats.parse_failures += 1
                done = stop
            elif head["severity"] in LEVELS:
                texts, stop = self._texts(data, head, stop, end)
                if stop == end and ending is Ending.OPEN:
                    return Scan(events, start)
                stats.entries_seen += 1
                done = stop
                if (event := self._understand(head, texts, stats)) is not None:
                    events.append(event)
        return Scan(events, end)

    def _hits(self, data: bytes, end: int) -> list[int]:
        """A place in each line that may begin an entry of ours, in order."""
        hits = [hit.start() for hit in self._fatal.finditer(data, 0, end)]
        below = (hit.start() for hit in self._below_fatal.finditer(data, 0, end))
        hits += [at for at in below if data.endswith(BELOW_FATAL, 0, at)]
        hits.sort()
        return hits

    def _texts(self, data: bytes, head: re.Match[bytes], stop: int, end: int) -> tuple[dict[bytes, str], int]:
        """The entry's texts, by severity or by DETAIL, CONTEXT, …, and where it ends; its first line ends at `stop`."""
        texts: dict[bytes, str] = {}
        part = head
        while True:
            while stop < end and data[stop] == _TAB:
                stop = data.find(b"\n", stop) + 1
            texts.setdefault(part["severity"], _unfold(data[part.end() : stop - 1]))
            if stop == end or not self._may_be_satellite(data, stop, data.find(b"\n", stop)):
                return texts, stop
            following = self._match(data, stop, end)
            if following is None or not _belongs(following, head):
                return texts, stop
            part, stop = following, data.find(b"\n", following.end()) + 1

    def _understand(self, head: re.Match[bytes], texts: dict[bytes, str], stats: ReadStats) -> AuthEvent | None:
        try:
            return self._sayings.understand(*self._heads.read(head, texts))
        except (ValueError, OverflowError):
            stats.parse_failures += 1
            return None


def _belongs(following: re.Match[bytes], head: re.Match[bytes]) -> bool:
    """Whether it is a part of the entry: of the same process, and no entry of its own."""
    return following["severity"] in _SATELLITES and following.group("pid", "session") == head.group("pid", "session")


def _unfold(text: bytes) -> str:
    """A message as it was before the server put a tab after each newline (append_with_tabs())."""
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n").removesuffix(b"\r")
    return text.replace(b"\n\t", b"\n").decode("utf-8", "replace")
