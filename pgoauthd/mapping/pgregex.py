"""A regular expression of pg_ident.conf as PostgreSQL understands it, in time linear in its input: RE2 does the work.

The only module of the package that imports RE2. Expressions whose meaning is not sure are refused, never guessed.
"""

from __future__ import annotations

import re2  # type: ignore[import-untyped]

from pgoauthd.mapping.areparser import parse
from pgoauthd.mapping.arespans import Capture, Captures, Effort
from pgoauthd.mapping.aretree import (
    ALL_BYTES,
    Choice,
    Edge,
    Group,
    Node,
    OneByte,
    Repeat,
    Sequence,
    UnsureExpressionError,
)

MAX_PROGRAM_BYTES = 1 << 20
"""Memory of one compiled expression; RE2 refuses those that need more."""


class PgRegex:
    """An expression whose meaning is sure. Subjects are bytes, as the server has them at that stage."""

    __slots__ = ("_captures", "_compiled")

    def __init__(self, expression: bytes) -> None:
        """Compile; InvalidExpressionError or UnsureExpressionError where it cannot be."""
        tree = parse(expression.decode("latin-1"))
        options = re2.Options()
        options.log_errors = False
        options.never_capture = True
        options.max_mem = MAX_PROGRAM_BYTES
        options.encoding = re2.Options.Encoding.LATIN1
        try:
            self._compiled = re2.compile(_in_re2(tree).encode(), options)
        except re2.error:
            raise UnsureExpressionError("its size") from None
        self._captures = Captures(tree)

    def matches(self, subject: bytes) -> bool:
        """Whether it matches some part of the subject."""
        return self._compiled.search(subject) is not None

    def first_capture(self, subject: bytes, effort: Effort) -> Capture:
        """Where the first group matched, in a subject that matches; `arespans.Doubt` where only PostgreSQL knows."""
        return self._captures.find(subject, effort)


def _in_re2(node: Node) -> str:
    """The same language in RE2's syntax, which has all of these; nothing is captured."""
    match node:
        case OneByte(among):
            return _byte_set(among)
        case Edge(at_start):
            return r"\A" if at_start else r"\z"
        case Sequence(parts):
            return "".join(_in_re2(part) for part in parts)
        case Choice(branches):
            return f"(?:{'|'.join(_in_re2(branch) for branch in branches)})"
        case Repeat(part, low, high):
            return f"(?:{_in_re2(part)}){{{low},{'' if high is None else high}}}"
        case Group(part):
            return f"(?:{_in_re2(part)})"


def _byte_set(among: int) -> str:
    if not among:
        return r"[^\x00-\xff]"
    if among == ALL_BYTES:
        return r"[\x00-\xff]"
    ranges, at = "", 0
    while among >> at:
        at += (among >> at & -(among >> at)).bit_length() - 1
        end = at
        while among >> end + 1 & 1:
            end += 1
        ranges += f"\\x{at:02x}-\\x{end:02x}"
        at = end + 1
    return f"[{ranges}]"
