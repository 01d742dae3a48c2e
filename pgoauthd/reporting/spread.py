"""Percentiles of durations with bounded memory and a known error; never keeps single durations.

A duration goes to the step of a geometric scale in which it falls, so a percentile is known to half a step, 1 %
(Masson, Rim and Lee, "DDSketch", VLDB 2019).
"""

from __future__ import annotations

import math

from pgoauthd.reporting.values import Durations

ERROR = 0.01
SHORTEST, LONGEST = 1e-7, 1e6
"""Seconds; what is beyond counts as these: less than 1,500 steps."""

_GROWTH = (1 + ERROR) / (1 - ERROR)
_STEPS_PER_E = 1 / math.log(_GROWTH)


class Spread:
    """Durations by size."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._total = 0
        self._min = math.inf
        self._max = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration; what is negative or no number is none."""
        if not 0 <= seconds < math.inf:
            return
        clamped = seconds if SHORTEST < seconds < LONGEST else min(max(seconds, SHORTEST), LONGEST)
        step = math.ceil(math.log(clamped) * _STEPS_PER_E)
        self._counts[step] = self._counts.get(step, 0) + 1
        self._total += 1
        # without calls, each of which costs as much as the logarithm
        if seconds < self._min:  # noqa: PLR1730
            self._min = seconds
        if seconds > self._max:  # noqa: PLR1730
            self._max = seconds

    def durations(self) -> Durations | None:
        """The percentiles, None where nothing was counted."""
        if not self._total:
            return None
        return Durations(
            count=self._total,
            min=self._min,
            p50=self._percentile(50),
            p90=self._percentile(90),
            p95=self._percentile(95),
            p99=self._percentile(99),
            max=self._max,
        )

    def _percentile(self, percent: int) -> float:
        """The nearest-rank percentile, between the exact extremes."""
        rank = -(-self._total * percent // 100)
        seen = 0
        for step in sorted(self._counts):
            seen += self._counts[step]
            if seen >= rank:
                middle = 2 * _GROWTH**step / (_GROWTH + 1)
                return float(f"{min(max(middle, self._min), self._max):.4g}")
        return self._max
