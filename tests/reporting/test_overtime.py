"""Attempts by time, whatever the period turns out to be."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pgoauthd.reporting.overtime import MAX_KEPT, MAX_SHOWN, Clockwork

MINUTE, HOUR, DAY, WEEK = 60, 3_600, 86_400, 604_800
AT = datetime(2026, 11, 22, 1, 13, tzinfo=UTC).timestamp()


def counted(*moments: float) -> Clockwork:
    clock = Clockwork()
    for at in moments:
        clock.add(at, "refused")
    return clock


@pytest.mark.parametrize(
    ("period", "step"),
    [
        (0, MINUTE),
        (2 * HOUR, MINUTE),
        (12 * HOUR, 300),
        (DAY, 900),
        (WEEK, HOUR),
        (30 * DAY, 6 * HOUR),
        (180 * DAY, DAY),
        (1_000 * DAY, WEEK),
    ],
)
def test_the_step_suits_the_period(period: float, step: int) -> None:
    found, bars = counted(AT, AT + period).bars(AT, AT + period)
    assert found == step
    assert len(bars) <= MAX_SHOWN
    assert sum(sum(counts) for _, counts in bars) == 2


def test_empty_steps_are_there_too() -> None:
    _, bars = counted(AT, AT + 5 * MINUTE).bars(AT, AT + 5 * MINUTE)
    assert [sum(counts) for _, counts in bars] == [1, 0, 0, 0, 0, 1]


def test_steps_begin_at_round_moments_and_weeks_on_a_monday() -> None:
    for period in (HOUR, DAY, WEEK, 1_000 * DAY):
        step, ((start, _), *_) = counted(AT).bars(AT, AT + period)
        assert start % min(step, DAY) == 0
        assert start <= AT < start + step
        if step == WEEK:
            assert datetime.fromtimestamp(start, UTC).weekday() == 0


def test_any_number_of_moments_takes_bounded_memory_and_none_is_lost() -> None:
    moments = [number * 7 * HOUR for number in range(20_000)]
    clock = counted(*moments)
    assert len(clock._counts) <= MAX_KEPT  # noqa: SLF001 - the bound is the point
    _, bars = clock.bars(moments[0], moments[-1])
    assert sum(sum(counts) for _, counts in bars) == len(moments)


def test_whatever_the_step_was_before_each_moment_is_counted_in_its_own_step() -> None:
    moments = [AT + number * 11 * MINUTE for number in range(3 * MAX_KEPT)]
    step, bars = counted(*moments).bars(moments[0], moments[-1])
    for start, counts in bars:
        assert sum(counts) == sum(start <= at < start + step for at in moments)


def test_from_the_first_moment_to_the_last_there_is_a_step_that_fits() -> None:
    last = datetime(9998, 12, 31, tzinfo=UTC).timestamp()
    _, bars = counted(0, last).bars(0, last)
    assert len(bars) <= MAX_SHOWN
    assert sum(sum(counts) for _, counts in bars) == 2
