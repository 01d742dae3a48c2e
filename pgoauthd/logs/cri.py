"""Puts lines together again that a container runtime has split, for a scanner that wants whole lines; reads no entry.

Kubernetes' runtimes write `TIME STREAM TAGS CONTENT` for each line of a container (the CRI logging format). A line that
is longer than 16 KiB comes in parts: all but the last one have the tag P, the last one has F.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pgoauthd.logs.events import AuthEvent
from pgoauthd.logs.lines import Ending, ReadStats, Scan, Scanner

CRI_HEAD = rb"\d{4}-\d\d-\d\dT[\d:.]{8,20}(?:Z|[+-]\d\d:\d\d) (?P<stream>stdout|stderr) (?P<tag>[FP])(?::\S*+)? "
"""What a runtime puts before a line, or before a part of one."""
_PARTS = (b" stdout P", b" stderr P")
"""Without one of them no line is a part; with one that stands elsewhere in a line, looking at each does no harm."""


class CriScanner:
    """A scanner of the whole lines of a log in which a container runtime may have split some.

    Lines that are in one piece keep what the runtime put before them: the inner scanner has to overlook that.
    """

    def __init__(self, inner: Scanner) -> None:
        self._inner = inner
        self._head = re.compile(CRI_HEAD)

    def scan(self, data: bytes, ending: Ending, stats: ReadStats) -> Scan:
        """Events of all whole lines; what follows the first part of a line waits for the last part."""
        end = data.rfind(b"\n") + 1
        marks = [at for at in (data.find(mark, 0, end) for mark in _PARTS) if at >= 0]
        if not marks:
            return self._inner.scan(data, ending, stats)
        whole, limit = self._join(data, data.rfind(b"\n", 0, min(marks)) + 1, end)
        events: list[AuthEvent] = self._inner.scan(whole, ending, stats).events
        if ending is Ending.OVER and limit < end:
            events += self._inner.scan(data[limit:end], ending, stats).events
            limit = end
        return Scan(events, limit)

    def _join(self, data: bytes, first: int, end: int) -> tuple[bytes, int]:
        """Made whole from the line at `first` on, and how far that reaches: to the first line that is not whole yet."""
        pieces = [data[:first]]
        waiting: dict[bytes, tuple[int, list[bytes]]] = {}
        for start, stop in _lines(data, first, end):
            head = self._head.match(data, start, stop)
            if head is None:
                pieces.append(data[start:stop])
            elif head["tag"] == b"P":
                waiting.setdefault(head["stream"], (start, []))[1].append(data[head.end() : stop - 1])
            elif head["stream"] in waiting:
                pieces += (*waiting.pop(head["stream"])[1], data[head.end() : stop])
            else:
                pieces.append(data[start:stop])
        if not waiting:
            return b"".join(pieces), end
        limit = min(start for start, _ in waiting.values())
        return self._join(data, first, limit) if limit > first else (data[:first], first)


def _lines(data: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end:
        stop = data.find(b"\n", start) + 1
        yield start, stop
        start = stop
