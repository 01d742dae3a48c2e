"""The page of faults against the tests of faults: number for number, name for name."""

from __future__ import annotations

import re
from pathlib import Path

from pgoauthd.telemetry.metrics import Metrics

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "faults.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (\d+) \| (.+) \| (.+) \| (.+) \| `(\w+)` \|$", PAGE, re.MULTILINE)
NUMBERS = range(1, 39)


def names_of_tests() -> list[str]:
    """The names of all tests of faults."""
    sources = (path.read_text(encoding="utf-8") for path in HERE.glob("test_*.py"))
    return sorted(
        name for source in sources for name in re.findall(r"^async def (test_fault_\w+)", source, re.MULTILINE)
    )


def test_every_fault_has_one_row_in_order() -> None:
    assert [int(number) for number, *_ in ROWS] == list(NUMBERS)


def test_every_fault_has_one_test_of_its_number() -> None:
    assert [int(name.split("_")[2]) for name in names_of_tests()] == list(NUMBERS)


def test_the_page_names_the_tests_as_they_are_called() -> None:
    assert [name for *_, name in ROWS] == names_of_tests()


def test_the_counters_on_the_page_are_those_of_the_daemon() -> None:
    named = set(re.findall(r"`(pgoauthd_\w+)`", PAGE))
    assert named
    assert named <= {declared.name for declared in Metrics().declarations}


def test_what_is_not_survived_yet_is_on_the_page() -> None:
    """Each reason of an expected failure is a sentence of the page."""
    sources = "".join(path.read_text(encoding="utf-8") for path in HERE.glob("test_*.py"))
    reasons = re.findall(r'xfail\(\s*reason="(.+?)"', sources)
    assert [reason for reason in reasons if reason not in PAGE] == []
