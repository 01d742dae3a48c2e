"""What pg_ident.conf says about a login before the server's log does: a value, part of an outcome (docs/outcome.md)."""

from __future__ import annotations

from enum import StrEnum

import msgspec

MAX_TRIED = 10
"""Lines that are shown of a map without a match."""


class Expected(StrEnum):
    """What the server is expected to do."""

    MATCH = "match"
    NO_MATCH = "no_match"
    UNKNOWN = "unknown"
    """It cannot be said: a membership of roles decides, or an expression means something else outside PostgreSQL."""


class TriedLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the map, and why it does not (surely) match."""

    file: str
    line: int
    text: str
    """As in the file, at most 200 characters."""
    why: str


class MapPrediction(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the map says. `file` and `line` are those of the first line that matches."""

    expected: Expected
    map: str
    message: str
    """One sentence for an operator."""
    file: str | None = None
    line: int | None = None
    tried: tuple[TriedLine, ...] = ()
    """Of NO_MATCH and UNKNOWN: at most MAX_TRIED lines of the map, in order."""
    nearest: TriedLine | None = None
    """The line that lacks least."""
