"""Regular expressions that take time linear in their input, whatever they are: a login must not stall the daemon.

The only module that imports RE2. It knows nothing of what is matched.
"""

from __future__ import annotations

import re2  # type: ignore[import-untyped]

MAX_PROGRAM_BYTES = 1 << 20
"""Memory of one compiled expression; RE2 refuses those that need more."""


class LinearRegex:
    """A compiled expression in RE2's syntax: no lookaround, no backreferences."""

    __slots__ = ("_compiled", "pattern")

    def __init__(self, pattern: str) -> None:
        """Compile; ValueError with RE2's words where it cannot."""
        options = re2.Options()
        options.log_errors = False
        options.max_mem = MAX_PROGRAM_BYTES
        try:
            self._compiled = re2.compile(pattern, options)
        except re2.error as error:
            raise ValueError(_words(error)) from None
        self.pattern = pattern

    @property
    def groups(self) -> int:
        """How many capturing groups it has."""
        return int(self._compiled.groups)

    def match_whole(self, text: str) -> tuple[str, ...] | None:
        """What the whole match and each group matched ("" where a group took no part), if all of `text` matches."""
        found = self._compiled.fullmatch(text)
        return None if found is None else (found.group(0), *(group or "" for group in found.groups()))

    def __repr__(self) -> str:
        return f"LinearRegex({self.pattern!r})"


def _words(error: Exception) -> str:
    said = error.args[0] if error.args else "cannot be compiled"
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
