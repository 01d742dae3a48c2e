"""Reads the moments that a command line gives, `2h` ago or a date; never asks what time it is."""

from __future__ import annotations

import re
from datetime import UTC, datetime

SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
"""How long a unit is."""

_AGO = re.compile(r"([0-9]{1,9})([smhdw])")


def parse_moment(text: str, now: float) -> float:
    """Seconds since the epoch, never before it.

    `30m`, `2h`, `7d`, `1w`: so long before `now`. A date is its first moment, and what has no zone is UTC; otherwise a
    time is as RFC 3339 writes it: 2026-11-22, 2026-11-22T08:30, 2026-11-22T08:30:00.5+01:00.

    Raises:
        ValueError: the text is nothing of this; it says what would be.
    """
    words = text.strip()
    if (ago := _AGO.fullmatch(words)) is not None:
        return max(now - int(ago[1]) * SECONDS[ago[2]], 0.0)
    if words == "now":
        return now
    try:
        moment = datetime.fromisoformat(words)
        return max((moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp(), 0.0)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is no moment; give how long ago (30m, 2h, 7d), a date (2026-11-22) or a time "
            "(2026-11-22T08:30:00Z, UTC where no zone is given)"
        ) from None
