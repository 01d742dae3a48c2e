"""Which lines a server has written that nobody has read: Gaps, from the numbers that it gives the lines of a session.

Most lines are none of ours and are skipped unread, so a number that is missing says nothing yet. But every login leaves
the same lines in the same order. One of them is known to be lost where a later line of the login shows that it must
have come, the numbers leave room for it, and logins that began shortly before and after have left such a line, so the
server was writing them. All else is not reported: a false alarm would be worse than none.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable

import msgspec

from pgoauthd.logs.events import AuthEvent, EventKind, Saying

UNKNOWN_SECONDS = 60
"""Logins that began so soon after the first one seen may have left lines before what is read: a server that looks up
its clients' names (log_hostname) may wait for that before it writes anything."""
AROUND_SECONDS = 60
"""So near must logins have begun for what they say of how the server is configured: who switches log_connections off
and on again takes longer."""
MAX_SESSIONS = 10_000
MAX_SUSPICIONS = 200
MAX_SECONDS = 600

RECEIVED, AUTHENTICATED, AUTHORIZED = 1, 2, 4
"""The lines of a login, as bits: this is done for every event, and an Enum's are slow to combine."""
LINES = (RECEIVED, AUTHENTICATED, AUTHORIZED)
BEFORE: dict[EventKind, tuple[int, int]] = {
    EventKind.RECEIVED: (RECEIVED, 0),
    EventKind.AUTHENTICATED: (AUTHENTICATED, RECEIVED),
    EventKind.AUTHORIZED: (AUTHORIZED, RECEIVED | AUTHENTICATED),
    EventKind.READY: (0, RECEIVED | AUTHENTICATED | AUTHORIZED),
    EventKind.DISCONNECTED: (0, RECEIVED | AUTHENTICATED | AUTHORIZED),
    EventKind.CAUSE: (0, RECEIVED),
    EventKind.LOST: (0, RECEIVED),
    EventKind.FATAL: (0, RECEIVED),
}
"""By kind of event: which line it is, and which ones a login has left before it where log_connections wants them."""
BEFORE_SAYING: dict[Saying | None, int] = {
    Saying.IDENTITY_MISMATCH: RECEIVED | AUTHENTICATED,
    Saying.USERMAP_NO_MATCH: RECEIVED | AUTHENTICATED,
    Saying.ROLE_MISSING: RECEIVED | AUTHENTICATED | AUTHORIZED,
    Saying.ROLE_NOLOGIN: RECEIVED | AUTHENTICATED | AUTHORIZED,
    Saying.ROLE_CONNECTION_LIMIT: RECEIVED | AUTHENTICATED | AUTHORIZED,
    Saying.DATABASE_MISSING: RECEIVED | AUTHENTICATED | AUTHORIZED,
    Saying.DATABASE_NO_CONNECT: RECEIVED | AUTHENTICATED | AUTHORIZED,
    Saying.DATABASE_CONNECTION_LIMIT: RECEIVED | AUTHENTICATED | AUTHORIZED,
}
"""Refusals that show more: check_usermap() comes after set_authn_id(), and InitPostgres() looks for role and database
after PerformAuthentication()."""


class _Session(msgspec.Struct, gc=False):
    start: int
    """Seconds, as its id says; never compared with the times of lines, whose zone may be configured wrongly."""
    seen: int = 0
    line: int = 0
    """The number of its last line that was read."""


class _Suspicion(msgspec.Struct):
    """Lines that a login should have left. At most `room` of them can have been there."""

    start: int
    missing: int
    room: int


class Gaps:
    """What is missing of one file that is read without a break. After a break another one begins, knowing nothing."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        """In the order in which they were first seen."""
        self._unknown_until: int | None = None
        """Of sessions that began until then, lines may have been read and forgotten, or never been read. None as long
        as no session has begun: those that were there before may be of any age."""
        self._written: dict[int, dict[int, None]] = {line: {} for line in LINES}
        """When logins began that have left such a line, in the order in which that was seen."""
        self._suspicions: deque[_Suspicion] = deque(maxlen=MAX_SUSPICIONS)

    def find(self, events: Iterable[AuthEvent]) -> int:
        """Take events in file order. How many lines are known to be lost that were not reported before."""
        news: int | None = None
        for event in events:
            known = BEFORE.get(event.kind)
            if known is not None and event.session_id is not None and event.line_num is not None:
                news = self._take(event, event.session_id, event.line_num, *known) or news
        return self._settle_all(news) if news is not None and self._suspicions else 0

    def _take(self, event: AuthEvent, session_id: str, number: int, line: int, before: int) -> int | None:
        """Note a line. When the login began, if it shows something that was not known before."""
        session = self._sessions.get(session_id)
        if session is None:
            session = self._begin(session_id)
        has_news = False
        if line:
            session.seen |= line
            if self._unknown_until is None and line == RECEIVED:
                self._unknown_until = session.start + UNKNOWN_SECONDS
            has_news = session.start not in self._written[line] and self._note_written(line, session.start)
        elif event.saying is not None:
            before = BEFORE_SAYING.get(event.saying, before)
        if missing := before & ~session.seen:
            session.seen |= missing
            has_news |= self._suspect(event, session, missing, number - session.line - 1)
        session.line = number
        return session.start if has_news else None

    def _begin(self, session_id: str) -> _Session:
        session = self._sessions[session_id] = _Session(_start_of(session_id))
        if len(self._sessions) > MAX_SESSIONS:
            _, forgotten = self._sessions.popitem(last=False)
            if self._unknown_until is not None:
                self._unknown_until = max(self._unknown_until, forgotten.start)
        return session

    def _note_written(self, line: int, start: int) -> bool:
        seconds = self._written[line]
        seconds[start] = None
        if len(seconds) > MAX_SECONDS:
            del seconds[next(iter(seconds))]
        return True

    def _suspect(self, event: AuthEvent, session: _Session, missing: int, room: int) -> bool:
        if room <= 0 or self._unknown_until is None or session.start <= self._unknown_until:
            return False
        if session.line == 0 and event.client_addr is None and event.kind is EventKind.FATAL:
            return False  # workers of the server fail, too, and are no logins
        written = sum(line for line in LINES if line & missing and self._is_written(line, session.start, -1))
        if written:
            self._suspicions.append(_Suspicion(session.start, written, room))
        return bool(written)

    def _settle_all(self, now: int) -> int:
        """What is known of suspicions by what logins show that began until `now`."""
        lost = sum(map(self._settle, self._suspicions))
        unsettled = (it for it in self._suspicions if it.missing and it.room and it.start + AROUND_SECONDS >= now)
        self._suspicions = deque(unsettled, MAX_SUSPICIONS)
        return lost

    def _settle(self, suspicion: _Suspicion) -> int:
        """How many lines of a suspicion are known to be lost now; they are in it no more."""
        lost = [it for it in LINES if it & suspicion.missing and self._is_written(it, suspicion.start, 1)]
        del lost[suspicion.room :]
        suspicion.missing &= ~sum(lost)
        suspicion.room -= len(lost)
        return len(lost)

    def _is_written(self, line: int, start: int, direction: int) -> bool:
        """Whether a login that began shortly before (-1) or after (1), or at the same time, has left such a line."""
        seconds = self._written[line]
        return any(start + direction * away in seconds for away in range(AROUND_SECONDS + 1))


def _start_of(session_id: str) -> int:
    """When a session began, seconds since the epoch; 0 where its id is damaged: of such a session nothing is said."""
    try:
        return int(session_id.partition(".")[0], 16)
    except ValueError:
        return 0
