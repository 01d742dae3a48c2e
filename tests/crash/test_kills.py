"""The daemon under load, killed at twenty moments: nothing is lost, nothing is told twice, no counter falls."""

from __future__ import annotations

import asyncio
import signal
from random import Random

import pytest

from tests.crash import fix_truth as truth
from tests.crash.fix_aftermath import Aftermath, weathered
from tests.crash.fix_storm import KILLS, Weather

SEEDS = {"csvlog": 1101, "jsonlog": 1102, "stderr": 1103}
EACH = {"csvlog": 8, "jsonlog": 6, "stderr": 6}
"""Kills: twenty together."""


@pytest.fixture(scope="module", params=SEEDS)
def aftermath(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Aftermath:
    log_format = request.param
    chance = Random(SEEDS[log_format])  # noqa: S311 - a test's dice
    deaths = chance.sample(KILLS, EACH[log_format])
    weather = Weather(seed=SEEDS[log_format], log_format=log_format, deaths=deaths)
    return asyncio.run(weathered(tmp_path_factory.mktemp(log_format), weather))


def test_the_daemon_was_killed_as_often_as_intended_under_load(aftermath: Aftermath) -> None:
    assert aftermath.exits[-signal.SIGKILL] >= EACH[aftermath.weather.log_format] - 1
    assert any(it.reply is not None for it in aftermath.attempts)


def test_the_daemon_never_ended_on_its_own(aftermath: Aftermath) -> None:
    assert truth.ended_otherwise(aftermath) == []


def test_each_session_has_exactly_one_outcome(aftermath: Aftermath) -> None:
    assert truth.missing_or_repeated(aftermath.attempts, aftermath.outcomes) == []


def test_each_outcome_has_the_result_and_the_reason_of_its_login(aftermath: Aftermath) -> None:
    assert truth.wrongly_ended(aftermath.attempts, aftermath.outcomes) == []


def test_a_verdict_that_was_told_is_never_lost(aftermath: Aftermath) -> None:
    assert truth.verdicts_lost(aftermath.attempts, aftermath.outcomes) == []


def test_no_session_has_the_verdict_of_another(aftermath: Aftermath) -> None:
    assert truth.verdicts_of_others(aftermath.attempts, aftermath.outcomes) == []


def test_ids_ascend_and_do_not_come_again(aftermath: Aftermath) -> None:
    assert truth.out_of_order(aftermath.outcomes) == []


def test_the_outcome_file_has_each_outcome_of_the_history_once_and_in_its_order(aftermath: Aftermath) -> None:
    assert truth.told_otherwise(aftermath) == []


def test_login_attempts_are_counted_as_the_history_has_them(aftermath: Aftermath) -> None:
    assert truth.counted_otherwise(aftermath.outcomes, aftermath.scrapes) == []


def test_joined_outcomes_are_counted_once(aftermath: Aftermath) -> None:
    assert truth.matched_otherwise(aftermath.outcomes, aftermath.scrapes) == []


def test_logins_that_nobody_vouched_for_are_counted_once(aftermath: Aftermath) -> None:
    assert truth.unmatched_otherwise(aftermath) == []


def test_each_byte_of_the_logs_is_counted_once(aftermath: Aftermath) -> None:
    assert truth.bytes_read_otherwise(aftermath) == []


def test_no_line_is_counted_as_lost(aftermath: Aftermath) -> None:
    assert truth.lines_lost(aftermath) == []


def test_no_kept_counter_ever_falls(aftermath: Aftermath) -> None:
    assert aftermath.scrapes.falls == []


def test_counters_were_looked_at_all_the_time(aftermath: Aftermath) -> None:
    assert aftermath.scrapes.count > len(aftermath.weather.deaths)
