"""Finds, in the history of our own side, what became of a probe's login; never writes, and never waits long."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec

from pgoauthd.errors import StateError
from pgoauthd.probing.steps import Seen
from pgoauthd.runtime.history import History, Wanted

PATIENCE_SECONDS = 2.0
"""An outcome is saved a fraction of a second after the server has logged it."""
_POLL_SECONDS = 0.05


def newest_id(path: Path) -> int:
    """Of the outcomes there are before a probe; StateError."""
    with History(path) as history:
        return history.newest_id()


def find_outcome(path: Path, after: int, user: str, seen: Seen) -> dict[str, Any] | None:
    """The outcome of the login from our port that failed, among those that come after `after`; StateError.

    The address is not compared where only one login fits: on its way it may have become another.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    with History(path) as history:
        while True:
            found = [
                outcome for outcome in _refusals(history, after, user) if outcome["client_port"] == seen.local_port
            ]
            if found:
                return next((one for one in found if one["client_addr"] == seen.local_address), found[0])
            if time.monotonic() > deadline:
                return None
            time.sleep(_POLL_SECONDS)


def _refusals(history: History, after: int, user: str) -> list[dict[str, Any]]:
    wanted = Wanted(roles=(user,), results=("refused", "abandoned"))
    try:
        return [msgspec.json.decode(line) for line in history.outcomes(wanted, after=after)]
    except msgspec.DecodeError as error:
        raise StateError(f"{history.path}: has an outcome that cannot be read") from error
