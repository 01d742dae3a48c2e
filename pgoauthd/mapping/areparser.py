"""Reads an advanced regular expression of PostgreSQL into a tree; refuses what is invalid and what is not sure.

The two refusals differ: the server takes no file with an invalid expression. So reading goes on behind what is not
sure, as far as that can be done, to see whether all is valid.
"""

from __future__ import annotations

import re
from typing import NoReturn

from pgoauthd.mapping.aretree import (
    ALL_BYTES,
    CHARACTER_ESCAPES,
    CLASS_ESCAPES,
    CLASSES,
    MAX_BOUND,
    MAX_BYTE,
    MAX_CHARACTER,
    MAX_DEPTH,
    Choice,
    Edge,
    Group,
    InvalidExpressionError,
    Node,
    OneByte,
    Repeat,
    Sequence,
    UnsureExpressionError,
    fold,
)

_OPTIONS = re.compile(r"\(\?([A-Za-z]+)(\)?)")
_KNOWN_OPTIONS = frozenset("bceimnpqstwx")
_SURE_OPTIONS = frozenset("cist")
"""s and t say what holds anyhow."""
_READABLE_OPTIONS = _SURE_OPTIONS | frozenset("mnpw")
"""These change what matches, but not how an expression is read."""
_BOUND = re.compile(r"\{([0-9]+)(?:(,)([0-9]*))?\}(\??)")
_LOOKAROUND = re.compile(r"\?(?:=|!|<=|<!)")
_BACK_REFERENCE = re.compile(r"[1-9][0-9]*")
_NEVER_USED_EDGE = Edge(at_start=True)
"""Stands for a constraint in a tree that is not handed out."""
_HEXADECIMAL = {
    "x": re.compile(r"[0-9A-Fa-f]{1,255}"),
    "u": re.compile(r"[0-9A-Fa-f]{4}"),
    "U": re.compile(r"[0-9A-Fa-f]{8}"),
}
_OCTAL = re.compile(r"[0-7]{1,3}")
_COLLATING = re.compile(r"\[([.=])(.)\1\]", re.DOTALL)
_CLASS = re.compile(r"\[:([^\]]*?):\]")
_QUANTIFIERS: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}


def parse(expression: str) -> Node:
    """The tree of an expression, whose characters stand for bytes (Latin-1).

    InvalidExpressionError where PostgreSQL refuses it, UnsureExpressionError where only PostgreSQL knows its meaning.
    """
    return _Parser(expression).parse()


class _Parser:
    """One expression; `_at` is how far it has been read."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._groups = 0
        self._depth = 0
        self._looking_around = 0
        self._closed: set[int] = set()
        """Groups that a back reference may name."""
        self._ignore_case = False
        self._unsure: str | None = None

    def parse(self) -> Node:
        self._read_options()
        tree = self._choice()
        if self._at < len(self._text):
            _invalid("there is a ) without its (")
        if self._unsure is not None:
            _unsure(self._unsure)
        return tree

    def _doubt(self, what: str) -> None:
        """Note the first thing that is not sure."""
        self._unsure = self._unsure or what

    def _read_options(self) -> None:
        """(?i) and its like at the very beginning; of contradicting letters the last counts."""
        if self._text.startswith("***"):
            _unsure("it begins with ***")
        found = _OPTIONS.match(self._text)
        if found is None:
            return
        letters = set(found[1])
        if not letters <= _KNOWN_OPTIONS or not found[2]:
            _invalid(f'its options "{found[1]}" are none')
        if not letters <= _READABLE_OPTIONS:
            _unsure(f'the options "{found[1]}"')
        if not letters <= _SURE_OPTIONS:
            self._doubt(f'the options "{found[1]}"')
        self._ignore_case = found[1].rfind("i") > found[1].rfind("c")
        self._at = found.end()

    def _peek(self) -> str:
        """The next character; empty at the end."""
        return self._text[self._at : self._at + 1]

    def _take(self, text: str) -> bool:
        found = self._text.startswith(text, self._at)
        self._at += len(text) * found
        return found

    def _choice(self) -> Node:
        branches = [self._branch()]
        while self._take("|"):
            branches.append(self._branch())
        return branches[0] if len(branches) == 1 else Choice(tuple(branches))

    def _branch(self) -> Node:
        parts: list[Node] = []
        while self._peek() not in {"", "|", ")"}:
            parts.append(self._quantified())
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _quantified(self) -> Node:
        atom = self._atom()
        if isinstance(atom, Edge):  # of a quantifier that follows _atom says that it has nothing to repeat
            return atom
        if (bounds := _QUANTIFIERS.get(self._peek())) is not None:
            self._at += 1
            return Repeat(atom, *bounds, greedy=not self._take("?"))
        if self._at_bound():
            return self._bounded(atom)
        return atom

    def _at_bound(self) -> bool:
        """A { that no digit follows is itself."""
        return self._peek() == "{" and self._text[self._at + 1 : self._at + 2].isdecimal()

    def _bounded(self, atom: Node) -> Node:
        found = _BOUND.match(self._text, self._at)
        if found is None:
            _invalid("a bound is no {m}, {m,} or {m,n}")
        self._at = found.end()
        low = int(found[1])
        high = low if found[2] is None else int(found[3]) if found[3] else None
        if low > MAX_BOUND or (high is not None and not low <= high <= MAX_BOUND):
            _invalid(f"a bound must be 0 to {MAX_BOUND} and not fall")
        # {m} takes its operand's preference, which may be either
        return Repeat(atom, low, high, greedy=not found[4])

    def _atom(self) -> Node:
        if self._at_bound() or self._peek() in _QUANTIFIERS:
            _invalid("a quantifier has nothing to repeat")
        char = self._peek()
        self._at += 1
        match char:
            case "^" | "$":
                return Edge(char == "^")
            case ".":
                return OneByte(ALL_BYTES)
            case "(":
                return self._parenthesis()
            case "[":
                return self._bracket()
            case "\\":
                return self._escape()
            case _:
                return self._one(1 << ord(char))

    def _one(self, among: int) -> OneByte:
        return OneByte(fold(among) if self._ignore_case else among)

    def _parenthesis(self) -> Node:
        number = 0
        ahead = _LOOKAROUND.match(self._text, self._at)
        if ahead is not None:
            self._doubt("lookaround")
            self._at = ahead.end()
        elif self._text.startswith("?#", self._at):
            _unsure("a comment")
        elif not self._take("?"):
            self._groups += not self._looking_around
            number = self._groups * (not self._looking_around)
        elif not self._take(":"):
            _invalid("(? is followed by nothing that it could begin")
        self._looking_around += ahead is not None
        inner = self._nested()
        self._looking_around -= ahead is not None
        if ahead is not None:
            return _NEVER_USED_EDGE
        self._closed.add(number)
        if number:
            return Group(inner, number)
        # a constraint in parentheses may be repeated, a bare one not
        return Sequence((inner,)) if isinstance(inner, Edge) else inner

    def _nested(self) -> Node:
        """What is in parentheses."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            _unsure(f"parentheses more than {MAX_DEPTH} deep")
        inner = self._choice()
        self._depth -= 1
        if not self._take(")"):
            _invalid("a ( is not closed")
        return inner

    def _escape(self) -> Node:
        char = self._peek()
        if char in {"A", "Z"}:
            self._at += 1
            return Edge(char == "A")
        if char in {"m", "M", "y", "Y"}:
            self._at += 1
            self._doubt(f"the word boundary \\{char}")
            return _NEVER_USED_EDGE
        if char in CLASS_ESCAPES:
            self._at += 1
            return OneByte(CLASS_ESCAPES[char])
        if (found := _BACK_REFERENCE.match(self._text, self._at)) is not None:
            return self._back_reference(found[0])
        return self._one(1 << self._escaped_byte())

    def _back_reference(self, digits: str) -> Node:
        """One digit always is one; several are an octal number where there is no such group."""
        if len(digits) > 1 and int(digits) > self._groups:
            return self._one(1 << self._octal())
        if self._looking_around or int(digits) not in self._closed:
            _invalid(f"there is no group {digits} to refer to")
        self._doubt("a back reference")
        self._at += len(digits)
        return Sequence(())

    def _escaped_byte(self) -> int:
        """The byte that an escape stands for, the backslash being read."""
        char = self._peek()
        self._at += 1
        if char == "":
            _invalid("it ends with a backslash")
        if char in CHARACTER_ESCAPES:
            return CHARACTER_ESCAPES[char]
        if char == "c":
            return self._control()
        if (length := _HEXADECIMAL.get(char)) is not None:
            return self._hexadecimal(length)
        if char.isascii() and char.isdecimal():
            self._at -= 1
            return self._octal()
        if char.isascii() and char.isalnum():
            _invalid(f"there is no escape \\{char}")
        return ord(char)

    def _control(self) -> int:
        char = self._peek()
        if char == "":
            _invalid("it ends within an escape")
        self._at += 1
        return ord(char) & 0x1F

    def _hexadecimal(self, digits: re.Pattern[str]) -> int:
        found = digits.match(self._text, self._at)
        if found is None:
            _invalid("an escape lacks hexadecimal digits")
        self._at = found.end()
        value = int(found[0], 16)
        if value >= MAX_CHARACTER:
            _unsure("a character beyond all others")
        if value > MAX_BYTE:
            self._doubt("a character that is no byte")
        return min(value, MAX_BYTE)

    def _octal(self) -> int:
        found = _OCTAL.match(self._text, self._at)
        if found is None:
            _invalid("an escape is neither a group nor an octal number")
        digits = found[0] if int(found[0], 8) <= MAX_BYTE else found[0][:2]
        self._at += len(digits)
        return int(digits, 8)

    def _bracket(self) -> Node:
        if self._take("[:<:]]") or self._take("[:>:]]"):
            self._doubt("a word boundary")
            return _NEVER_USED_EDGE
        negated = self._take("^")
        among = 0
        first = True
        while first or not self._take("]"):
            among |= self._bracket_item(first=first)
            first = False
        among = fold(among) if self._ignore_case else among
        return OneByte(ALL_BYTES & ~among if negated else among)

    def _bracket_item(self, *, first: bool) -> int:
        """A class, a character or a range."""
        if self._text.startswith("[:", self._at):
            return self._named_class()
        if self._peek() == "\\" and (among := CLASS_ESCAPES.get(self._text[self._at + 1 : self._at + 2])):
            self._at += 2
            self._refuse_range()
            return among
        if self._peek() == "-" and not first and self._text[self._at + 1 : self._at + 2] != "]":
            _invalid("a range has no beginning")
        low = self._bracket_byte()
        if self._peek() != "-" or self._text[self._at + 1 : self._at + 2] in {"]", ""}:
            return 1 << low
        self._at += 1
        if self._text.startswith("[:", self._at) or (
            self._peek() == "\\" and self._text[self._at + 1 : self._at + 2] in CLASS_ESCAPES
        ):
            _invalid("a range ends with a class")
        high = self._bracket_byte()
        if low > high:
            _invalid("a range falls")
        self._refuse_range()
        return (1 << high + 1) - (1 << low)

    def _bracket_byte(self) -> int:
        if (found := _COLLATING.match(self._text, self._at)) is not None:
            self._doubt("a collating element")
            self._at = found.end()
            return ord(found[2])
        if self._text.startswith(("[.", "[="), self._at):
            _unsure("a collating element")
        char = self._peek()
        self._at += 1
        if char == "":
            _invalid("a [ is not closed")
        if char != "\\":
            return ord(char)
        found = _BACK_REFERENCE.match(self._text, self._at)
        is_group = found is not None and (len(found[0]) == 1 or int(found[0]) <= self._groups)
        if is_group or (self._peek() and self._peek() in "AZmMyY"):
            _invalid(f"\\{self._peek()} stands in brackets")
        return self._escaped_byte()

    def _refuse_range(self) -> None:
        """What was a class or a range already cannot begin one."""
        if self._peek() == "-" and self._text[self._at + 1 : self._at + 2] != "]":
            _invalid("a range begins with a class or a range")

    def _named_class(self) -> int:
        found = _CLASS.match(self._text, self._at)
        name = found[1] if found is not None else ""
        if found is None or name not in CLASSES:
            _invalid("a [: is followed by no class")
        self._at = found.end()
        self._refuse_range()
        if self._ignore_case and name in {"lower", "upper"}:
            return CLASSES["alpha"]
        return CLASSES[name]


def _invalid(why: str) -> NoReturn:
    raise InvalidExpressionError(why)


def _unsure(what: str) -> NoReturn:
    raise UnsureExpressionError(what)
