from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from pgoauthd.correlation import alert_json
from pgoauthd.correlation.alerts import Alerts, Policy
from pgoauthd.telemetry import reference
from pgoauthd.telemetry.metrics import Declaration, Metrics
from pgoauthd.tokens.reasons import Reason
from tests.fix_outcomes import AT, outcome

ROOT = Path(__file__).parents[2]
REMEDY = "run `python -m pgoauthd.telemetry.reference`"
METRICS = Metrics().declarations


def test_the_documentation_of_reasons_is_current() -> None:
    assert (ROOT / "docs/reasons.md").read_text(encoding="utf-8") == reference.render_reasons(), REMEDY


def test_the_documentation_of_metrics_is_current() -> None:
    assert (ROOT / "docs/metrics.md").read_text(encoding="utf-8") == reference.render_metrics(ROOT), REMEDY


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_documented_once_under_its_stage(reason: Reason) -> None:
    section = re.search(rf"^## {reason.stage}$(.*?)(?=^## |\Z)", reference.render_reasons(), re.MULTILINE | re.DOTALL)
    assert section is not None
    (row,) = [line for line in section[1].splitlines() if line.startswith(f"| `{reason}` |")]
    assert row.count(" | ") == 3
    assert reason.sentence in row
    assert reason.remedy in row


@pytest.mark.parametrize("declared", METRICS, ids=lambda declared: declared.name)
def test_every_metric_has_a_panel_or_an_alert(declared: Declaration) -> None:
    (row,) = [line for line in reference.render_metrics(ROOT).splitlines() if line.startswith(f"| `{declared.name}` |")]
    assert row.split(" | ")[-1] != "nothing |"


@pytest.mark.parametrize("label", sorted({label for declared in METRICS for label in declared.labels}))
def test_every_label_is_documented(label: str) -> None:
    assert f"| `{label}`" in reference.render_metrics(ROOT).partition("## Labels")[2]


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("pgoauthd_log_read_bytes_total", "bytes"),
        ("pgoauthd_last_success_timestamp_seconds", "seconds since the epoch"),
        ("pgoauthd_validation_duration_seconds", "seconds"),
        ("pgoauthd_build_info", "always 1"),
        ("pgoauthd_validations_total", "count"),
    ],
)
def test_the_unit_is_the_one_in_the_name(name: str, unit: str) -> None:
    (declared,) = [declared for declared in METRICS if declared.name == name]
    assert reference.unit(declared) == unit


def test_the_webhook_document_in_the_documentation_has_the_members_of_a_real_one() -> None:
    text = (ROOT / "docs/alerting.md").read_text(encoding="utf-8")
    (written,) = re.findall(r"^```json$(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    alerts = Alerts(Policy(reasons=frozenset({Reason.USERMAP_NO_MATCH})))
    alerts.add(outcome(), AT)
    assert members(json.loads(written)) == members(json.loads(alert_json.webhook(alerts.due(AT))))


def members(value: Any) -> Any:  # noqa: ANN401 - JSON
    """The document with its types in place of its values."""
    if isinstance(value, dict):
        return {name: members(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [members(inner) for inner in value]
    return type(value)


def checkout(tmp_path: Path, rules: str) -> Path:
    (tmp_path / "dashboards/rules").mkdir(parents=True)
    (tmp_path / reference.RULES).write_text(rules, encoding="utf-8")
    (tmp_path / "dashboards/one.json").write_text(
        json.dumps({"panels": [{"title": "Lag", "targets": [{"expr": "pgoauthd_log_lag_bytes"}]}, {"title": "Row"}]}),
        encoding="utf-8",
    )
    return tmp_path


def used_by(root: Path, name: str) -> str:
    (row,) = [line for line in reference.render_metrics(root).splitlines() if line.startswith(f"| `{name}` |")]
    return row.split(" | ")[-1].removesuffix(" |")


def test_an_alert_on_a_recording_uses_the_metrics_of_that_recording(tmp_path: Path) -> None:
    root = checkout(
        tmp_path,
        "groups:\n  - rules:\n"
        "      - record: a:b:c\n        expr: pgoauthd_validations_total\n"
        "      - alert: Ours\n        expr: a:b:c > 0\n"
        "      - alert: Other\n        expr: pgoauthd_log_lag_bytes > 0\n",
    )
    assert used_by(root, "pgoauthd_validations_total") == "alert Ours"
    assert used_by(root, "pgoauthd_log_lag_bytes") == "alert Other; panel Lag"


def test_a_metric_whose_name_begins_like_another_is_not_taken_for_it(tmp_path: Path) -> None:
    root = checkout(
        tmp_path, "groups:\n  - rules:\n      - alert: Ours\n        expr: pgoauthd_jwks_keys_of_another > 0\n"
    )
    assert used_by(root, "pgoauthd_jwks_keys") == "nothing"
