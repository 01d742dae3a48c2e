"""Verdicts that wait for their session's log lines; bounded by number and age, never matched by guess."""

from __future__ import annotations

from collections import OrderedDict

import msgspec

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


class Verdicts:
    """Verdicts by session id, oldest first."""

    def __init__(self, *, max_age: float, max_count: int = 100_000) -> None:
        self._waiting: OrderedDict[str, SessionVerdict] = OrderedDict()
        self._max_age = max_age
        self._max_count = max_count

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, verdict: SessionVerdict) -> int:
        """Keep a verdict; the number of verdicts given up for lack of room (0 or 1)."""
        self._waiting[verdict.session_id] = verdict
        self._waiting.move_to_end(verdict.session_id)
        if len(self._waiting) <= self._max_count:
            return 0
        self._waiting.popitem(last=False)
        return 1

    def take(self, *session_ids: str) -> SessionVerdict | None:
        """The verdict of the first of these session ids that has one; it is not there afterwards."""
        for session_id in session_ids:
            if (found := self._waiting.pop(session_id, None)) is not None:
                return found
        return None

    def expire(self, now: float) -> list[SessionVerdict]:
        """Verdicts older than the limit, which no log line asked for; they are not there afterwards."""
        expired = []
        while self._waiting:
            oldest = next(iter(self._waiting.values()))
            if now - oldest.time <= self._max_age:
                break
            expired.append(self._waiting.pop(oldest.session_id))
        return expired
