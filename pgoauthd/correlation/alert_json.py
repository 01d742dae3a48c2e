"""Alerts as the JSON that receivers take: Alertmanager's API v2 and our own webhook document (docs/alerting.md)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from pgoauthd.correlation.alerts import Alert, Example
from pgoauthd.correlation.outcome_json import rfc3339

WEBHOOK_VERSION = 1
"""Members are only ever added within a version."""
ALERT_NAME = "PgoauthdLoginsRefused"

_encoder = msgspec.json.Encoder()


def alertmanager(alerts: Iterable[Alert], *, generator_url: str = "") -> bytes:
    """The body of `POST /api/v2/alerts` (Alertmanager's openapi.yaml, postableAlerts).

    Labels come from closed sets and the configuration, since each new set of them is another alert to Alertmanager;
    what comes from users stands in the annotations.
    """
    return _encoder.encode([_postable(alert, generator_url) for alert in alerts])


def webhook(alerts: Iterable[Alert]) -> bytes:
    """Our own document, described in docs/alerting.md."""
    return _encoder.encode({"version": WEBHOOK_VERSION, "alerts": [_document(alert) for alert in alerts]})


def _postable(alert: Alert, generator_url: str) -> dict[str, Any]:
    return {
        "labels": {
            "alertname": ALERT_NAME,
            "cluster": alert.cluster,
            "reason": alert.reason,
            "stage": alert.reason.stage,
            "severity": alert.severity,
        },
        "annotations": {
            "summary": _summary(alert),
            "description": alert.reason.sentence,
            "remedy": alert.reason.remedy,
            "count": str(alert.count),
            "examples": "\n".join(_line(example) for example in alert.examples),
        },
        "startsAt": rfc3339(alert.starts_at),
        "endsAt": rfc3339(alert.ends_at),
        "generatorURL": generator_url,
    }


def _document(alert: Alert) -> dict[str, Any]:
    return {
        "status": alert.status,
        "cluster": alert.cluster,
        "reason": alert.reason,
        "stage": alert.reason.stage,
        "fault": alert.reason.fault,
        "severity": alert.severity,
        "sentence": alert.reason.sentence,
        "remedy": alert.reason.remedy,
        "count": alert.count,
        "starts_at": rfc3339(alert.starts_at),
        "last_seen_at": rfc3339(alert.last_seen_at),
        "ends_at": rfc3339(alert.ends_at),
        "examples": [
            {**{name: getattr(example, name) for name in example.__struct_fields__}, "time": rfc3339(example.time)}
            for example in alert.examples
        ],
    }


def _summary(alert: Alert) -> str:
    logins = "1 login" if alert.count == 1 else f"{alert.count} logins"
    return f"{logins} on cluster {alert.cluster} ended with {alert.reason}"


def _line(example: Example) -> str:
    """One line of text; a line break in an identity must not begin a line of its own."""
    who = (
        ("role", example.role),
        ("database", example.database),
        ("identity", example.identity),
        ("client", example.client_addr),
        ("session", example.session_id),
    )
    told = " ".join(f"{name}={_printable(value)}" for name, value in who if value is not None)
    times = f" ({example.count} times)" if example.count > 1 else ""
    return f"{rfc3339(example.time)} {told}{times}: {_printable(example.message)} {_printable(example.remedy)}"


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
