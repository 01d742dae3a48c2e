"""Writes dashboards/pgoauthd-overview.json: `python dashboards/build.py`. Classic JSON for Grafana 10 and later.

The rules of Grafana's dashboard-linter hold for what comes out (tests/dashboards/test_dashboard.py checks them).
"""  # noqa: INP001 - a script, not a package

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgoauthd.telemetry.metrics import Metrics

OUTPUT = Path(__file__).with_name("pgoauthd-overview.json")
GRID_COLUMNS = 24
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
LABELS = {declared.name: declared.labels for declared in Metrics().declarations}
ATTEMPTS = "pgoauthd_login_attempts_total"
FETCHES = "pgoauthd_issuer_fetches_total"


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression and what its series are called."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel; `kind` is Grafana's panel type, `unit` one of its units, sizes in cells of its grid."""

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: str = "timeseries"
    width: int = 12
    height: int = 8
    stacked: bool = False


def series(metric: str, matchers: str = "", *, suffix: str = "") -> str:
    """A selector with the dashboard's variables, `cluster` where the metric has it; KeyError for unknown metrics."""
    chosen = ['job=~"$job"', 'instance=~"$instance"']
    if "cluster" in LABELS[metric]:
        chosen.append('cluster=~"$cluster"')
    return f"{metric}{suffix}{{{', '.join([*chosen, *([matchers] if matchers else [])])}}}"


def rate(metric: str, by: str, matchers: str = "") -> str:
    """Events a second."""
    return f"sum by ({by}) (rate({series(metric, matchers)}[$__rate_interval]))"


def total(metric: str, by: str, matchers: str = "") -> str:
    """Events in the time that the dashboard shows."""
    return f"sum by ({by}) (increase({series(metric, matchers)}[$__range]))"


def quantile(q: float, metric: str, by: str = "") -> str:
    """A quantile of a histogram in seconds."""
    rates = f"rate({series(metric, suffix='_bucket')}[$__rate_interval])"
    return f"histogram_quantile({q}, sum by ({', '.join(['le', *([by] if by else [])])}) ({rates}))"


REFUSED = 'result="refused"'
HIT = 'result="hit"'
DECIDED = 'result=~"success|refused"'

ROWS: dict[str, tuple[Panel, ...]] = {
    "Logins": (
        Panel(
            "Succeeded",
            "Logins that got in, in the time shown.",
            "short",
            (Query(total(ATTEMPTS, "cluster", 'result="success"'), "{{cluster}}"),),
            kind="stat",
            width=6,
            height=4,
        ),
        Panel(
            "Refused",
            "Logins that were turned away, in the time shown. Discoveries and abandoned attempts are not among them.",
            "short",
            (Query(total(ATTEMPTS, "cluster", REFUSED), "{{cluster}}"),),
            kind="stat",
            width=6,
            height=4,
        ),
        Panel(
            "Refusal ratio",
            "Refused of all logins that were decided, in the time shown.",
            "percentunit",
            (
                Query(
                    f"{total(ATTEMPTS, 'cluster', REFUSED)} / ({total(ATTEMPTS, 'cluster', DECIDED)} > 0)",
                    "{{cluster}}",
                ),
            ),
            kind="stat",
            width=6,
            height=4,
        ),
        Panel(
            "Last OAuth success",
            "When an OAuth login last succeeded.",
            "dateTimeFromNow",
            (Query(f"max by (cluster) ({series('pgoauthd_last_success_timestamp_seconds')}) * 1000", "{{cluster}}"),),
            kind="stat",
            width=6,
            height=4,
        ),
        Panel(
            "Logins by result",
            "Decided logins a second.",
            "ops",
            (Query(rate(ATTEMPTS, "cluster, result", DECIDED), "{{cluster}} {{result}}"),),
            stacked=True,
        ),
        Panel(
            "Refusals by reason",
            "Refused logins a second. docs/reasons.md says what each reason means and what to do.",
            "ops",
            (Query(rate(ATTEMPTS, "cluster, reason", REFUSED) + " > 0", "{{cluster}} {{reason}}"),),
            stacked=True,
        ),
        Panel(
            "Why logins were refused",
            "Refused logins by cluster, stage and reason, in the time shown.",
            "short",
            (Query(f"sort_desc({total(ATTEMPTS, 'cluster, stage, reason', REFUSED)} > 0)", "{{reason}}"),),
            kind="table",
        ),
        Panel(
            "Decided logins by method",
            "Logins a second by the method of the pg_hba.conf line, OAuth and others.",
            "ops",
            (Query(rate(ATTEMPTS, "cluster, method", DECIDED), "{{cluster}} {{method}}"),),
        ),
    ),
    "No failures": (
        Panel(
            "Discoveries",
            "Clients that asked for the issuer, as libpq does before it fetches a token; a login follows each.",
            "ops",
            (Query(rate(ATTEMPTS, "cluster", 'result="discovery"'), "{{cluster}}"),),
        ),
        Panel(
            "Abandoned attempts",
            "Clients that went away, a second. Many of one reason point at health checks, proxies or the network.",
            "ops",
            (Query(rate(ATTEMPTS, "cluster, reason", 'result="abandoned"'), "{{cluster}} {{reason}}"),),
        ),
    ),
    "Validation": (
        Panel(
            "Validation latency",
            "From the request on the socket to the reply. It includes fetching keys where they were not at hand.",
            "s",
            (
                Query(quantile(0.5, "pgoauthd_validation_duration_seconds"), "p50"),
                Query(quantile(0.99, "pgoauthd_validation_duration_seconds"), "p99"),
            ),
        ),
        Panel(
            "Server authentication time",
            "As the server measured it (connection ready); needs log_connections with setup_durations.",
            "s",
            (
                Query(quantile(0.5, "pgoauthd_server_authentication_seconds", "cluster"), "{{cluster}} p50"),
                Query(quantile(0.99, "pgoauthd_server_authentication_seconds", "cluster"), "{{cluster}} p99"),
            ),
        ),
        Panel(
            "Verdicts by stage",
            "Tokens judged a second, by the stage at which the judgement ended; none is a good token.",
            "ops",
            (Query(rate("pgoauthd_validations_total", "stage"), "{{stage}}"),),
            stacked=True,
        ),
        Panel(
            "Refusing verdicts by reason",
            "Tokens refused a second.",
            "ops",
            (Query(rate("pgoauthd_validations_total", "reason", 'reason!="ok"') + " > 0", "{{reason}}"),),
        ),
        Panel(
            "Requests turned away",
            "Requests on the socket that were not judged, a second, by what was wrong or too much.",
            "ops",
            (Query(rate("pgoauthd_callout_rejected_total", "kind"), "{{kind}}"),),
        ),
        Panel(
            "Open connections on the socket",
            "One for each login that is being validated.",
            "short",
            (Query(f"sum by (instance) ({series('pgoauthd_callout_connections')})", "{{instance}}"),),
        ),
    ),
    "Issuers": (
        Panel(
            "Age of the key set",
            "Time since an issuer's keys were last fetched.",
            "s",
            (
                Query(
                    f"time() - max by (issuer) ({series('pgoauthd_jwks_last_refresh_timestamp_seconds')})",
                    "{{issuer}}",
                ),
            ),
        ),
        Panel(
            "Failed fetches",
            "Fetches of metadata and keys and introspections that failed, a second.",
            "ops",
            (
                Query(
                    rate(FETCHES, "issuer, endpoint, outcome", 'outcome!="success"'),
                    "{{issuer}} {{endpoint}} {{outcome}}",
                ),
            ),
        ),
        Panel(
            "Usable keys",
            "Signing keys held for each issuer; 0 before the first fetch.",
            "short",
            (Query(f"min by (issuer) ({series('pgoauthd_jwks_keys')})", "{{issuer}}"),),
        ),
        Panel(
            "Unknown key refetches not made",
            "Tokens whose key id is unknown and for which no refetch was allowed, a second.",
            "ops",
            (Query(rate("pgoauthd_jwks_unknown_kid_limited_total", "issuer"), "{{issuer}}"),),
        ),
        Panel(
            "Duration of fetches",
            "Of metadata, keys and introspections: 99 of 100 are at least as quick. Logins wait for introspections.",
            "s",
            (
                Query(
                    quantile(0.99, "pgoauthd_issuer_fetch_duration_seconds", "issuer, endpoint"),
                    "{{issuer}} {{endpoint}}",
                ),
            ),
        ),
        Panel(
            "Introspections by where the answer came from",
            "A second: held from a moment ago (hit, negative_hit), joined to one under way, or a new request (miss).",
            "ops",
            (Query(rate("pgoauthd_introspection_cache_total", "issuer, result"), "{{issuer}} {{result}}"),),
            stacked=True,
        ),
        Panel(
            "Not asked after failures",
            "1 while an endpoint has failed and is left alone for a while: what needs it is refused at once.",
            "short",
            (
                Query(
                    f"max by (issuer, endpoint) ({series('pgoauthd_issuer_breaker_open')})", "{{issuer}} {{endpoint}}"
                ),
                Query(f"max by (issuer) ({series('pgoauthd_jwks_stale')})", "{{issuer}} keys too old"),
            ),
        ),
        Panel(
            "Tokens that wait for an issuer",
            "Logins that are held up until an identity provider answers.",
            "short",
            (Query(f"sum by (issuer) ({series('pgoauthd_issuer_waiting')})", "{{issuer}}"),),
        ),
        Panel(
            "Key changes",
            "Signing keys that came and went in the time shown, as a rotation does.",
            "short",
            (Query(total("pgoauthd_jwks_changes_total", "issuer, change"), "{{issuer}} {{change}}"),),
            kind="stat",
            height=4,
        ),
        Panel(
            "Signatures known to be right",
            "Of the tokens judged by signature: those whose signature was verified a moment before.",
            "percentunit",
            (
                Query(
                    f"{rate('pgoauthd_verified_cache_total', 'instance', HIT)} / "
                    f"({rate('pgoauthd_verified_cache_total', 'instance')} > 0)",
                    "{{instance}}",
                ),
            ),
            height=4,
        ),
    ),
    "Logs": (
        Panel(
            "Log read",
            "Bytes of log read a second.",
            "Bps",
            (Query(rate("pgoauthd_log_read_bytes_total", "cluster"), "{{cluster}}"),),
        ),
        Panel(
            "Log not read yet",
            "Bytes that were written and not read yet. Outcomes are late by the time that reading these takes.",
            "bytes",
            (Query(f"sum by (cluster) ({series('pgoauthd_log_lag_bytes')})", "{{cluster}}"),),
        ),
        Panel(
            "Trouble with the log",
            "Entries not in their format, lines lost or cut, and files that could not be read, a second.",
            "ops",
            (
                Query(
                    rate("pgoauthd_log_parse_failures_total", "cluster, format"), "{{cluster}} {{format}} not parsed"
                ),
                Query(rate("pgoauthd_log_lost_lines_total", "cluster"), "{{cluster}} lost"),
                Query(rate("pgoauthd_log_overlong_lines_total", "cluster"), "{{cluster}} cut"),
                Query(rate("pgoauthd_log_errors_total", "cluster"), "{{cluster}} not readable"),
            ),
        ),
        Panel(
            "Tokens in the log",
            "Logins whose token the server's validator wrote into its log, in the range. Any is one too many.",
            "short",
            (Query(total("pgoauthd_log_leaked_tokens_total", "cluster"), "{{cluster}}"),),
            kind="stat",
        ),
        Panel(
            "Rotations",
            "Changes to a new log file, and files that became shorter, a second.",
            "ops",
            (
                Query(rate("pgoauthd_log_rotations_total", "cluster"), "{{cluster}} rotated"),
                Query(rate("pgoauthd_log_truncations_total", "cluster"), "{{cluster}} truncated"),
            ),
        ),
    ),
    "Correlation": (
        Panel(
            "Joined with their verdict",
            "Outcomes that were joined with the verdict on their token, a second.",
            "ops",
            (Query(rate("pgoauthd_correlation_matched_total", "cluster"), "{{cluster}}"),),
            width=8,
        ),
        Panel(
            "Not joined",
            "By kind, a second. logged_not_validated is a login that pgoauthd never vouched for.",
            "ops",
            (Query(rate("pgoauthd_correlation_unmatched_total", "cluster, kind"), "{{cluster}} {{kind}}"),),
            width=8,
        ),
        Panel(
            "Open sessions",
            "Login attempts that began and have not ended.",
            "short",
            (Query(f"sum by (cluster) ({series('pgoauthd_sessions_open')})", "{{cluster}}"),),
            width=8,
        ),
        Panel(
            "User name maps as predicted",
            "Logins with map=, a second, by whether the server decided as pg_ident.conf on disk says.",
            "ops",
            (Query(rate("pgoauthd_usermap_predictions_total", "cluster, result"), "{{cluster}} {{result}}"),),
        ),
        Panel(
            "pg_ident.conf",
            "1 where the file that ident_file names can be read and has no error.",
            "short",
            (Query(f"min by (cluster) ({series('pgoauthd_ident_file_readable')})", "{{cluster}}"),),
        ),
    ),
    "Daemon": (
        Panel(
            "Notifications",
            "Alerts that the daemon itself posted, a second, by receiver.",
            "ops",
            (Query(rate("pgoauthd_notifications_total", "sink, outcome"), "{{sink}} {{outcome}}"),),
            width=8,
        ),
        Panel(
            "Dropped outcomes",
            "Outcomes that a sink could not take, a second.",
            "ops",
            (Query(rate("pgoauthd_sink_dropped_total", "sink"), "{{sink}}"),),
            width=8,
        ),
        Panel(
            "Configuration",
            "How long ago the configuration in use was read.",
            "s",
            (
                Query(
                    f"time() - max by (instance) ({series('pgoauthd_config_last_reload_success_timestamp_seconds')})",
                    "{{instance}}",
                ),
            ),
            kind="stat",
            width=12,
            height=4,
        ),
        Panel(
            "Reloads",
            "In the time shown, by outcome; a refused one leaves the configuration as it was.",
            "short",
            (Query(total("pgoauthd_config_reloads_total", "outcome"), "{{outcome}}"),),
            kind="stat",
            width=12,
            height=4,
        ),
        Panel(
            "Versions",
            "Running daemons by version.",
            "short",
            (Query(f"count by (version, python) ({series('pgoauthd_build_info')})", "{{version}}"),),
            kind="table",
            width=8,
        ),
    ),
    "Probes": (
        Panel(
            "Probes",
            "1 where the last login that the daemon made itself, as Kong does, got through all steps.",
            "short",
            (Query(f"min by (probe, server) ({series('pgoauthd_probe_success')})", "{{probe}} {{server}}"),),
            kind="stat",
            width=6,
        ),
        Panel(
            "Time since a probe succeeded",
            "It grows while the login fails.",
            "s",
            (
                Query(
                    f"time() - max by (probe, server) ({series('pgoauthd_probe_last_success_timestamp_seconds')})",
                    "{{probe}} {{server}}",
                ),
            ),
            width=6,
        ),
        Panel(
            "Time that each step of a probe takes",
            "Of the last one: token, connect, tls, sasl, ready. A step that was not reached has a gap.",
            "s",
            (
                Query(
                    f"max by (probe, server, step) ({series('pgoauthd_probe_step_duration_seconds')})",
                    "{{probe}} {{server}} {{step}}",
                ),
            ),
            width=6,
        ),
        Panel(
            "Failed probes",
            "In the time shown, by the step that failed.",
            "short",
            (
                Query(
                    total("pgoauthd_probe_failures_total", "probe, server, step") + " > 0",
                    "{{probe}} {{server}} {{step}}",
                ),
            ),
            kind="stat",
            width=6,
        ),
    ),
    "State": (
        Panel(
            "Last save",
            "How long ago positions, sessions, counters and outcomes were saved; outcomes are told once they are.",
            "s",
            (
                Query(
                    f"time() - max by (instance) ({series('pgoauthd_state_last_save_timestamp_seconds')})",
                    "{{instance}}",
                ),
            ),
            kind="stat",
            width=6,
        ),
        Panel(
            "Time that a save takes",
            "In a thread, beside logins and logs.",
            "s",
            tuple(
                Query(
                    quantile(share, "pgoauthd_state_save_duration_seconds", "instance"),
                    f"p{share:.0%} {{{{instance}}}}",
                )
                for share in (0.5, 0.99)
            ),
            width=6,
        ),
        Panel(
            "Saves that failed",
            "A second; and whether a state was found at the start that could not be used.",
            "short",
            (
                Query(rate("pgoauthd_state_save_failures_total", "instance"), "{{instance}} failed"),
                Query(f"max by (instance) ({series('pgoauthd_state_kept_aside')})", "{{instance}} kept aside"),
            ),
            width=6,
        ),
        Panel(
            "Size of the state",
            "Bytes in use, the history of outcomes included.",
            "bytes",
            (Query(f"max by (instance) ({series('pgoauthd_state_size_bytes')})", "{{instance}}"),),
            width=6,
        ),
        Panel(
            "History deleted",
            "Outcomes deleted from the history, a second, for their age or because it is as large as it may be.",
            "ops",
            (Query(rate("pgoauthd_history_deleted_outcomes_total", "instance, cause"), "{{instance}} {{cause}}"),),
        ),
    ),
}


def dashboard() -> dict[str, Any]:
    """The whole dashboard as Grafana's JSON model."""
    return {
        "uid": "pgoauthd-overview",
        "title": "pgoauthd / Overview",
        "description": "OAuth logins to PostgreSQL: how they ended and why.",
        "tags": ["pgoauthd", "postgresql", "oauth"],
        "editable": False,
        "graphTooltip": 1,
        "refresh": "1m",
        "schemaVersion": 39,
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": [_datasource_variable(), *_query_variables()]},
        "panels": list(_panels()),
    }


def _datasource_variable() -> dict[str, Any]:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "hide": 0}


def _query_variables() -> Iterator[dict[str, Any]]:
    queries = {
        "job": "label_values(pgoauthd_build_info, job)",
        "instance": 'label_values(pgoauthd_build_info{job=~"$job"}, instance)',
        "cluster": 'label_values(pgoauthd_login_attempts_total{job=~"$job", instance=~"$instance"}, cluster)',
    }
    for name, query in queries.items():
        yield {
            "name": name,
            "label": name.title(),
            "type": "query",
            "datasource": DATASOURCE,
            "query": query,
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": ".+",
            "current": {"text": "All", "value": "$__all"},
            "hide": 0,
        }


def _panels() -> Iterator[dict[str, Any]]:
    """Rows from top to bottom, their panels from left to right; a panel that does not fit begins a new line."""
    identifier, top = 1, 0
    for title, panels in ROWS.items():
        yield {
            "id": identifier,
            "type": "row",
            "title": title,
            "collapsed": False,
            "panels": [],
            "gridPos": {"x": 0, "y": top, "w": GRID_COLUMNS, "h": 1},
        }
        identifier, top, left, line_height = identifier + 1, top + 1, 0, 0
        for panel in panels:
            if left + panel.width > GRID_COLUMNS:
                top, left, line_height = top + line_height, 0, 0
            yield _panel(panel, identifier, {"x": left, "y": top, "w": panel.width, "h": panel.height})
            identifier, left, line_height = identifier + 1, left + panel.width, max(line_height, panel.height)
        top += line_height


def _panel(panel: Panel, identifier: int, position: dict[str, int]) -> dict[str, Any]:
    return {
        "id": identifier,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "gridPos": position,
        "fieldConfig": {"defaults": {"unit": panel.unit, "custom": _drawing(panel)}, "overrides": []},
        "options": _options(panel),
        "targets": [_target(panel, query, letter) for query, letter in zip(panel.queries, "ABCDEFGH", strict=False)],
        **({"transformations": _TABLE_COLUMNS} if panel.kind == "table" else {}),
    }


_TABLE_COLUMNS = [
    {"id": "organize", "options": {"excludeByName": {"Time": True}, "renameByName": {"Value": "count"}}},
]


def _drawing(panel: Panel) -> dict[str, Any]:
    if panel.kind != "timeseries":
        return {}
    return {
        "drawStyle": "line",
        "fillOpacity": 20 if panel.stacked else 5,
        "showPoints": "never",
        "stacking": {"mode": "normal" if panel.stacked else "none"},
    }


def _options(panel: Panel) -> dict[str, Any]:
    if panel.kind == "timeseries":
        return {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    if panel.kind == "stat":
        return {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "none"}
    return {"showHeader": True}


def _target(panel: Panel, query: Query, letter: str) -> dict[str, Any]:
    instant = panel.kind != "timeseries"
    return {
        "refId": letter,
        "datasource": DATASOURCE,
        "expr": query.expr,
        "legendFormat": query.legend,
        "instant": instant,
        "range": not instant,
        "format": "table" if panel.kind == "table" else "time_series",
    }


def render() -> str:
    """The text of the file."""
    return json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    OUTPUT.write_text(render(), encoding="utf-8")
