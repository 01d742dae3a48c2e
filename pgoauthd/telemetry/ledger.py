"""Counts that are shown once they are saved: Ledger, between who counts and the exposition; saves nothing itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

Series = tuple[str, tuple[str, ...]]
"""A metric as it is declared, and the values of its labels, the cluster first."""


class Entries(NamedTuple):
    """What was counted, and what was set."""

    added: dict[Series, float]
    put: dict[Series, float]


class Ledger:
    """Gathers entries. They are shown at once, or, once they are held back, by whoever takes them and has saved them.

    What was shown is never taken back by a crash: after it, counting goes on from what was saved.
    """

    def __init__(self, show: Callable[[Entries], None]) -> None:
        self.show = show
        self._held = False
        self._waiting = Entries({}, {})

    def hold_back(self) -> None:
        """From now on somebody takes what is counted."""
        self._held = True

    def add(self, series: Series, amount: float) -> None:
        """Count."""
        if self._held:
            added = self._waiting.added
            added[series] = added.get(series, 0.0) + amount
        else:
            self.show(Entries({series: amount}, {}))

    def put(self, series: Series, value: float) -> None:
        """Set."""
        if self._held:
            self._waiting.put[series] = value
        else:
            self.show(Entries({}, {series: value}))

    def take(self) -> Entries:
        """What was held back since the last time; to be given to `show` once it is saved."""
        taken, self._waiting = self._waiting, Entries({}, {})
        return taken
