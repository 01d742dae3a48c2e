"""Finds lines of stderr format that were torn, so that the next entry is glued to them; it reads no entry.

Where the disk was full, a line has no end, and what is logged next goes on in it. A text that a user has sent can look
the same. So what is glued is not read, and no text takes away the line before it: it is only told that something may be
lost. An imitation is older than the line that quotes it, unless it was made to deceive.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from pgoauthd.logs.prefix import LinePrefix

_TAB = b"\t"[0]
_MARK = b":  "
"""Behind each severity."""
_MAX_PREFIX_BYTES = 1024
_CLOCKS = ("milli", "second", "epoch")


class TornLines:
    """Looks for a second beginning in a line that has one, or that goes on with a tab."""

    def __init__(self, prefix: LinePrefix) -> None:
        self._match = prefix.line.match
        self._again = prefix.again
        self._first_time = prefix.first_time
        self._clock = next((clock for clock in _CLOCKS if clock in prefix.again.groupindex), None)
        self._last: bytes | None = None
        """The time of the last line before the bytes at hand that does not go on with a tab."""

    def in_head(self, head: re.Match[bytes]) -> bool:
        """Whether another line begins before the severity: what was taken for names is of two lines."""
        return self._again.search(head.string, head.end(self._first_time), head.start("severity")) is not None

    def in_text(self, head: re.Match[bytes], stop: int) -> bool:
        """Whether another line begins in the text of a line of ours, which ends at `stop`."""
        last = head.string.rfind(_MARK, head.end(), stop)
        return last >= 0 and self._begins(head.string, head.end(), last, self._time(head))

    def count(self, data: bytes, marks: Iterable[int], used: int) -> int:
        """How many lines before `used` are torn; `marks` tells where severities of ours end, but the lines' own."""
        torn = done = stop = start = behind = 0
        time = self._last
        for at in marks:
            if at < done or at >= used:
                continue
            if at >= stop:
                known, start, stop = start, data.rfind(b"\n", 0, at) + 1, data.find(b"\n", at) + 1
                time = self._time_at(data, start, known, time)
                head = self._match(data, start)
                behind = head.end() if head is not None else start + 2
            if self._begins(data, max(behind, at - _MAX_PREFIX_BYTES), at, time):
                torn, done = torn + 1, stop
        return torn

    def pass_over(self, data: bytes, used: int) -> None:
        """The next bytes follow those before `used`."""
        if used:
            self._last = self._time_at(data, data.rfind(b"\n", 0, used - 1) + 1, 0, self._last)

    def _begins(self, data: bytes, start: int, stop: int, time: bytes | None) -> bool:
        """Whether a line begins in between that was not logged before `time`."""
        found = self._again.finditer(data, start, stop)
        return any(_may_follow(self._time(again), time) for again in found)

    def _time_at(self, data: bytes, start: int, known: int, time: bytes | None) -> bytes | None:
        """The time of the line at `start`, or of the one that it goes on; of what goes on at `known` it is `time`."""
        while data[start] == _TAB:
            if start <= known:
                return time
            start = data.rfind(b"\n", 0, start - 1) + 1
        head = self._match(data, start)
        return self._time(head) if head is not None else None

    def _time(self, head: re.Match[bytes]) -> bytes | None:
        return head[self._clock] if self._clock is not None else None


def _may_follow(second: bytes | None, first: bytes | None) -> bool:
    """Of what has no known time it may be so, and where the zone has changed."""
    return first is None or second is None or second >= first or second.split()[2:] != first.split()[2:]
