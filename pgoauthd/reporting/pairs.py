"""Remembers which names have met, up to a limit for all of them together; never the names themselves."""

from __future__ import annotations

from enum import Enum, auto


class Meeting(Enum):
    """What is known of two names that meet."""

    FIRST = auto()
    AGAIN = auto()
    UNKNOWN = auto()
    """There is no room to remember it: they may have met before."""


class Pairs:
    """At most `limit` pairs, as hashes: of a million pairs two hashes are equal once in 30 million times."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._hashes: set[int] = set()

    def meet(self, one: str, other: str) -> Meeting:
        """Note that the two met."""
        hashed = hash((one, other))
        if hashed in self._hashes:
            return Meeting.AGAIN
        if len(self._hashes) >= self._limit:
            return Meeting.UNKNOWN
        self._hashes.add(hashed)
        return Meeting.FIRST
