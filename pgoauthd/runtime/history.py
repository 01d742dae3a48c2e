"""Reads the outcomes kept in a state file, while a daemon writes it or not; never writes, never decides what is kept.

Every read is short, because SQLite cannot shorten its write-ahead log past a reader that is at work.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from ipaddress import ip_network
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import msgspec

from pgoauthd.errors import StateError
from pgoauthd.runtime.stateschema import VERSION

WINDOW = 2000
"""Ids looked at in one read. They follow each other without gaps worth the name: SQLite counts them up."""
PATIENCE_SECONDS = 5.0
"""How long a read waits where the daemon, which starts or ends, has the file to itself."""

ANY = "*"
"""Stands for any text, an empty one too, in `roles`, `identities` and `clients`."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which outcomes; an empty tuple means all, and of several values any will do."""

    since: float | None = None
    """Seconds since the epoch, inclusive."""
    until: float | None = None
    """Exclusive."""
    clusters: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    identities: tuple[str, ...] = ()
    clients: tuple[str, ...] = ()
    """As in the outcome, or networks with a slash: `ipaddress.ip_network` must be able to read those."""


class History:
    """The state file at `path`, open for reading; a context manager. StateError where that cannot be.

    Any read may raise StateError, too. Outcomes are JSON lines without the newline, byte for byte as they were saved.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with _told(path):
            found = path.stat()
            _check_file(path, found)
            self._file = (found.st_dev, found.st_ino)
            self._connection = sqlite3.connect(_uri(path), uri=True, timeout=PATIENCE_SECONDS, isolation_level=None)
        self._connection.create_function("is_within", 2, _is_within, deterministic=True)
        try:
            self._check_version()
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def outcomes(self, wanted: Wanted, *, after: int = 0, upto: int | None = None) -> Iterator[bytes]:
        """What is wanted of the ids greater than `after`, at most `upto` or the newest of now; oldest first."""
        first, last = self._span(wanted, after, upto)
        select, values = _select(wanted)
        for start in range(first - 1, last, WINDOW):
            for (body,) in self._rows(f"{select} ORDER BY id", start, min(start + WINDOW, last), *values):
                yield body

    def last(self, wanted: Wanted, count: int, *, upto: int | None = None) -> list[bytes]:
        """The newest `count` of what is wanted, in ascending order.

        Each read goes forwards, because a disk that is read backwards takes six times as long.
        """
        first, last = self._span(wanted, 0, upto)
        select, values = _select(wanted)
        pages: list[list[tuple[bytes]]] = []
        missing = count
        while last >= first and missing > 0:
            pages.append(self._rows(f"{select} ORDER BY id", last - WINDOW, last, *values)[-missing:])
            missing -= len(pages[-1])
            last -= WINDOW
        return [body for page in reversed(pages) for (body,) in page]

    def newest_id(self) -> int:
        """Of the outcomes committed by now; 0 where there is none."""
        newest: int | None = self._number("SELECT max(id) FROM outcome")
        return newest or 0

    def oldest_time(self) -> float | None:
        """Seconds since the epoch; None where there is no outcome."""
        oldest: float | None = self._number("SELECT min(time) FROM outcome")
        return oldest

    def newest_time(self) -> float | None:
        """Seconds since the epoch; None where there is no outcome."""
        newest: float | None = self._number("SELECT max(time) FROM outcome")
        return newest

    def clusters(self) -> tuple[str, ...]:
        """Names of the clusters that the state knows, sorted."""
        return tuple(name for (name,) in self._rows("SELECT name FROM cluster ORDER BY name"))

    def is_replaced(self) -> bool:
        """Whether another file has taken the path: what is open here is the one that was put aside."""
        try:
            found = self.path.stat()
        except OSError:
            return False
        return (found.st_dev, found.st_ino) != self._file

    def _span(self, wanted: Wanted, after: int, upto: int | None) -> tuple[int, int]:
        """The first and the last id to look at. Times rise with ids only nearly, so each row is still to be judged.

        The index on time finds them. Whoever goes on `after` an id has but little before him, and needs no index.
        """
        if after or (wanted.since is None and wanted.until is None):
            (span,) = self._rows("SELECT (SELECT min(id) FROM outcome), (SELECT max(id) FROM outcome)")
        else:
            query = "SELECT min(id), max(id) FROM outcome WHERE time >= ? AND time < ?"
            (span,) = self._rows(query, *_times(wanted))
        if span[0] is None:
            return 1, 0
        return max(after + 1, span[0]), span[1] if upto is None else min(upto, span[1])

    def _check_version(self) -> None:
        version = self._number("PRAGMA user_version") or 0
        if version > VERSION:
            raise StateError(
                f"{self.path}: was written by a newer pgoauthd (state version {version}, this one knows {VERSION}); "
                "ask with the newer version"
            )
        if 0 < version < VERSION:
            raise StateError(
                f"{self.path}: was written by an older pgoauthd (state version {version}, which kept no outcomes); "
                "start the daemon of this version once, it brings the file up to date"
            )
        if not version or not self._rows("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'outcome'"):
            raise StateError(f"{self.path}: is not a state file of pgoauthd; give the file that [state] path names")

    def _number(self, query: str) -> Any:  # noqa: ANN401 - what SQLite has there
        ((number,),) = self._rows(query)
        return number

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with _told(self.path):
            return self._connection.execute(query, values).fetchall()


def _uri(path: Path) -> str:
    """With an empty authority, for which two slashes at the start of the path would be taken otherwise."""
    return f"file://{quote(os.fsencode(path.absolute()))}?mode=ro"


def _times(wanted: Wanted) -> tuple[float, float]:
    since = wanted.since if wanted.since is not None else float("-inf")
    return since, wanted.until if wanted.until is not None else float("inf")


def _select(wanted: Wanted) -> tuple[str, list[object]]:
    """SQL to read a range of ids (two parameters), and the values of the parameters after them; no order yet."""
    sql = "SELECT body FROM outcome NOT INDEXED WHERE id > ? AND id <= ?"
    values: list[object] = []
    if wanted.since is not None or wanted.until is not None:
        sql += " AND time >= ? AND time < ?"
        values += _times(wanted)
    for column, texts in _texts(wanted).items():
        if texts:
            sql += f" AND ({' OR '.join(_comparison(column, text) for text in texts)})"
            values += [_value(column, text) for text in texts]
    return sql, values


def _texts(wanted: Wanted) -> dict[str, tuple[str, ...]]:
    """The texts asked for, by the column that must have one of them."""
    return {
        "cluster": wanted.clusters,
        "result": wanted.results,
        "reason": wanted.reasons,
        "method": wanted.methods,
        "role": wanted.roles,
        "identity": wanted.identities,
        "client_addr": wanted.clients,
    }


_WILD = ("role", "identity", "client_addr")
"""The columns that may be asked for with ANY."""


def _comparison(column: str, text: str) -> str:
    if column == "client_addr" and "/" in text:
        return "is_within(client_addr, ?)"
    return f"{column} GLOB ?" if column in _WILD and ANY in text else f"{column} = ?"


def _value(column: str, text: str) -> str:
    """As _comparison takes it: of GLOB's own signs only ANY keeps its meaning."""
    if column in _WILD and ANY in text:
        return text.replace("[", "[[]").replace("?", "[?]")
    return text


def _is_within(address: str | None, network: str) -> bool:
    """Whether an address as PostgreSQL logs it belongs to the network; a host name and [local] belong to none.

    By hand, as `ipaddress` takes ten times as long for each of perhaps a million rows.
    """
    if address is None:
        return False
    family, mask, base = _network(network)
    try:
        packed = socket.inet_pton(family, address.partition("%")[0])
    except OSError:
        return False
    return int.from_bytes(packed) & mask == base


@lru_cache
def _network(text: str) -> tuple[socket.AddressFamily, int, int]:
    """Address family, mask and address."""
    network = ip_network(text, strict=False)
    family = socket.AF_INET if network.version == 4 else socket.AF_INET6  # noqa: PLR2004 - that is its name
    return family, int(network.netmask), int(network.network_address)


def _check_file(path: Path, found: os.stat_result) -> None:
    """SQLite would wait at a FIFO, and would not say why it cannot open a file."""
    if not stat.S_ISREG(found.st_mode):
        raise StateError(f"{path}: is not a file; give the file that [state] path names")
    if not os.access(path, os.R_OK):
        raise PermissionError


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn what the system and SQLite say into what a person can act on."""
    try:
        yield
    except FileNotFoundError:
        raise StateError(
            f"{path}: there is no such file; start the daemon, or name the file with --state or [state] path"
        ) from None
    except PermissionError:
        raise StateError(
            f"{path}: may not be read by you; only root and the user that the daemon runs as may (sudo -u pgoauthd …)"
        ) from None
    except OSError as error:
        raise StateError(f"{path}: cannot be read ({error.strerror}); check the path and the disk") from error
    except sqlite3.Error as error:
        raise StateError(f"{path}: {_explained(error)}") from error


def _explained(error: sqlite3.Error) -> str:
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return "another process has it to itself; try again when the daemon has started, or has ended"
        case sqlite3.SQLITE_NOTADB:
            return "is not a state file of pgoauthd; give the file that [state] path names"
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return (
                f"cannot be opened ({error}): beside it SQLite keeps files with the endings -wal and -shm; ask as root "
                "or as the user that the daemon runs as, or copy all three to where you may write"
            )
        case sqlite3.SQLITE_CORRUPT:
            return f"is damaged ({error}); stop the daemon, move the file aside and start it with an empty one"
    return f"cannot be read ({error}); check the disk"
