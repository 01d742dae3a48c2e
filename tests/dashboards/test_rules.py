from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.dashboards.fix_promql import (
    ROOT,
    RULE_TESTS,
    RULES,
    RUNBOOKS,
    alerts,
    complaints,
    known_to_rules,
    labels_by_series,
    program,
    recordings,
    rules,
)

ALERTS = alerts()
TIMEOUT_SECONDS = 120


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)


@pytest.fixture(scope="module")
def promtool() -> str:
    return program("promtool")


def test_promtool_accepts_the_rules(promtool: str) -> None:
    done = run(promtool, "check", "rules", "--lint=all", "--lint-fatal", str(RULES))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules())} rules found" in done.stdout


@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.stem)
def test_promtool_passes_the_tests_of_the_rules(promtool: str, path: Path) -> None:
    done = run(promtool, "test", "rules", str(path))
    assert done.returncode == 0, done.stdout + done.stderr


def cases(alert: str, *, firing: bool) -> list[dict[str, Any]]:
    """The cases of promtool that expect this alert, or its silence, each reduced to that."""
    found = []
    for path in RULE_TESTS:
        for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]:
            wanted = [
                rule
                for rule in test["alert_rule_test"]
                if rule["alertname"] == alert and bool(rule["exp_alerts"]) is firing
            ]
            if wanted:
                found.append(
                    {key: test[key] for key in ("name", "interval", "input_series")} | {"alert_rule_test": wanted}
                )
    return found


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_a_case_in_which_it_fires(alert: str) -> None:
    assert any(case["name"].startswith(f"{alert} fires ") for case in cases(alert, firing=True))


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_a_case_in_which_it_stays_silent(alert: str) -> None:
    assert any(case["name"].startswith(f"{alert} stays silent ") for case in cases(alert, firing=False))


def verdicts_on_broken_rules(promtool: str, directory: Path, *, expr: str, firing: bool) -> dict[str, bool]:
    """Whether each alert's own cases still pass when every alert has this expression."""
    document = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    for group in document["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                rule["expr"] = expr
                rule.pop("for", None)
    (directory / "broken.yml").write_text(yaml.safe_dump(document), encoding="utf-8")
    paths = []
    for alert in ALERTS:
        tests = {"rule_files": ["broken.yml"], "evaluation_interval": "1m", "tests": cases(alert, firing=firing)}
        paths.append(directory / f"{alert}.yml")
        paths[-1].write_text(yaml.safe_dump(tests), encoding="utf-8")
    done = run(promtool, "test", "rules", *map(str, paths))
    pieces = re.split(r"^Unit Testing:\s+\S+/(\w+)\.yml$", done.stdout + done.stderr, flags=re.MULTILINE)
    outputs = dict(zip(pieces[1::2], pieces[2::2], strict=True))
    assert set(outputs) == set(ALERTS), done.stdout + done.stderr
    return {alert: "SUCCESS" in output for alert, output in outputs.items()}


def test_no_firing_case_passes_with_an_alert_that_never_fires(promtool: str, tmp_path: Path) -> None:
    passed = verdicts_on_broken_rules(promtool, tmp_path, expr="vector(1) > 1", firing=True)
    assert passed == dict.fromkeys(ALERTS, False)


def test_no_silent_case_passes_with_an_alert_that_always_fires(promtool: str, tmp_path: Path) -> None:
    passed = verdicts_on_broken_rules(promtool, tmp_path, expr="vector(1)", firing=False)
    assert passed == dict.fromkeys(ALERTS, False)


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_says_how_bad_what_and_where_to_read_on(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"] in ({"severity": "critical"}, {"severity": "warning"})
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert all(rule["annotations"].values())


def anchors() -> set[str]:
    """The anchors that a heading gets: lower case, spaces to hyphens, all but letters, digits, _ and - removed."""
    headings = re.findall(r"^#+ (.+)$", RUNBOOKS.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-")) for heading in headings}


@pytest.mark.parametrize("alert", ALERTS)
def test_every_runbook_exists(alert: str) -> None:
    url = ALERTS[alert]["annotations"]["runbook_url"]
    path, _, anchor = url.partition("#")
    assert path == RUNBOOKS.name
    assert anchor == alert.lower()
    assert anchor in anchors()


def test_every_runbook_is_that_of_an_alert() -> None:
    assert anchors() - {"runbooks"} == {alert.lower() for alert in ALERTS}


def test_links_within_the_runbooks_lead_somewhere() -> None:
    links = re.findall(r"\]\(#([^)]+)\)", RUNBOOKS.read_text(encoding="utf-8"))
    assert links
    assert set(links) <= anchors()


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_is_in_the_documentation_with_its_severity(alert: str) -> None:
    text = (ROOT / "docs/alerting.md").read_text(encoding="utf-8")
    assert f"| {alert} | {ALERTS[alert]['labels']['severity']} |" in text


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_rules_use_only_what_the_daemon_exports(rule: dict[str, Any]) -> None:
    assert complaints(rule["expr"], known_to_rules()) == []


@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.stem)
def test_cases_feed_only_what_the_daemon_exports(path: Path) -> None:
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    known = labels_by_series()
    for test in document["tests"]:
        for fed in test["input_series"]:
            assert complaints(fed["series"], known) == [], test["name"]


@pytest.mark.parametrize("record", recordings())
def test_a_recording_has_the_labels_that_its_name_says(record: str) -> None:
    grouped = re.findall(r"by \(([^)]*)\)", recordings()[record]["expr"])
    assert {"_".join(label.strip() for label in labels.split(",")) for labels in grouped} == {
        record.split(":", maxsplit=1)[0]
    }


@pytest.mark.parametrize("alert", ALERTS)
def test_no_alert_counts_discoveries_as_failures(alert: str) -> None:
    expr = ALERTS[alert]["expr"]
    if "pgoauthd_login_attempts_total" in expr:
        assert 'result="refused"' in expr or "reason=~" in expr
        assert "discovery" not in expr


@pytest.mark.parametrize(
    ("expr", "complaint"),
    [
        ("rate(pgoauthd_logins_total[5m])", "no metric pgoauthd_logins_total"),
        ('pgoauthd_log_lag_bytes{reason="expired"}', "pgoauthd_log_lag_bytes has no label reason"),
        ('pgoauthd_login_attempts_total{result="failed"}', "result is never failed"),
        ('pgoauthd_login_attempts_total{reason=~"expired|gone"}', "reason is never gone"),
        ("sum by (user) (pgoauthd_log_lag_bytes)", "nothing here has the label user"),
        ("no:such:recording > 0", "no metric no:such:recording"),
        ("pgoauthd_validation_duration_seconds", "no metric pgoauthd_validation_duration_seconds"),
    ],
)
def test_what_the_daemon_does_not_export_is_found(expr: str, complaint: str) -> None:
    assert complaint in complaints(expr, known_to_rules())
