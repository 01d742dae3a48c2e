"""Renders docs/reasons.md and docs/metrics.md from the code: `python -m pgoauthd.telemetry.reference`; nothing else.

It runs in a checkout, where dashboards/ says which alert and which panel uses a metric; the daemon never imports it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from pgoauthd.correlation.mapped import Agreement
from pgoauthd.correlation.outcome import Result, Unmatched
from pgoauthd.logs.readers import LogFormat
from pgoauthd.telemetry import metrics
from pgoauthd.telemetry.metrics import Declaration, Metrics
from pgoauthd.tokens.reasons import Fault, Reason, Stage

RULES = "dashboards/rules/pgoauthd.rules.yml"
DASHBOARDS = "dashboards/*.json"
MADE = "<!-- Made from the code by `python -m pgoauthd.telemetry.reference`; do not edit. -->"

_FAULTS = {
    Fault.NONE: "nobody: nothing is wrong",
    Fault.CLIENT: "the client, or the person who uses it",
    Fault.CONFIGURATION: "whoever configures PostgreSQL, pgoauthd or the client's registration",
    Fault.IDENTITY_PROVIDER: "whoever runs the identity provider",
    Fault.SERVER: "whoever runs the database host",
}

_LABELS = (
    ("cluster", "", "`name` of a `[[clusters]]` table"),
    ("issuer", "", "`name` of an `[[issuers]]` table, else its issuer"),
    ("sink", "", "`name` of a `[[notify]]` table, `outcome_file` or `history`"),
    ("result", "pgoauthd_login_attempts_total", Result),
    ("result", "pgoauthd_introspection_cache_total", metrics.CACHE_RESULTS),
    ("result", "pgoauthd_verified_cache_total", ("hit", "miss")),
    ("result", "pgoauthd_usermap_predictions_total", Agreement),
    ("stage", "", Stage),
    ("reason", "", "the codes of [reasons.md](reasons.md)"),
    ("method", "", metrics.METHODS),
    ("kind", "pgoauthd_callout_rejected_total", metrics.SHED_KINDS),
    ("kind", "pgoauthd_correlation_unmatched_total", Unmatched),
    ("endpoint", "", metrics.ENDPOINTS),
    ("outcome", "pgoauthd_issuer_fetches_total", metrics.FETCH_OUTCOMES),
    ("outcome", "pgoauthd_notifications_total", ("sent", "failed")),
    ("outcome", "pgoauthd_config_reloads_total", metrics.RELOAD_OUTCOMES),
    ("change", "", metrics.KEY_CHANGES),
    ("cause", "", metrics.DELETE_CAUSES),
    ("format", "", LogFormat),
    ("probe", "", "`name` of a `[[probes]]` table"),
    ("server", "", ("primary", "replica")),
    ("step", "", metrics.PROBE_STEPS),
    ("version", "", "the daemon's version"),
    ("python", "", "the version of Python"),
)
"""Label, the only metric that is meant where there are several meanings, and its values."""


def main() -> None:
    """Rewrite both files of the checkout in the working directory."""
    root = Path.cwd()
    if not (root / RULES).is_file():
        sys.exit(f"{root} is no checkout of pgoauthd: it has no {RULES}")
    (root / "docs/reasons.md").write_text(render_reasons(), encoding="utf-8")
    (root / "docs/metrics.md").write_text(render_metrics(root), encoding="utf-8")


def render_reasons() -> str:
    """docs/reasons.md: every reason by the stage at which an attempt ended."""
    lines = [
        "# Why a login ended as it did",
        "",
        MADE,
        "",
        "Each attempt to log in ends with one reason. Its code is the `reason` of the reply on the socket, of an",
        "outcome ([outcome.md](outcome.md)), of the metrics ([metrics.md](metrics.md)) and of the alerts",
        "([alerting.md](alerting.md)). Codes are only ever added. Stages stand in the order in which a login passes",
        "them; *fault* says who has to act:",
        "",
        *(f"- **{fault}**: {who}." for fault, who in _FAULTS.items()),
    ]
    for stage in Stage:
        reasons = [reason for reason in Reason if reason.stage is stage]
        lines += [
            "",
            f"## {stage}",
            "",
            *_table(("code", "fault", "what happened", "what to do"), _reason_rows(reasons)),
        ]
    return "\n".join(lines) + "\n"


def _reason_rows(reasons: Iterable[Reason]) -> Iterator[tuple[str, ...]]:
    for reason in reasons:
        yield f"`{reason}`", reason.fault, reason.sentence, reason.remedy


def render_metrics(root: Path) -> str:
    """docs/metrics.md: every metric, and what in `root`/dashboards uses it."""
    alerts, panels = tuple(_alerts(root)), tuple(_panels(root))
    rows = (
        (
            f"`{declared.name}`",
            declared.kind,
            ", ".join(f"`{label}`" for label in declared.labels) or "none",
            unit(declared),
            "yes" if declared.kept else "no",
            declared.text,
            _users(declared, alerts, panels),
        )
        for declared in Metrics().declarations
    )
    return "\n".join(
        (
            "# Metrics",
            "",
            MADE,
            "",
            "The daemon serves them at `/metrics` of `web.listen`, as Prometheus text or OpenMetrics. Every series",
            "whose labels are known beforehand is there from the start with 0. Label values come from closed sets or",
            "from the configuration, never from users. The alerts are those of [alerting.md](alerting.md), the panels",
            "those of the overview dashboard. What is *kept* goes on after a restart, or a kill, from where it was",
            "([state.md](state.md)); all else begins at 0, as counters may.",
            "",
            *_table(("name", "type", "labels", "unit", "kept", "meaning", "used by"), rows),
            "",
            f"Histograms have the buckets {', '.join(f'{edge:g}' for edge in metrics.DURATION_BUCKETS)} seconds.",
            "",
            "## Labels",
            "",
            *_table(("label", "values"), _label_rows()),
            "",
        )
    )


def _label_rows() -> Iterator[tuple[str, ...]]:
    for label, metric, values in _LABELS:
        where = f" of `{metric}`" if metric else ""
        said = values if isinstance(values, str) else ", ".join(f"`{value}`" for value in values)
        yield f"`{label}`{where}", said


def unit(declared: Declaration) -> str:
    """The unit, which Prometheus' naming puts at the end of the name."""
    name = declared.name.removesuffix("_total")
    for suffix, said in (
        ("_timestamp_seconds", "seconds since the epoch"),
        ("_seconds", "seconds"),
        ("_bytes", "bytes"),
        ("_info", "always 1"),
    ):
        if name.endswith(suffix):
            return said
    return "count"


def _users(declared: Declaration, alerts: Iterable[tuple[str, str]], panels: Iterable[tuple[str, str]]) -> str:
    """The alerts and panels that use a metric, in words."""
    said = []
    for kind, expressions in (("alert", alerts), ("panel", panels)):
        names = [name for name, text in expressions if _mentions(text, declared)]
        if names:
            said.append(f"{kind}{'s' if len(names) > 1 else ''} {', '.join(names)}")
    return "; ".join(said) or "nothing"


def _mentions(text: str, declared: Declaration) -> bool:
    suffix = "(_bucket|_sum|_count)" if declared.kind == "histogram" else ""
    return re.search(rf"\b{declared.name}{suffix}\b", text) is not None


def _alerts(root: Path) -> Iterator[tuple[str, str]]:
    """Each alert with its expression; what it takes from a recording rule counts as its own.

    The file is split as text, since the daemon needs no YAML parser.
    """
    pieces = re.split(r"^ +- (alert|record): (\S+)$", (root / RULES).read_text(encoding="utf-8"), flags=re.MULTILINE)
    recorded: dict[str, str] = {}
    for kind, name, body in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
        text = body + "".join(expression for record, expression in recorded.items() if record in body)
        if kind == "record":
            recorded[name] = text
        else:
            yield name, text


def _panels(root: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(root.glob(DASHBOARDS)):
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            yield panel["title"], "\n".join(target["expr"] for target in panel.get("targets", ()))


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    for cells in (head, ("---",) * len(head), *rows):
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    main()
