"""A text that must not be seen: shown, formatted, copied or pickled by mistake, it gives nothing away."""

from __future__ import annotations

from typing import NoReturn


class Redacted:
    """The base of what holds a token or a secret."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the code that must read or send it."""
        return self._text

    def __repr__(self) -> str:
        return f"<{type(self).__name__} redacted>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} is not written down")
