"""Compiles the server's own log_line_prefix into one regular expression for whole lines; never reads a log.

The limit of the stderr format: the server writes %u, %d and %a into the prefix as the client sent them, unescaped. A
role name with a newline can therefore forge whole lines, and one that contains a severity word, a colon and two spaces
can forge the rest of its own line, both before any authentication. No parser can tell such lines from true ones, and
the true line of a role name with a newline cannot be read. csvlog and jsonlog quote every name and are immune. Where
names are ambiguous but honest, the message's own statement wins (`logs.sayings`); without one the role gets the longer
part, so `a@example.org@app` under `%u@%d` is role `a@example.org`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from pgoauthd.errors import LogFormatError

_ZONE = rb"(?:[A-Za-z]+|[+-]\d\d(?::?\d\d)?)"
_SECOND = rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
_TEXT = rb"[^\n]{0,255}?"
"""A name: 63 bytes as the server is usually built; bounded, so that no line can make the match slow."""
_ESCAPES: dict[str, bytes] = {
    "a": rb"(?P<application>" + _TEXT + rb")",
    "u": rb"(?P<role>" + _TEXT + rb")",
    "d": rb"(?P<database>" + _TEXT + rb")",
    "r": rb"(?P<host>[^\s()]*)(?:\((?P<port>\d+)\))?",
    "h": rb"(?P<host>\S*?)",
    "L": rb"\S*?",
    "b": rb"(?P<backend>" + _TEXT + rb")",
    "p": rb"(?P<pid>\d+)",
    "P": rb"(?P<leader>\d*)",
    "t": rb"(?P<second>" + _SECOND + b" " + _ZONE + rb")",
    "m": rb"(?P<milli>" + _SECOND + rb"\.\d{3} " + _ZONE + rb")",
    "n": rb"(?P<epoch>\d+\.\d{3})",
    "i": _TEXT,
    "e": rb"(?P<state>[0-9A-Z]{5})",
    "c": rb"(?P<session>[0-9a-f]+\.[0-9a-f]+)",
    "l": rb"(?P<line>\d+)",
    "s": rb"(?P<start>" + _SECOND + b" " + _ZONE + rb")",
    "v": rb"(?:\d+/\d+)?",
    "x": rb"\d+",
    "Q": rb"-?\d+",
}
"""The escapes of PostgreSQL 18 (manual, section 19.8.3), but for %% and %q."""
_FIXED = {"n": rb"(?P<epoch>\d{10}\.\d{3})", "c": rb"(?P<session>[0-9a-f]{8}\.[0-9a-f]+)"}
"""Until 2106 and 2286; of so many digits, so that no part of one looks like another."""
_LONGEST_ROLE = {"u": rb"(?P<role>[^\n]{0,255})", "d": rb"(?P<database>\S[^\n]{0,254}?)"}

PARTS = (
    "role", "database", "application", "host", "port", "backend", "pid", "leader",
    "milli", "second", "epoch", "start", "session", "line", "state", "verbose_state",
)  # fmt: skip
"""Every group of a `LinePrefix.line` but the severity."""

_TIME_GROUPS = {"m": "milli", "t": "second", "n": "epoch", "s": "start", "c": "session"}
_TIMES = frozenset(_TIME_GROUPS)
_JOINS = frozenset("cp")
_SESSION = frozenset("udahr")
_NAMES = _SESSION | set("bLiq")
_SEVERITY = (
    rb"(?P<severity>DEBUG[1-5]?|INFO|NOTICE|WARNING|ERROR|LOG|FATAL|PANIC"
    rb"|DETAIL|HINT|QUERY|CONTEXT|STATEMENT|LOCATION|BACKTRACE):  (?:(?P<verbose_state>[0-9A-Z]{5}): )?"
)
"""send_message_to_server_log(); log_error_verbosity=verbose puts the SQLSTATE before the message."""
_PADDED = re.compile(r"%(-?\d*)(.?)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class LinePrefix:
    """A compiled log_line_prefix."""

    setting: str
    line: re.Pattern[bytes]
    """Matches a line from its beginning to the beginning of its message; what the setting lacks is None of PARTS."""
    names: re.Pattern[bytes]
    """Matches the prefix alone, with the longest role name that it may hold."""
    again: re.Pattern[bytes]
    """Finds where a line may begin anywhere: its first time, and what follows up to the first name."""
    first_time: str
    """The group of that time, in `line` as in `again`."""
    separator: bytes | None
    """What stands between role and database, where that is always the same."""
    tells_sessions: bool
    """It has an escape that only the processes of client sessions fill (%u, %d, %a, %h, %r)."""


class _Part(NamedTuple):
    """One step of the setting: an escape, or a literal (`escape` is empty)."""

    escape: str
    padding: str
    literal: str


def compile_prefix(setting: str) -> LinePrefix:
    """Compile a log_line_prefix; LogFormatError if the server's lines could not be read or joined by it."""
    parts = _split(setting)
    escapes = {part.escape for part in parts}
    _demand(setting, escapes)
    lazy = _expression(parts, _ESCAPES)
    greedy = _expression(parts, _ESCAPES | _LONGEST_ROLE)
    first = next(number for number, part in enumerate(parts) if part.escape in _TIMES)
    line = lazy + _SEVERITY
    lacking = b"".join(b"(?P<%b>)" % part.encode() for part in PARTS if b"?P<%b>" % part.encode() not in line)
    return LinePrefix(
        setting,
        re.compile(line + b"(?:|(?!)" + lacking + b")"),
        re.compile(greedy),
        re.compile(_expression(parts[first : _first_name(parts, first)], _ESCAPES | _FIXED)),
        first_time=_TIME_GROUPS[parts[first].escape],
        separator=_separator(parts),
        tells_sessions=bool(escapes & _SESSION),
    )


def _first_name(parts: list[_Part], start: int) -> int:
    return next((at for at in range(start, len(parts)) if parts[at].escape in _NAMES), len(parts))


def _separator(parts: list[_Part]) -> bytes | None:
    escapes = [part.escape for part in parts]
    if "u" not in escapes or "d" not in escapes:
        return None
    span = parts[escapes.index("u") : escapes.index("d") + 1]
    if any(part.padding for part in span) or any(part.escape for part in span[1:-1]):
        return None
    return "".join(part.literal for part in span).encode()


def _split(setting: str) -> list[_Part]:
    parts: list[_Part] = []
    at = 0
    while at < len(setting):
        found = _PADDED.search(setting, at)
        if found is None:
            parts.append(_Part("", "", setting[at:]))
            break
        parts.append(_Part("", "", setting[at : found.start()]))
        padding, escape = found.groups()
        if escape == "%":
            parts.append(_Part("", "", "%"))
        elif escape == "q" or escape in _ESCAPES:
            parts.append(_Part(escape, padding, ""))
        else:
            what = f"{found[0]!r} is no escape" if escape else "a lone % ends it"
            raise LogFormatError(
                f"log_line_prefix {setting!r}, character {found.start() + 1}: {what}; "
                f"use those of PostgreSQL's manual: %{' %'.join(sorted(_ESCAPES))} %q %%"
            )
        at = found.end()
    return parts


def _demand(setting: str, escapes: set[str]) -> None:
    if not escapes & _JOINS:
        raise LogFormatError(
            f"log_line_prefix {setting!r}: has neither %c nor %p, so the lines of a session cannot be joined; "
            "add %p or, better, %c, or let the server write jsonlog"
        )
    if not escapes & _TIMES:
        raise LogFormatError(f"log_line_prefix {setting!r}: has no time; add %m, or let the server write jsonlog")


def _expression(parts: list[_Part], escapes: dict[str, bytes]) -> bytes:
    """Lines of processes without a session end their prefix at %q: that reading is tried first."""
    used: set[str] = set()
    stop = next((number for number, part in enumerate(parts) if part.escape == "q"), len(parts))
    head = b"".join(_pattern(part, escapes, used) for part in parts[:stop])
    tail = b"".join(_pattern(part, escapes, used) for part in parts[stop:] if part.escape != "q")
    return head + (b"(?:" + tail + b")??" if tail else b"")


def _pattern(part: _Part, escapes: dict[str, bytes], used: set[str]) -> bytes:
    """The expression of one part. What is written twice is read where it stands first."""
    if not part.escape:
        return re.escape(part.literal.encode())
    pattern = escapes[part.escape]
    names = set(re.findall(rb"\?P<(\w+)>", pattern))
    if any(name.decode() in used for name in names):
        pattern = re.sub(rb"\?P<\w+>", b"?:", pattern)
    used |= {name.decode() for name in names}
    if not part.padding:
        return pattern
    return pattern + b" *" if part.padding.startswith("-") else b" *" + pattern
