"""The Report as JSON, the contract of docs/report.md; it leaves no member out."""

from __future__ import annotations

import json

import msgspec

from pgoauthd.reporting.values import Report


def to_json(report: Report) -> str:
    """One line without its end. All but ASCII is escaped: names may hold what misleads a reader or ends a line."""
    text = json.dumps(msgspec.to_builtins(report), ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("\x7f", "\\u007f")
