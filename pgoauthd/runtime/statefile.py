"""The state file on disk: locked for one daemon, opened, made or brought up to date; never writes a row of work.

A file that cannot be used is moved aside, with its name, the reason and the time, and never deleted: validation goes on
with an empty state rather than not at all.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from pgoauthd.errors import StateError
from pgoauthd.runtime import stateschema
from pgoauthd.runtime.statemigration import make, migrate

FILE_MODE = 0o600
APPLICATION_ID = 0x70676F61
"""`PRAGMA application_id`: "pgoa"."""
BUSY_SECONDS = 5.0
"""How long a write waits for a reader that holds up a checkpoint, or the like."""
_DAMAGED = "-damaged"
"""Ending of the name of an empty file that says so of the state beside it."""
_FILES = ("", "-wal", "-shm")
"""What SQLite appends to the name."""
_INCREMENTAL = 2
"""Of `PRAGMA auto_vacuum`."""


class DamagedError(Exception):
    """The file cannot be used as what it is; the text says why."""


class NewerError(DamagedError):
    """A later version has written it."""


class Lock(NamedTuple):
    """The state is this process's until the descriptor is closed."""

    descriptor: int
    known: bool
    """It is not the first time that a state is here."""


_KNOWN = b"state\n"
"""In the lock file of a state that could be used once."""


def lock(path: Path) -> Lock:
    """Hold the state at `path` for this process; StateError if another one has it.

    The lock is on a file of its own, so that others may read the state meanwhile.
    """
    beside = Path(f"{path}-lock")
    descriptor = -1
    try:
        descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if descriptor >= 0:
            os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise StateError(_in_use(path)) from error
        raise StateError(_unusable(path, error.strerror or str(error))) from error
    return Lock(descriptor, known=os.fstat(descriptor).st_size > 0)


def remember(held: Lock) -> None:
    """The file is a state of pgoauthd: from now on, where it cannot be used, it is damaged and not somebody else's."""
    if not held.known:
        with suppress(OSError):  # no space: the next start notes it
            os.pwrite(held.descriptor, _KNOWN, 0)


def open_state(path: Path) -> sqlite3.Connection:
    """Open the state, make it if there is none, bring an older one up to date.

    StateError if it cannot be opened or is no state of pgoauthd's; DamagedError if it is one that cannot be used.
    """
    if Path(f"{path}{_DAMAGED}").is_file():
        raise DamagedError("a save has found it damaged")
    connection: sqlite3.Connection | None = None
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE))
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        _prepare(connection, path)
    except BaseException as error:
        if connection is not None:
            connection.close()
        if isinstance(error, OSError):
            raise StateError(_unusable(path, error.strerror or str(error))) from error
        if isinstance(error, sqlite3.OperationalError) and (code := _code(error)) != sqlite3.SQLITE_ERROR:
            busy = code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
            raise StateError(_in_use(path) if busy else _unusable(path, str(error))) from error
        if isinstance(error, sqlite3.Error | msgspec.MsgspecError | ValueError | TypeError):
            raise DamagedError(_what(error)) from error
        raise
    return connection


def keep_aside(path: Path, why: str, now: float) -> Path:
    """Move the state, whatever it is, to a name of its own beside it: <path>.<why>-<UTC time>."""
    moment = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    aside = Path(f"{path}.{why}-{moment}")
    number = 1
    while aside.exists():
        number += 1
        aside = Path(f"{path}.{why}-{moment}-{number}")
    for ending in reversed(_FILES):  # the file itself last: where it is, all of it is
        with suppress(FileNotFoundError):
            Path(f"{path}{ending}").rename(f"{aside}{ending}")
    with suppress(OSError):  # none is there, or something else that has the name
        Path(f"{path}{_DAMAGED}").unlink()
    return aside


def note_damage(path: Path, error: BaseException) -> None:
    """Have the next start keep the state aside, if it is damage that a save has met with."""
    if _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        Path(f"{path}{_DAMAGED}").touch(FILE_MODE)


def _code(error: BaseException) -> int:
    """SQLite's result code; SQLITE_ERROR stands for what the tables do not have as they should, too."""
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)) & 0xFF


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version <= 0 and connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID:
        raise DamagedError(f"state version {version}")
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if version == 0 and tables:
        raise StateError(f"{path}: is a database, but no state of pgoauthd; give state.path another name")
    if version > stateschema.VERSION:
        raise NewerError(f"state version {version}, this pgoauthd knows {stateschema.VERSION}")
    if version == 0:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    if version < stateschema.VERSION:
        _bring_up_to_date(connection, version)
    _let_shrink(connection)
    _check(connection)


def _bring_up_to_date(connection: sqlite3.Connection, version: int) -> None:
    connection.execute("BEGIN EXCLUSIVE")
    if version == 0:
        make(connection)
    else:
        migrate(connection, version)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {stateschema.VERSION}")
    connection.execute("COMMIT")


def _let_shrink(connection: sqlite3.Connection) -> None:
    """A file of version 1 cannot; a kill may have come between its migration and this."""
    if connection.execute("PRAGMA auto_vacuum").fetchone()[0] != _INCREMENTAL:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("VACUUM")


def _check(connection: sqlite3.Connection) -> None:
    """Look for damage in what is read at the start; the history may be too large for that."""
    for table in ("head", "cluster", "session", "silenced", "verdict", "counter"):
        (found,) = connection.execute(f"PRAGMA quick_check({table})").fetchone()
        if found != "ok":
            raise DamagedError(f"table {table}: {found}")
    connection.execute("SELECT body FROM outcome ORDER BY id DESC LIMIT 1").fetchone()  # where the next ones will be


def _what(error: Exception) -> str:
    """Not the text of an error of decoding, which may have a piece of the state in it."""
    return str(error) if isinstance(error, sqlite3.Error) else type(error).__name__


def _in_use(path: Path) -> str:
    return f"{path}: another pgoauthd uses this state; stop it, or give this one a state.path of its own"


def _unusable(path: Path, what: str) -> str:
    return f"{path}: the state cannot be opened ({what}); check that the directory is there and writable"
