"""The server's timestamps as seconds since the epoch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest

from pgoauthd.logs.times import Timestamps

BERLIN = ZoneInfo("Europe/Berlin")


def seconds(text: str, zone: tzinfo = UTC) -> float:
    return Timestamps(zone).read(text)


def utc(*moment: int) -> float:
    return datetime(*moment, tzinfo=UTC).timestamp()  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("2026-11-22 01:11:56.039 UTC", UTC, utc(2026, 11, 22, 1, 11, 56, 39_000)),
        ("2026-11-22 01:11:56.039 UTC", BERLIN, utc(2026, 11, 22, 1, 11, 56, 39_000)),
        ("2026-11-22 01:11:56.039 GMT", BERLIN, utc(2026, 11, 22, 1, 11, 56, 39_000)),
        ("2026-11-22 01:11:56.000 CET", BERLIN, utc(2026, 11, 22, 0, 11, 56)),
        ("2026-07-22 01:11:56.000 CEST", BERLIN, utc(2026, 7, 21, 23, 11, 56)),
        ("2026-11-22 01:11:56.000 IST", ZoneInfo("Asia/Kolkata"), utc(2026, 11, 21, 19, 41, 56)),
        ("2026-11-22 01:11:56.000 +03", BERLIN, utc(2026, 11, 21, 22, 11, 56)),
        ("2026-11-22 01:11:56.000 -0330", BERLIN, utc(2026, 11, 22, 4, 41, 56)),
        ("2026-11-22 01:11:56.000 +05:45", BERLIN, utc(2026, 11, 21, 19, 26, 56)),
        ("1969-12-31 23:59:59.500 UTC", UTC, -0.5),
    ],
)
def test_a_timestamp_is_read_in_its_zone(text: str, zone: tzinfo, expected: float) -> None:
    assert seconds(text, zone) == expected


def test_the_hour_that_comes_twice_is_told_apart_by_the_abbreviation() -> None:
    timestamps = Timestamps(BERLIN)
    summer = timestamps.read("2026-10-25 02:30:00.000 CEST")
    winter = timestamps.read("2026-10-25 02:30:00.000 CET")
    assert (summer, winter) == (utc(2026, 10, 25, 0, 30), utc(2026, 10, 25, 1, 30))
    assert timestamps.read("2026-10-25 02:30:00.000 CEST") == summer


def test_one_abbreviation_after_the_other_is_read_as_if_alone() -> None:
    timestamps = Timestamps(BERLIN)
    texts = [f"2026-11-22 01:11:56.{milli} {zone}" for zone in ("CET", "UTC", "+03", "CET") for milli in ("039", "500")]
    assert [timestamps.read(text) for text in texts] == [seconds(text, BERLIN) for text in texts]


def test_milliseconds_are_exact_decimals() -> None:
    base = int(utc(2026, 11, 22, 1, 11, 56))
    for milliseconds in range(1000):
        assert seconds(f"2026-11-22 01:11:56.{milliseconds:03} UTC") == float(f"{base}.{milliseconds:03}")


def test_a_timestamp_without_milliseconds_is_read() -> None:
    assert Timestamps(UTC).read_second("2026-11-22 01:11:56 UTC") == utc(2026, 11, 22, 1, 11, 56)


def test_ten_thousand_seconds_are_read_and_read_again() -> None:
    timestamps = Timestamps(UTC)
    start = datetime(2026, 11, 22, tzinfo=UTC)
    for _ in range(2):
        for number in range(10_000):
            moment = start + timedelta(seconds=number)
            assert timestamps.read(f"{moment:%Y-%m-%d %H:%M:%S}.000 UTC") == moment.timestamp()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-11-22",
        "2026-11-22 01:11:56",
        "2026-11-22 01:11:56.abc UTC",
        "2026-11-31 01:11:56.000 UTC",
        "2026-11-22 24:11:56.000 UTC",
        "2026-11-22 01:11:61.000 UTC",
    ],
)
def test_what_is_no_timestamp_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        seconds(text)
