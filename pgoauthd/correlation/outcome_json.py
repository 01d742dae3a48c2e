"""The JSON of an Outcome: the contract of `replay --json`, of the outcome file and of events (docs/outcome.md)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, cast

import msgspec

from pgoauthd.correlation.outcome import Outcome
from pgoauthd.logs.redaction import redact
from pgoauthd.mapping.prediction import MapPrediction
from pgoauthd.tokens.reasons import Reason

VERSION = 1
"""Members are only ever added within a version."""

_VERSION_FIRST = b'{"version":%d,' % VERSION

_encoder = msgspec.json.Encoder()

_MISLEADING = re.compile("[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
"""Not escaped by JSON itself: line ends of Unicode and C1, and what changes the direction of text or cannot be seen."""

_DEL = 0x7F
"""The only one of them in ASCII."""

_CHOSEN_BY_CLIENTS = ("role", "database", "application_name")
"""Somebody may have given a token for a user name."""
_SENTENCES = frozenset(reason.sentence for reason in Reason)
"""Messages without a text of a client, which most are: none looks like a token."""


def encode(outcome: Outcome) -> bytes:
    """One line of JSON without the newline; times are RFC 3339 in UTC with milliseconds.

    However a reader divides lines, this is one, and it looks like what it is.
    """
    line = _VERSION_FIRST + _encoder.encode(_members(outcome))[1:]
    return line if line.isascii() and _DEL not in line else _MISLEADING.sub(_escape, line.decode()).encode()


def to_dict(outcome: Outcome) -> dict[str, Any]:
    """The members in their documented order; absent values are null, `claims` is null without a verdict.

    Token-like runs are redacted in what a client may have chosen. An identity is, too, unless claims vouch for it:
    the subjects of some issuers look as random as a token.
    """
    return {"version": VERSION} | _members(outcome)


def _members(outcome: Outcome) -> dict[str, Any]:
    """All but the version."""
    members: dict[str, Any] = msgspec.structs.asdict(outcome)
    members["time"] = rfc3339(outcome.time)
    if outcome.started is not None:
        members["started"] = rfc3339(outcome.started)
    for name in _CHOSEN_BY_CLIENTS:
        if (text := members[name]) is not None:
            members[name] = redact(text)
    if outcome.identity is not None and outcome.claims is None:
        members["identity"] = redact(outcome.identity)
    if outcome.message not in _SENTENCES:
        members["message"] = redact(outcome.message)
    if outcome.mapping is not None:
        members["mapping"] = _mapping(outcome.mapping)
    return members


def shown_names(outcome: Outcome) -> tuple[str | None, str | None]:
    """Role and identity as `encode` has them."""
    role, identity = outcome.role, outcome.identity
    return (
        None if role is None else redact(role),
        identity if identity is None or outcome.claims is not None else redact(identity),
    )


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
    second, millisecond = divmod(round(seconds * 1000), 1000)
    return f"{_to_the_second(second)}.{millisecond:03}Z"


@lru_cache(maxsize=256)
def _to_the_second(second: int) -> str:
    """Most outcomes share their second with a neighbour."""
    return datetime.fromtimestamp(second, UTC).isoformat().removesuffix("+00:00")
