"""Verdicts that wait for their session's log lines; bounded by number and age, never matched by guess."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Self

import msgspec

from pgoauthd.correlation.changes import Changes
from pgoauthd.correlation.redacting import redact_texts
from pgoauthd.mapping.prediction import MapPrediction
from pgoauthd.tokens.verdict import Verdict


class SessionVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict with the session that it was asked for. Times are seconds since the epoch, `seconds` our own share."""

    session_id: str
    pid: int
    time: float
    seconds: float
    verdict: Verdict
    role: str
    database: str | None = None
    client_addr: str | None = None
    client_port: int | None = None
    hba_file: str | None = None
    hba_line: int | None = None
    issuer: str | None = None
    usermap: str | None = None
    delegated: bool = False
    server_version: int | None = None
    """PG_VERSION_NUM of the server that asked."""
    mapping: MapPrediction | None = None
    """What pg_ident.conf says about it, where there is a map and the file could be read."""

    def at_rest(self) -> Self:
        """It as it is written down, in which what clients chose is as an outcome shows it: without tokens."""
        return redact_texts(self, ("role", "database", "client_addr", "hba_file", "usermap"))


class VerdictChanges(msgspec.Struct, frozen=True, kw_only=True):
    """How the verdicts that wait differ from those that waited before."""

    added: tuple[SessionVerdict, ...] = ()
    gone: tuple[str, ...] = ()
    """Session ids."""
    fresh: frozenset[str] = frozenset()
    """Of those added: no save has had them before."""

    @property
    def matter(self) -> bool:
        """There are any."""
        return bool(self.added or self.gone)


class Verdicts:
    """Verdicts that wait, oldest first. Ages are counted by the clock that hands in `now`."""

    def __init__(self, *, max_age: float, max_count: int = 100_000) -> None:
        self._waiting: OrderedDict[str, SessionVerdict] = OrderedDict()
        self._since: dict[str, float] = {}
        self._latest_of_pid: dict[int, str] = {}
        self._max_age = max_age
        self._max_count = max_count
        self._to_save: Changes[str] = Changes()

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[SessionVerdict]:
        return iter(self._waiting.values())

    def add(self, verdict: SessionVerdict, now: float) -> int:
        """Keep a verdict, the last one of its session; the number given up for lack of room (0 or 1)."""
        self._keep(verdict, now)
        self._to_save.changed(verdict.session_id)
        if len(self._waiting) <= self._max_count:
            return 0
        self._pop(next(iter(self._waiting)))
        return 1

    def take_changes(self) -> VerdictChanges:
        """What to save of those that wait that was not taken before."""
        taken = self._to_save.take(self._waiting)
        added = tuple(self._waiting[it].at_rest() for it in taken.changed)
        return VerdictChanges(added=added, gone=tuple(taken.gone), fresh=taken.fresh)

    def restore(self, saved: Iterable[SessionVerdict], now: float) -> None:
        """Keep verdicts that the last run has saved."""
        for verdict in saved:
            self._keep(verdict, now)
            self._to_save.was_saved(verdict.session_id)

    def take(self, session_id: str | None, pid: int, started: float | None) -> SessionVerdict | None:
        """The verdict on a session; it is not there afterwards.

        A log without session ids (stderr without %c) gives the pid and, to the second, the start. The server takes
        the start of the session id before it logs the connection, so the id's second may be the one before.
        """
        if session_id is not None:
            return self._pop(session_id)
        if started is not None:
            second = int(started)
            return self._pop(f"{second:x}.{pid:x}") or self._pop(f"{second - 1:x}.{pid:x}")
        latest = self._latest_of_pid.get(pid)
        return self._pop(latest) if latest is not None else None

    def expire(self, now: float, max_age: float | None = None) -> int:
        """Drop verdicts older than the limit, which no log line asked for; how many there were."""
        limit = self._max_age if max_age is None else max_age
        over = list(itertools.takewhile(lambda session_id: now - self._since[session_id] > limit, self._waiting))
        for session_id in over:
            self._pop(session_id)
        return len(over)

    def _keep(self, verdict: SessionVerdict, now: float) -> None:
        self._pop(verdict.session_id)
        self._waiting[verdict.session_id] = verdict
        self._since[verdict.session_id] = now
        self._latest_of_pid[verdict.pid] = verdict.session_id

    def _pop(self, session_id: str) -> SessionVerdict | None:
        found = self._waiting.pop(session_id, None)
        if found is not None:
            del self._since[session_id]
            self._to_save.gone(session_id)
            if self._latest_of_pid.get(found.pid) == session_id:
                del self._latest_of_pid[found.pid]
        return found
