"""Metrics whose values survive the daemon: what is counted in them goes through a Ledger; never shows anything itself.

They are used as those of prometheus_client are: `metric.labels(…).inc()`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from pgoauthd.telemetry.ledger import Ledger, Series

INFINITE = "+Inf"


class KeptCounter:
    """A counter by its labels."""

    def __init__(self, name: str, ledger: Ledger) -> None:
        self.name = name
        self._ledger = ledger

    def labels(self, *values: str) -> CountedSeries:
        """One series of it."""
        return CountedSeries((self.name, values), self._ledger)


class CountedSeries:
    """A counter with its labels."""

    def __init__(self, series: Series, ledger: Ledger) -> None:
        self._series = series
        self._ledger = ledger

    def inc(self, amount: float = 1) -> None:
        """Count so many more, 0 or more."""
        if amount:
            self._ledger.add(self._series, amount)


class KeptGauge:
    """A gauge by its labels."""

    def __init__(self, name: str, ledger: Ledger) -> None:
        self._name = name
        self._ledger = ledger

    def put(self, value: float, *labels: str) -> None:
        """Set one series of it."""
        self._ledger.put((self._name, labels), value)


class KeptHistogram:
    """A histogram by its labels; each bucket is counted on its own, not together with those below it."""

    def __init__(self, name: str, labels: Sequence[str], buckets: Sequence[float], ledger: Ledger) -> None:
        """`buckets`: upper bounds, ascending, without the infinite one."""
        self.name = name
        self._labels = labels
        self._bounds = buckets
        self._names = (*map(str, buckets), INFINITE)
        self._ledger = ledger
        self._shown: dict[tuple[str, ...], list[float]] = {}
        """By labels: the counts of the buckets, then the sum."""

    @property
    def bucket_series(self) -> str:
        """The name of the entries of buckets, whose last label is the bucket."""
        return f"{self.name}_bucket"

    @property
    def sum_series(self) -> str:
        """The name of the entries of the sum."""
        return f"{self.name}_sum"

    def observe(self, value: float, *labels: str) -> None:
        """Count a value."""
        bucket = self._names[bisect_left(self._bounds, value)]
        self._ledger.add((self.bucket_series, (*labels, bucket)), 1)
        self._ledger.add((self.sum_series, labels), value)

    def declare(self, *labels: str) -> list[float]:
        """The series with these labels as it is shown, all 0 at first; ValueError for more labels, or fewer."""
        if len(labels) != len(self._labels):
            raise ValueError(f"{self.name} has {len(self._labels)} labels")
        return self._shown.setdefault(labels, [0.0] * (len(self._names) + 1))

    def show_bucket(self, labels: tuple[str, ...], amount: float) -> None:
        """Add to what is shown; a bucket that there is no more counts as the next larger one.

        ValueError for what is no bucket or no count.
        """
        if amount < 0:
            raise ValueError(f"{self.name}: a count is never negative")
        *others, bucket = labels
        self.declare(*others)[bisect_left(self._bounds, float(bucket))] += amount

    def show_sum(self, labels: tuple[str, ...], amount: float) -> None:
        """Add to what is shown."""
        self.declare(*labels)[-1] += amount

    def shown(self) -> list[tuple[tuple[str, ...], list[tuple[str, float]], float]]:
        """Of each series: labels, cumulative buckets, sum."""
        every = []
        for labels, (*counts, total) in self._shown.items():
            so_far = 0.0
            buckets = [(name, so_far := so_far + count) for name, count in zip(self._names, counts, strict=True)]
            every.append((labels, buckets, total))
        return every
