"""Regular expressions that take time linear in their input, whatever they are: a login must not stall the daemon.

The only module that imports RE2 but for `mapping.pgregex`, whose expressions are PostgreSQL's. It knows nothing of what
is matched.
"""

from __future__ import annotations

import re

import re2  # type: ignore[import-untyped]

MAX_PROGRAM_BYTES = 1 << 20
"""Memory of one compiled expression; RE2 refuses those that need more."""

_IGNORES_CASE = re.compile(r"\(\?[A-Za-z]*i")
_HALF_CHARACTER = re.compile(r"(?<!\\)(?:\\\\)*\\C")


class LinearRegex:
    """A compiled expression in RE2's syntax: no lookaround, no backreferences; `.` is any character, line breaks too.

    Expressions of the same pattern are equal.
    """

    __slots__ = ("_compiled", "ignores_case", "pattern")

    def __init__(self, pattern: str) -> None:
        """Compile; ValueError with RE2's words where it cannot."""
        if _HALF_CHARACTER.search(pattern):
            raise ValueError(r"\C matches single bytes, and so pieces of characters: \C")
        options = re2.Options()
        options.log_errors = False
        options.max_mem = MAX_PROGRAM_BYTES
        options.dot_nl = True  # a line break must be no way around a rule that says .*
        try:
            self._compiled = re2.compile(pattern, options)
        except re2.error as error:
            raise ValueError(_words(error)) from None
        self.pattern = pattern
        self.ignores_case = _IGNORES_CASE.search(pattern) is not None
        """It has (?i), which by Unicode's case folding takes some other letters for ASCII ones, as U+212A for k."""

    @property
    def groups(self) -> int:
        """How many capturing groups it has."""
        return int(self._compiled.groups)

    def match_whole(self, text: str) -> tuple[str, ...] | None:
        """What the whole match and each group matched ("" where a group took no part), if all of `text` matches.

        UnicodeEncodeError for text with lone surrogates, which no JSON that was read strictly has.
        """
        found = self._compiled.fullmatch(text)
        return None if found is None else (found.group(0), *(group or "" for group in found.groups()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LinearRegex) and other.pattern == self.pattern

    def __hash__(self) -> int:
        return hash(self.pattern)

    def __repr__(self) -> str:
        return f"LinearRegex({self.pattern!r})"


def _words(error: Exception) -> str:
    said = error.args[0] if error.args else "cannot be compiled"
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
