"""How long the history lasts: deletes the oldest outcomes by age and by size; never touches anything else."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

BATCH = 2_000
"""Outcomes deleted at once: a few milliseconds of the disk."""
MAX_BATCHES = 50
"""At one time; the rest the next time."""
MAX_PAGES = 5_000
"""Given back to the file system at one time, 20 MB."""
SPARE_SHARE = 0.02
"""So much of the allowed size is made free when it is exceeded, so that not every save exceeds it again."""


class Retention(NamedTuple):
    """What is kept."""

    seconds: float
    """Age of the oldest outcome, by its time."""
    max_bytes: int
    """In use in the state file, all of the state included."""


class Tidied(NamedTuple):
    """What was done, and how large the state is now."""

    for_age: int
    for_size: int
    used_bytes: int


def tidy(connection: sqlite3.Connection, retention: Retention, now: float) -> Tidied:
    """Delete what is older than is to be kept, then the oldest until the size is right; in batches."""
    for_age = _delete_too_old(connection, now - retention.seconds)
    for_size = _delete_too_many(connection, retention.max_bytes)
    # One page for each row of this statement, and only a script takes rows that have no columns.
    connection.executescript(f"PRAGMA incremental_vacuum({MAX_PAGES})")
    return Tidied(for_age, for_size, _used_bytes(connection))


def _delete_too_old(connection: sqlite3.Connection, before: float) -> int:
    query = "DELETE FROM outcome WHERE id IN (SELECT id FROM outcome WHERE time < ? LIMIT ?)"
    deleted = 0
    for _ in range(MAX_BATCHES):
        count = connection.execute(query, (before, BATCH)).rowcount
        deleted += count
        if count < BATCH:
            break
    return deleted


def _delete_too_many(connection: sqlite3.Connection, max_bytes: int) -> int:
    if _used_bytes(connection) <= max_bytes:
        return 0
    query = "DELETE FROM outcome WHERE id IN (SELECT id FROM outcome ORDER BY id LIMIT ?)"
    deleted = 0
    for _ in range(MAX_BATCHES):
        count = connection.execute(query, (BATCH,)).rowcount
        deleted += count
        if not count or _used_bytes(connection) <= max_bytes * (1 - SPARE_SHARE):
            break
    return deleted


def _used_bytes(connection: sqlite3.Connection) -> int:
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)
