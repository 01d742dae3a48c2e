from __future__ import annotations

import json
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.dashboards.fix_prometheus import SCRAPES, Prometheus, exposed, running
from tests.dashboards.fix_promql import DASHBOARD, ROOT, alerts, complaints, labels_by_series, program, rules, selectors

MODEL = json.loads(DASHBOARD.read_text(encoding="utf-8"))
ALL = MODEL["panels"]
PANELS = [panel for panel in ALL if panel["type"] != "row"]
TARGETS = [(panel, target) for panel in PANELS for target in panel["targets"]]
VARIABLES = {variable["name"]: variable for variable in MODEL["templating"]["list"]}
SERIES = labels_by_series()
UNITS = {"short", "percentunit", "dateTimeFromNow", "ops", "s", "bytes", "Bps"}
"""Those of Grafana's that are in use; a mistyped one would be shown as a suffix."""

each_panel = pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
each_target = pytest.mark.parametrize(
    ("panel", "target"), TARGETS, ids=[f"{panel['title']} {target['refId']}" for panel, target in TARGETS]
)


def test_the_dashboard_is_what_its_script_makes() -> None:
    made = runpy.run_path(str(ROOT / "dashboards/build.py"))["render"]()
    assert DASHBOARD.read_text(encoding="utf-8") == made, "run `python dashboards/build.py`"


def test_the_dashboard_can_be_provisioned_and_not_edited() -> None:
    assert MODEL["editable"] is False
    assert "id" not in MODEL
    assert re.fullmatch(r"[a-z0-9-]{1,40}", MODEL["uid"])


def test_the_data_source_is_a_variable() -> None:
    variable = VARIABLES["datasource"]
    assert (variable["type"], variable["query"], variable["label"]) == ("datasource", "prometheus", "Data source")


@pytest.mark.parametrize("name", ["job", "instance", "cluster"])
def test_job_instance_and_cluster_are_variables(name: str) -> None:
    variable = VARIABLES[name]
    assert variable["type"] == "query"
    assert variable["datasource"]["uid"] == "${datasource}"
    assert variable["label"] == name.title()
    assert variable["multi"]
    assert variable["includeAll"]
    assert variable["allValue"] == ".+"
    assert variable["refresh"] == 2, "on time range change"


@pytest.mark.parametrize("name", ["job", "instance", "cluster"])
def test_variables_ask_for_a_label_that_their_metric_has(name: str) -> None:
    found = re.fullmatch(r"label_values\((.+), (\w+)\)", VARIABLES[name]["query"])
    assert found is not None
    (selector,) = selectors(found[1])
    assert found[2] == name
    assert name in SERIES[selector.name]
    assert complaints(found[1], SERIES) == []


@each_panel
def test_every_panel_has_title_description_unit_and_the_variable_data_source(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert panel["targets"]


def test_titles_and_ids_are_unique() -> None:
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)
    assert len({panel["id"] for panel in ALL}) == len(ALL)


def test_panels_lie_on_the_grid_and_none_on_another() -> None:
    cells: set[tuple[int, int]] = set()
    for panel in ALL:
        place = panel["gridPos"]
        own = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in own) < 24
        assert not cells & own, panel["title"]
        cells |= own


@each_target
def test_every_query_uses_only_what_the_daemon_exports(panel: dict[str, Any], target: dict[str, Any]) -> None:
    assert list(selectors(target["expr"])), panel["title"]
    assert complaints(target["expr"], SERIES) == []


@each_target
def test_every_query_follows_the_variables(panel: dict[str, Any], target: dict[str, Any]) -> None:
    assert target["datasource"] == panel["datasource"]
    for selector in selectors(target["expr"]):
        wanted = {("job", "=~", "$job"), ("instance", "=~", "$instance")}
        if "cluster" in SERIES[selector.name]:
            wanted.add(("cluster", "=~", "$cluster"))
        assert wanted <= set(selector.matchers)


@each_target
def test_counters_are_seen_as_rates_or_increases(panel: dict[str, Any], target: dict[str, Any]) -> None:
    for found in re.finditer(r"(\w+)\(pgoauthd_\w+_(?:total|bucket)\{[^}]*\}(\[[^]]*\])?", target["expr"]):
        assert (found[1], found[2]) in {("rate", "[$__rate_interval]"), ("increase", "[$__range]")}, panel["title"]
    counters = re.findall(r"pgoauthd_\w+_(?:total|bucket)\b", target["expr"])
    ranged = re.findall(r"(?:rate|increase)\(pgoauthd_\w+_(?:total|bucket)\{", target["expr"])
    assert len(counters) == len(ranged)


@each_target
def test_buckets_are_seen_as_quantiles(panel: dict[str, Any], target: dict[str, Any]) -> None:
    if "_bucket" in target["expr"]:
        assert target["expr"].startswith("histogram_quantile("), panel["title"]
        assert re.search(r"by \([^)]*\ble\b", target["expr"])


@each_target
def test_legends_name_only_labels_that_are_left(panel: dict[str, Any], target: dict[str, Any]) -> None:
    kept = {label for labels in re.findall(r"by \(([^)]*)\)", target["expr"]) for label in labels.split(", ")}
    assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= kept, panel["title"]


def test_discoveries_are_shown_apart_from_logins() -> None:
    for panel, target in TARGETS:
        if "pgoauthd_login_attempts_total" not in target["expr"]:
            continue
        results = {
            value
            for selector in selectors(target["expr"])
            for label, _, values in selector.matchers
            if label == "result"
            for value in values.split("|")
        }
        apart = panel["title"] in {"Discoveries", "Abandoned attempts"}
        assert results <= ({"discovery", "abandoned"} if apart else {"success", "refused"}), panel["title"]
        assert results, panel["title"]


# a real Prometheus


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    binary = program("prometheus")
    directory: Path = tmp_path_factory.mktemp("prometheus")
    with exposed() as exposition, running(binary, directory, exposition.address) as started:
        exposition.wait_for(SCRAPES)
        yield started


def substituted(expr: str) -> str:
    """What Grafana sends, with All chosen in each variable."""
    for name, value in {
        "__rate_interval": "1m",
        "__range": "5m",
        "job": ".+",
        "instance": ".+",
        "cluster": ".+",
    }.items():
        expr = re.sub(rf"\${name}\b", value, expr)
    assert "$" not in expr
    return expr


@each_target
def test_a_real_prometheus_answers_every_query(
    prometheus: Prometheus, panel: dict[str, Any], target: dict[str, Any]
) -> None:
    answer = prometheus.query(substituted(target["expr"]))
    assert answer, f"{panel['title']}: no series"
    assert all(series["value"][1] != "NaN" for series in answer)


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_real_prometheus_can_evaluate_every_rule(prometheus: Prometheus, rule: dict[str, Any]) -> None:
    prometheus.query(rule["expr"])


def test_a_real_prometheus_loads_the_rules(prometheus: Prometheus) -> None:
    groups = prometheus.get("/api/v1/rules")["data"]["groups"]
    assert sum(len(group["rules"]) for group in groups) == len(rules())


def test_alerts_on_what_happened_have_something_to_say(prometheus: Prometheus) -> None:
    silent = {
        "PgoauthdDown",
        "PgoauthdIssuerFetchesFailing",  # one succeeded as well
        "PgoauthdIdentFileUnreadable",
        "PgoauthdIntrospectionFailing",
        "PgoauthdKeySetStale",
        "PgoauthdLogLag",
        "PgoauthdNoSuccess",
        "PgoauthdNotificationsFailing",
        "PgoauthdReloadRefused",
    }
    direct = {name: rule for name, rule in alerts().items() if name != "PgoauthdRefusalRatio"}  # asks a recording
    speaking = {name for name, rule in direct.items() if prometheus.query(rule["expr"])}
    assert speaking == set(direct) - silent


def test_a_wrong_query_is_found(prometheus: Prometheus) -> None:
    with pytest.raises(AssertionError, match="parse error"):
        prometheus.query("sum by (rate(pgoauthd_login_attempts_total[1m])")
