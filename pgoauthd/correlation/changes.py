"""What has changed since the last save: Changes, never larger than what is open and what was saved; saves nothing."""

from __future__ import annotations

from collections.abc import Container
from typing import Generic, NamedTuple, TypeVar

K = TypeVar("K", str, int, str | int)


class Taken(NamedTuple, Generic[K]):
    """What a save is to do."""

    changed: list[K]
    gone: list[K]
    fresh: frozenset[K]
    """Those of `changed` that no save has had before: where this save fails, there is nothing of them to forget."""


class Changes(Generic[K]):
    """The keys to be saved or forgotten with the next save, in the order in which they changed.

    What came and went between two saves leaves no trace, so somebody who never saves keeps nothing here but what is
    open.
    """

    def __init__(self) -> None:
        self._saved: set[K] = set()
        """What the last save, and those before it, have left behind."""
        self._touched: dict[K, None] = {}

    def was_saved(self, key: K) -> None:
        """It is as the last run has saved it."""
        self._saved.add(key)

    def changed(self, key: K) -> None:
        """It is new, or another."""
        self._touched[key] = None

    def gone(self, key: K) -> None:
        """It is no more."""
        if key in self._saved:
            self._touched[key] = None
        else:
            self._touched.pop(key, None)

    def take(self, there: Container[K]) -> Taken[K]:
        """What is to be saved of what is `there`, and what is to be forgotten; nothing is left to be taken."""
        changed: list[K] = []
        gone: list[K] = []
        for key in self._touched:
            (changed if key in there else gone).append(key)
        fresh = frozenset(key for key in changed if key not in self._saved)
        self._saved.update(changed)
        self._saved.difference_update(gone)
        self._touched.clear()
        return Taken(changed, gone, fresh)
