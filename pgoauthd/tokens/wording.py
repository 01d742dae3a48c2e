"""How a value from outside appears in a sentence: short, printable and in quotes, or only described; never decides."""

from __future__ import annotations

from collections.abc import Collection

SHOWN_CHARACTERS = 100
SHOWN_VALUES = 5


def quoted(value: str) -> str:
    """The value in quotes if it is short and printable, else how long it is."""
    if len(value) <= SHOWN_CHARACTERS and value.isprintable():
        return repr(value)
    return f"(a value of {len(value)} characters, not shown)"


def listed(values: Collection[str]) -> str:
    """The first values in quotes, and how many more there are; "nothing" for none."""
    shown = ", ".join(quoted(value) for value in list(values)[:SHOWN_VALUES])
    more = len(values) - SHOWN_VALUES
    return f"{shown} and {more} more" if more > 0 else shown or "nothing"


def kind(value: object) -> str:
    """What a JSON value is, in JSON's words and without its content."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case str():
            return "a string"
        case int() | float():
            return "a number"
        case list():
            return "an array"
        case _:
            return "an object"
