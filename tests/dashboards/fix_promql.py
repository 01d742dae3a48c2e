"""What a PromQL expression names: metrics, their matchers, and the labels of its aggregations."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from pgoauthd.correlation.mapped import Agreement
from pgoauthd.correlation.outcome import Result, Unmatched
from pgoauthd.logs.readers import LogFormat
from pgoauthd.telemetry import metrics
from pgoauthd.telemetry.metrics import Metrics
from pgoauthd.tokens.reasons import Reason, Stage

ROOT = Path(__file__).parents[2]
RULES = ROOT / "dashboards/rules/pgoauthd.rules.yml"
RULE_TESTS = sorted((ROOT / "dashboards/rules/tests").glob("*.yml"))
RUNBOOKS = ROOT / "dashboards/runbooks.md"
DASHBOARD = ROOT / "dashboards/pgoauthd-overview.json"

SCRAPE_LABELS = frozenset({"job", "instance"})
CLOSED_SETS: dict[str, frozenset[str]] = {
    "result": frozenset(Result) | {"hit", "miss", *metrics.CACHE_RESULTS, *Agreement},
    "stage": frozenset(Stage),
    "reason": frozenset(Reason),
    "method": frozenset(metrics.METHODS),
    "kind": frozenset(Unmatched) | frozenset(metrics.SHED_KINDS),
    "outcome": frozenset(metrics.FETCH_OUTCOMES) | {"sent", "failed", *metrics.RELOAD_OUTCOMES},
    "change": frozenset(metrics.KEY_CHANGES),
    "endpoint": frozenset(metrics.ENDPOINTS),
    "format": frozenset(LogFormat),
}


def labels_by_series() -> dict[str, frozenset[str]]:
    """Every series name that a scrape of the daemon brings, with its labels."""
    found = {"up": SCRAPE_LABELS}
    for declared in Metrics().declarations:
        labels = SCRAPE_LABELS | frozenset(declared.labels)
        if declared.kind == "histogram":
            found |= {f"{declared.name}{end}": labels for end in ("_sum", "_count")}
            found[f"{declared.name}_bucket"] = labels | {"le"}
        else:
            found[declared.name] = labels
    return found


@dataclass(frozen=True, slots=True)
class Selector:
    name: str
    matchers: tuple[tuple[str, str, str], ...]


def selectors(expr: str) -> Iterator[Selector]:
    for found in re.finditer(r"([A-Za-z_:][\w:]*)\s*(\{[^}]*\})?", re.sub(r'"[^"]*"', _masked, expr)):
        if found[1].startswith(("pgoauthd_", "up")) or ":" in found[1]:
            original = expr[found.start(2) : found.end(2)] if found[2] else ""
            yield Selector(found[1], tuple(re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"', original)))


def _masked(text: re.Match[str]) -> str:
    """A string of the same length that holds no name."""
    return '"' + "." * (len(text[0]) - 2) + '"'


def grouping_labels(expr: str) -> set[str]:
    found = re.findall(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)", expr)
    return {label.strip() for labels in found for label in labels.split(",") if label.strip()}


def complaints(expr: str, known: dict[str, frozenset[str]]) -> list[str]:
    """What in an expression no scrape and no recording could provide."""
    found, available = [], set[str]()
    for selector in selectors(expr):
        if selector.name not in known:
            found.append(f"no metric {selector.name}")
            continue
        available |= known[selector.name]
        for label, _, value in selector.matchers:
            if label not in known[selector.name]:
                found.append(f"{selector.name} has no label {label}")
            if label in CLOSED_SETS and not value.startswith("$"):
                found += [f"{label} is never {one}" for one in value.split("|") if one not in CLOSED_SETS[label]]
    found += [f"nothing here has the label {label}" for label in sorted(grouping_labels(expr) - available)]
    return found


def rules() -> list[dict[str, Any]]:
    document = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def recordings() -> dict[str, dict[str, Any]]:
    return {rule["record"]: rule for rule in rules() if "record" in rule}


def known_to_rules() -> dict[str, frozenset[str]]:
    """Scraped series, and the recorded ones with the labels that their names promise."""
    return labels_by_series() | {name: frozenset(name.partition(":")[0].split("_")) for name in recordings()}


def program(name: str) -> str:
    """A program of Debian's package prometheus; without it the test is skipped, and in CI it fails."""
    if (path := shutil.which(name)) is not None:
        return path
    lacking = f"NOT TESTED with a real {name}: apt-get install --no-install-recommends prometheus"
    if os.environ.get("CI", "").lower() == "true" and shutil.which("apt-get"):
        pytest.fail(lacking)
    pytest.skip(lacking)
