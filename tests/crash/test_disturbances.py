"""The daemon stopped, suspended and reloaded between kills, with shims that give up early; and copies of its state."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.crash import fix_truth as truth
from tests.crash.fix_aftermath import Aftermath, continued, weathered
from tests.crash.fix_scrapes import Scrapes
from tests.crash.fix_storm import DISTURBANCES, Weather

SEED = 1201
COPIES = 2


@pytest.fixture(scope="module")
def aftermath(tmp_path_factory: pytest.TempPathFactory) -> Aftermath:
    weather = Weather(seed=SEED, deaths=DISTURBANCES, impatient=True, copies=COPIES)
    return asyncio.run(weathered(tmp_path_factory.mktemp("disturbed"), weather))


@pytest.fixture(scope="module", params=range(COPIES))
def continuation(request: pytest.FixtureRequest, aftermath: Aftermath) -> tuple[int, list[dict[str, Any]], Scrapes]:
    """Which copy, and what a daemon knows that went on from it."""
    return request.param, *asyncio.run(continued(aftermath, aftermath.copies[request.param]))


@pytest.mark.parametrize("fact", truth.FACTS)
def test_after_all_of_it(aftermath: Aftermath, fact: str) -> None:
    assert truth.FACTS[fact](aftermath) == []


def test_a_copy_of_the_state_at_any_moment_leads_to_the_same_outcomes(
    aftermath: Aftermath, continuation: tuple[int, list[dict[str, Any]], Scrapes]
) -> None:
    number, outcomes, _ = continuation
    assert truth.lost_from_copy(aftermath, aftermath.copies[number], outcomes) == []


def test_counters_of_a_copy_come_to_what_its_history_has(
    continuation: tuple[int, list[dict[str, Any]], Scrapes],
) -> None:
    _, outcomes, scrapes = continuation
    assert truth.counted_otherwise(outcomes, scrapes) == []
    assert truth.matched_otherwise(outcomes, scrapes) == []
