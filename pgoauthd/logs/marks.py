"""The beginnings of messages that matter, as one expression for readers to search logs by; it understands none."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby

from pgoauthd.logs.sayings import LOG_STARTS


def _any_of(texts: Iterable[str]) -> bytes:
    """One branch for each first letter: what a search spends its time on is messages that fit none."""
    branches = groupby(sorted(texts), key=lambda text: text[0])
    return b"|".join(
        re.escape(letter.encode()) + b"(?:" + b"|".join(re.escape(text[1:].encode()) for text in group) + b")"
        for letter, group in branches
    )


STARTS = b"(?:" + _any_of(LOG_STARTS) + b")"
"""Any of LOG_STARTS."""
LEVELS = {b"LOG": "LOG", b"WARNING": "WARNING", b"DEBUG": "DEBUG", b"FATAL": "FATAL"}
"""`sayings.LEVELS` as a log has them."""
