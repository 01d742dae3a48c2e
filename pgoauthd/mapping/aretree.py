"""PostgreSQL's advanced regular expressions as trees over bytes, where their meaning is sure; matches nothing itself.

Before a database is chosen the server takes names as bytes (SQL_ASCII) and classes as in the C locale, so a tree does.
Rules: PostgreSQL documentation 9.7.3; what it leaves open was tried on the server (tests/mapping).
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

ALL_BYTES = (1 << 256) - 1
MAX_BOUND = 255
"""Of {m,n} (DUPMAX)."""
MAX_BYTE = 0xFF
MAX_CHARACTER = 0x7FFFFFFE
"""Of an escape."""
MAX_DEPTH = 50
"""Of parentheses in a tree."""


class InvalidExpressionError(ValueError):
    """PostgreSQL refuses the expression, and with it the whole file."""


class UnsureExpressionError(ValueError):
    """PostgreSQL alone knows what the expression means, or whether it means anything."""


class OneByte(msgspec.Struct, frozen=True):
    """One byte out of a set: bit n of `among` stands for byte n."""

    among: int


class Edge(msgspec.Struct, frozen=True):
    """The beginning or the end of the subject."""

    at_start: bool


class Sequence(msgspec.Struct, frozen=True):
    """One part after the other; without parts it matches the empty string."""

    parts: tuple[Node, ...]


class Choice(msgspec.Struct, frozen=True):
    """One of the branches."""

    branches: tuple[Node, ...]


class Repeat(msgspec.Struct, frozen=True):
    """A part `low` to `high` times; `high` None is without end."""

    part: Node
    low: int
    high: int | None
    greedy: bool


class Group(msgspec.Struct, frozen=True):
    """A capturing parenthesis; numbers count from 1."""

    part: Node
    number: int


Node = OneByte | Edge | Sequence | Choice | Repeat | Group


def children(node: Node) -> tuple[Node, ...]:
    """The nodes right below."""
    match node:
        case Sequence(parts):
            return parts
        case Choice(branches):
            return branches
        case Repeat(part) | Group(part):
            return (part,)
        case _:
            return ()


def walk(node: Node) -> Iterator[Node]:
    """The node and all below it."""
    yield node
    for child in children(node):
        yield from walk(child)


def _byte_set(values: str | range) -> int:
    return sum(1 << (ord(value) if isinstance(value, str) else value) for value in values)


_DIGIT, _UPPER, _LOWER = "0123456789", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz"
_ALNUM = _DIGIT + _UPPER + _LOWER

CLASSES: dict[str, int] = {
    "alnum": _byte_set(_ALNUM),
    "alpha": _byte_set(_UPPER + _LOWER),
    "ascii": _byte_set(range(0x80)),
    "blank": _byte_set(" \t"),
    "cntrl": _byte_set(range(0x20)) | _byte_set(range(0x7F, 0xA0)),
    "digit": _byte_set(_DIGIT),
    "graph": _byte_set(range(0x21, 0x7F)),
    "lower": _byte_set(_LOWER),
    "print": _byte_set(range(0x20, 0x7F)),
    "punct": _byte_set(range(0x21, 0x7F)) & ~_byte_set(_ALNUM),
    "space": _byte_set(" \t\n\v\f\r"),
    "upper": _byte_set(_UPPER),
    "xdigit": _byte_set(_DIGIT + "ABCDEFabcdef"),
    "word": _byte_set(_ALNUM + "_"),
}
"""[:name:], by the C locale."""

CLASS_ESCAPES: dict[str, int] = {
    "d": CLASSES["digit"],
    "s": CLASSES["space"],
    "w": CLASSES["word"],
    "D": ALL_BYTES & ~CLASSES["digit"],
    "S": ALL_BYTES & ~CLASSES["space"],
    "W": ALL_BYTES & ~CLASSES["word"],
}

CHARACTER_ESCAPES: dict[str, int] = {
    "a": 0x07,
    "b": 0x08,
    "B": 0x5C,
    "e": 0x1B,
    "f": 0x0C,
    "n": 0x0A,
    "r": 0x0D,
    "t": 0x09,
    "v": 0x0B,
}


def fold(among: int) -> int:
    """The set with the other letter case of each of its letters; only ASCII letters have one."""
    lower, upper = among & CLASSES["lower"], among & CLASSES["upper"]
    return among | lower >> 32 | upper << 32
