"""The JSON of an Outcome: the contract of `replay --json`, of the outcome file and of events (docs/outcome.md)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from pgoauthd.correlation.outcome import Outcome

VERSION = 1
"""Members are only ever added within a version."""

_encoder = msgspec.json.Encoder()


def encode(outcome: Outcome) -> bytes:
    """One line of JSON without the newline; times are RFC 3339 in UTC with milliseconds."""
    return _encoder.encode(to_dict(outcome))


def to_dict(outcome: Outcome) -> dict[str, Any]:
    """The members in their documented order; absent values are null, `claims` is null without a verdict."""
    members: dict[str, Any] = {"version": VERSION} | msgspec.structs.asdict(outcome)
    members["time"] = rfc3339(outcome.time)
    members["started"] = rfc3339(outcome.started) if outcome.started is not None else None
    return members


def rfc3339(seconds: float) -> str:
    """Seconds since the epoch as e.g. 2026-11-22T01:11:56.599Z."""
    return datetime.fromtimestamp(round(seconds, 3), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
