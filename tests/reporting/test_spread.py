"""Percentiles within one percent."""

from __future__ import annotations

import math
import random

import pytest

from pgoauthd.reporting.spread import Spread


@pytest.mark.parametrize("seed", range(5))
def test_percentiles_are_within_a_percent_of_the_true_ones(seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - a test
    durations = sorted(dice.lognormvariate(-6, 2) for _ in range(dice.randrange(1, 3_000)))
    spread = Spread()
    for seconds in durations:
        spread.add(seconds)
    found = spread.durations()
    assert found is not None
    assert (found.count, found.min, found.max) == (len(durations), durations[0], durations[-1])
    for percent in (50, 90, 95, 99):
        true = durations[math.ceil(len(durations) * percent / 100) - 1]
        assert getattr(found, f"p{percent}") == pytest.approx(true, rel=0.0105)


def test_one_duration_is_every_percentile() -> None:
    spread = Spread()
    spread.add(0.25)
    found = spread.durations()
    assert found is not None
    assert {found.min, found.p50, found.p90, found.p95, found.p99, found.max} == {0.25}


@pytest.mark.parametrize("none", [-1.0, math.inf, math.nan])
def test_what_is_no_duration_is_not_counted(none: float) -> None:
    spread = Spread()
    spread.add(none)
    assert spread.durations() is None


def test_the_shortest_and_the_longest_take_no_more_memory() -> None:
    spread = Spread()
    for power in range(-300, 300):
        spread.add(10.0**power)
    spread.add(0.0)
    assert len(spread._counts) < 50  # noqa: SLF001 - the bound is the point
    found = spread.durations()
    assert found is not None
    assert (found.min, found.max) == (0.0, 1e299)
