"""Moments as a person writes them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pgoauthd.commands.moments import parse_moment

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC).timestamp()
HOUR = 3_600


@pytest.mark.parametrize(
    ("text", "ago"),
    [("now", 0), ("0s", 0), ("90s", 90), ("30m", HOUR / 2), ("2h", 2 * HOUR), ("7d", 168 * HOUR), ("1w", 168 * HOUR)],
)
def test_a_length_of_time_counts_back_from_now(text: str, ago: float) -> None:
    assert parse_moment(text, NOW) == NOW - ago


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-22", NOW - 12 * HOUR),
        ("2026-11-22T08:30", NOW - 3.5 * HOUR),
        ("2026-11-22 08:30:00.5", NOW - 3.5 * HOUR + 0.5),
        ("2026-11-22T08:30:00Z", NOW - 3.5 * HOUR),
        ("2026-11-22T08:30:00+01:00", NOW - 4.5 * HOUR),
        (" 2026-11-22 ", NOW - 12 * HOUR),
    ],
)
def test_a_date_or_time_is_utc_unless_it_says_otherwise(text: str, moment: float) -> None:
    assert parse_moment(text, NOW) == moment


@pytest.mark.parametrize("text", ["999999999w", "0001-01-01", "0001-01-01T00:00:00+14:00", "1969-12-31"])
def test_no_moment_is_before_the_epoch(text: str) -> None:
    assert parse_moment(text, NOW) == 0


@pytest.mark.parametrize("text", ["", "7", "7 d", "-7d", "1.5h", "yesterday", "2026-13-01", "9999999999d", "\u0667d"])
def test_what_is_no_moment_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no moment; give how long ago \(30m, 2h, 7d\), a date"):
        parse_moment(text, NOW)
