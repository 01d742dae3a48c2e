"""Reads one JSON line of an outcome, as far as a report needs it; never guesses at a line that is none."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Ended = Literal["success", "refused", "abandoned", "discovery"]
"""The values of `Result`: to hash a member of an enum is a call into Python, which a million lines can do without."""
Code = Annotated[str, Meta(max_length=64)]
"""A word of a closed vocabulary, which newer versions may have added to."""


class Claims(msgspec.Struct, frozen=True, gc=False):
    """What a report says of the token."""

    iss: str | None = None
    client_id: str | None = None


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """One outcome of docs/outcome.md."""

    version: Literal[1]
    time: Annotated[datetime, Meta(tz=True)]
    cluster: str
    result: Ended
    reason: Code
    stage: Code
    fault: Code
    method: Code
    message: str
    remedy: str
    role: str | None = None
    identity: str | None = None
    client_addr: str | None = None
    issuer: str | None = None
    claims: Claims | None = None
    validation_seconds: float | None = None
    server_authentication_seconds: float | None = None


EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(9999, 1, 1, tzinfo=UTC)
"""Nearer to the end of time, sums with moments overflow."""

_decoder = msgspec.json.Decoder(Attempt)


def read_attempt(line: bytes) -> Attempt | None:
    """The outcome; None if the line is no outcome that this version can read."""
    try:
        attempt = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return attempt if EARLIEST <= attempt.time < LATEST else None
