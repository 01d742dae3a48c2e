"""Counts attempts by time without knowing the period beforehand, in a bounded number of steps; keeps no moments."""

from __future__ import annotations

from collections.abc import Iterator

from pgoauthd.reporting.lines import Ended

STEPS = (60, 300, 900, 3_600, 21_600, 86_400, 604_800, 2_419_200)
"""Seconds, each a multiple of the one before. Beyond them a step is twice the one before."""
MAX_KEPT = 3_000
"""Steps with an outcome in them."""
MAX_SHOWN = 200
"""Bars: a week by hours, a month by quarters of a day."""
MONDAY = 345_600
"""1970-01-05: a step of a week begins on a Monday."""

RESULTS: tuple[Ended, ...] = ("success", "refused", "abandoned", "discovery")
"""The order of the counts of a step."""

_PLACES = {result: place for place, result in enumerate(RESULTS)}


class Clockwork:
    """Counts by step; the step grows whenever there are too many."""

    def __init__(self) -> None:
        self._step = STEPS[0]
        self._counts: dict[int, list[int]] = {}

    def add(self, at: float, result: Ended) -> None:
        """Count one outcome."""
        number = int((at - MONDAY) // self._step)
        counts = self._counts.get(number)
        if counts is None:
            counts = self._counts[number] = [0] * len(RESULTS)
            if len(self._counts) > MAX_KEPT:
                self._coarsen()
                self.add(at, result)
                return
        counts[_PLACES[result]] += 1

    def bars(self, first: float, last: float) -> tuple[int, list[tuple[int, list[int]]]]:
        """The step in seconds and (start, counts by RESULTS) of each step between the two moments, empty ones too."""
        step = _shown_step(self._step, first, last)
        by_number: dict[int, list[int]] = {}
        for number, counts in self._counts.items():
            _sum_up(by_number, number * self._step // step, counts)
        numbers = range(int((first - MONDAY) // step), int((last - MONDAY) // step) + 1)
        empty = [0] * len(RESULTS)
        return step, [(max(number * step + MONDAY, 0), by_number.get(number, empty)) for number in numbers]

    def _coarsen(self) -> None:
        step = next(step for step in _steps() if step > self._step)
        coarse: dict[int, list[int]] = {}
        for number, counts in self._counts.items():
            _sum_up(coarse, number * self._step // step, counts)
        self._step, self._counts = step, coarse


def _sum_up(sums: dict[int, list[int]], number: int, counts: list[int]) -> None:
    known = sums.setdefault(number, [0] * len(counts))
    for place, count in enumerate(counts):
        known[place] += count


def _shown_step(kept: int, first: float, last: float) -> int:
    return next(step for step in _steps() if step >= kept and (last - first) / step < MAX_SHOWN - 1)


def _steps() -> Iterator[int]:
    yield from STEPS
    step = STEPS[-1]
    while True:
        step *= 2
        yield step
