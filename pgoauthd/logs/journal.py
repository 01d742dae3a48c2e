"""Takes the server's lines out of systemd's journal as `journalctl --output=json --all` writes it; reads no entry.

journald cuts what a service writes into lines, makes an entry of each, drops empty ones, and strips what is blank at
their ends. Here they become lines of stderr format again, for the scanner of that.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import Annotated

import msgspec

from pgoauthd.logs.lines import Ending, ReadStats, Scan
from pgoauthd.logs.prefix import LinePrefix
from pgoauthd.logs.sayings import LOG_STARTS
from pgoauthd.logs.stderrlog import StderrScanner
from pgoauthd.logs.times import Timestamps

JOURNAL_HEAD = rb'\{(?>[^\n]*?"__REALTIME_TIMESTAMP" ?:)'
"""A line that journalctl writes. The order of its members changes from line to line."""
_STARTS = tuple(start.encode() for start in LOG_STARTS)
_LEVEL = rb":  (?:[0-9A-Z]{5}: )?(?:" + b"|".join(map(re.escape, _STARTS)) + rb")"
_SAYS = (rb"LOG" + _LEVEL, rb"WARNING" + _LEVEL, rb"DEBUG" + _LEVEL, rb"FATAL:  ")
_MARKS = (*_SAYS, rb'"MESSAGE" ?: ?[\[n]', rb'"_LINE_BREAK" ?: ?"line-max"')
"""What lines may matter: those that say something, hide their text as numbers or lack it, or end in mid-line. In a
JSON string each quote has a backslash before it, so no text of a user can look like a member."""
_FIRST = re.compile(rb"DEBUG[1-5]?|INFO|NOTICE|WARNING|ERROR|LOG|FATAL|PANIC").fullmatch
"""Severities of an entry's first line, unlike DETAIL and the like."""
_TAB = b"\t"
_SERVERS = frozenset({None, "postgres", "postmaster"})
"""`_COMM`, which the kernel tells, of processes whose lines should fit the prefix."""
_TORN_BYTES = 1 << 18
"""So many bytes at most are held back for the rest of a line that journald has split."""

_Byte = Annotated[int, msgspec.Meta(ge=0, le=255)]
_Text = str | tuple[_Byte, ...] | None
"""journalctl writes numbers where a text is not UTF-8 or not printable, null where it is long and --all is missing."""


class _Entry(msgspec.Struct, gc=False):
    message: _Text = msgspec.field(name="MESSAGE", default="")
    pid: _Text = msgspec.field(name="_PID", default=None)
    command: _Text = msgspec.field(name="_COMM", default=None)
    stream: _Text = msgspec.field(name="_STREAM_ID", default=None)
    line_break: _Text = msgspec.field(name="_LINE_BREAK", default=None)


class _Unwrapped:
    """What one stretch of a journal holds of the server's."""

    def __init__(self) -> None:
        self.starts: list[int] = []
        """Where in the journal the lines begin that matter."""
        self.texts: list[bytes] = []
        self.torn: dict[_Text, int] = {}
        """By stream: where the last part at hand begins of a line whose rest has not come yet."""
        self.broken: list[int] = []
        self.overlong: list[int] = []
        self.writer: _Text = None
        """Process id of the entry that the next line may belong to."""
        self.is_open = False

    def add(self, start: int, text: bytes) -> None:
        self.starts.append(start)
        self.texts.append(text + b"\n")

    def forget_torn(self, at: int) -> None:
        """The rest of a line comes at once or, where journald limits a service's rate, never."""
        self.torn = {stream: start for stream, start in self.torn.items() if at - start < _TORN_BYTES}


class JournalScanner:
    """Scanner of journald's entries about a server that logs to stderr under one log_line_prefix."""

    def __init__(self, prefix: LinePrefix, timestamps: Timestamps) -> None:
        self._stderr = StderrScanner(prefix, timestamps)
        self._match = prefix.line.match
        self._marks = tuple(map(re.compile, _MARKS))
        self._says = tuple(map(re.compile, _SAYS))
        self._decode = msgspec.json.Decoder(_Entry).decode

    def scan(self, data: bytes, ending: Ending, stats: ReadStats) -> Scan:
        """Events of all complete entries; the last one waits until it is known that no line of it follows."""
        end = data.rfind(b"\n") + 1
        found = self._unwrap(data, end)
        limit = min(found.torn.values(), default=end) if ending is not Ending.OVER else end
        texts = found.texts[: bisect_right(found.starts, limit - 1)]
        events, used = self._stderr.scan(b"".join(texts), ending, stats)
        for text, start in zip(texts, found.starts, strict=False):
            if used <= 0:
                limit = start
                break
            used -= len(text)
        stats.parse_failures += sum(at < limit for at in found.broken)
        stats.overlong += sum(at < limit for at in found.overlong)
        return Scan(events, limit)

    def _unwrap(self, data: bytes, end: int) -> _Unwrapped:
        found = _Unwrapped()
        stop = 0
        for at in sorted(hit.start() for mark in self._marks for hit in mark.finditer(data, 0, end)):
            if at < stop:
                continue
            for start, stop in _lines(data, data.rfind(b"\n", 0, at) + 1, end):
                self._take(data[start:stop], start, found)
                if not found.is_open and not found.torn:
                    break
        found.forget_torn(end)
        return found

    def _take(self, line: bytes, start: int, found: _Unwrapped) -> None:
        try:
            entry = self._decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            # an object of other types is sound: it may have several messages, which no server writes
            is_sound = isinstance(error, msgspec.ValidationError) and line.startswith(b"{")
            if not is_sound and any(mark.search(line) for mark in self._marks):
                found.broken.append(start)
            return
        if not self._is_torn(entry, start, found):
            self._take_entry(entry, start, found)

    def _is_torn(self, entry: _Entry, start: int, found: _Unwrapped) -> bool:
        """Whether it is a part of a line too long for journald: what a user sends may stand at the beginning of one."""
        if found.torn:
            found.forget_torn(start)
        is_rest = entry.stream in found.torn
        if entry.line_break == "line-max":
            found.torn[entry.stream] = start
            return True
        if is_rest:
            del found.torn[entry.stream]
            found.overlong.append(start)
        return is_rest

    def _take_entry(self, entry: _Entry, start: int, found: _Unwrapped) -> None:
        if entry.message is None:
            if entry.command in _SERVERS:
                found.overlong.append(start)
            return
        text = _bytes(entry.message)
        head = self._match(text)
        if head is None:
            self._take_foreign(text, entry, start, found)
        elif _FIRST(head["severity"]):
            is_ours = head["severity"] == b"FATAL" or text.startswith(_STARTS, head.end())
            if is_ours or found.is_open:
                found.add(start, self._folded(text))
            found.is_open, found.writer = is_ours, entry.pid
        elif found.is_open:
            found.add(start, self._folded(text))

    def _take_foreign(self, text: bytes, entry: _Entry, start: int, found: _Unwrapped) -> None:
        """A line without the prefix: it goes on with the entry before, or is none of the server's, or unreadable."""
        same = entry.pid == found.writer
        if text.startswith(_TAB):
            if found.is_open and same:
                found.add(start, self._folded(text))
            return
        found.is_open = found.is_open and not same
        if entry.command in _SERVERS and any(says.search(text) for says in self._says):
            found.add(start, self._folded(text))

    def _folded(self, text: bytes) -> bytes:
        """A text of several lines with the server's tab before each that does not begin a part of the entry."""
        if b"\n" not in text:
            return text
        first, *rest = text.split(b"\n")
        return b"\n".join((first, *(line if self._is_part(line) else _TAB + line for line in rest)))

    def _is_part(self, line: bytes) -> bool:
        head = self._match(line)
        return line.startswith(_TAB) or (head is not None and not _FIRST(head["severity"]))


def _lines(data: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end:
        stop = data.find(b"\n", start) + 1
        yield start, stop
        start = stop


def _bytes(text: str | tuple[int, ...]) -> bytes:
    return text.encode("utf-8", "replace") if isinstance(text, str) else bytes(text)
