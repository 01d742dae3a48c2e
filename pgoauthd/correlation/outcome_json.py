"""The JSON of an Outcome: the contract of `replay --json`, of the outcome file and of events (docs/outcome.md)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, cast

import msgspec

from pgoauthd.correlation.outcome import Outcome
from pgoauthd.logs.redaction import redact
from pgoauthd.mapping.prediction import MapPrediction

VERSION = 1
"""Members are only ever added within a version."""

_encoder = msgspec.json.Encoder()

_MISLEADING = re.compile("[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
"""Not escaped by JSON itself: line ends of Unicode and C1, and what changes the direction of text or cannot be seen."""

_DEL = b"\x7f"
"""The only one of them in ASCII."""

_REDACTED = ("role", "database", "application_name", "message")
"""Texts that a client chose, or that may repeat one: somebody may have given a token for a user name."""


def encode(outcome: Outcome) -> bytes:
    """One line of JSON without the newline; times are RFC 3339 in UTC with milliseconds.

    However a reader divides lines, this is one, and it looks like what it is.
    """
    line = _encoder.encode(to_dict(outcome))
    return line if line.isascii() and _DEL not in line else _MISLEADING.sub(_escape, line.decode()).encode()


def to_dict(outcome: Outcome) -> dict[str, Any]:
    """The members in their documented order; absent values are null, `claims` is null without a verdict.

    Token-like runs are redacted in what a client may have chosen. An identity is, too, unless claims vouch for it:
    the subjects of some issuers look as random as a token.
    """
    members: dict[str, Any] = {"version": VERSION} | msgspec.structs.asdict(outcome)
    members["time"] = rfc3339(outcome.time)
    members["started"] = rfc3339(outcome.started) if outcome.started is not None else None
    for name in _REDACTED if outcome.claims is not None else (*_REDACTED, "identity"):
        if (text := members[name]) is not None:
            members[name] = redact(text)
    if outcome.mapping is not None:
        members["mapping"] = _mapping(outcome.mapping)
    return members


def _mapping(mapping: MapPrediction) -> dict[str, Any]:
    """Without absent members; its texts repeat what a client chose."""
    members = msgspec.to_builtins(mapping)
    members["message"] = redact(mapping.message)
    for line in (*members.get("tried", ()), *([members["nearest"]] if mapping.nearest is not None else [])):
        line["text"], line["why"] = redact(line["text"]), redact(line["why"])
    return cast("dict[str, Any]", members)


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def rfc3339(seconds: float) -> str:
    """Seconds since the epoch as e.g. 2026-11-22T01:11:56.599Z."""
    return datetime.fromtimestamp(round(seconds, 3), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
