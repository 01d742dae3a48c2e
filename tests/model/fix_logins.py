"""Logins as a model knows them: what the server writes of each, and what must be decided of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pgoauthd.correlation.verdicts import SessionVerdict
from pgoauthd.logs.readers import LogFormat
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import Verdict
from tests.logs.fix_lines import Entry, render

RECEIVED = "connection received: host=10.0.0.7 port=50001"
READY = "connection ready: setup total=2.512 ms, fork=0.311 ms, authentication=1.204 ms"
FAILED = 'OAuth bearer authentication failed for user "{role}"'
NO_ENTRY = 'no pg_hba.conf entry for host "10.0.0.7", user "{role}", database "app", no encryption'
HBA = (
    'Connection matched file "/etc/pg_hba.conf" line 6: "host all all all oauth issuer=https://idp.example map=people"'
)
ROLES = ("alice", "zoë", "Ångström 李雷")
"""The last ones have characters of two and of three bytes, to be cut in the middle."""


class Kind(StrEnum):
    """How an attempt goes."""

    SUCCESS = "success"
    SETTLED = "settled"
    """Its last line is `connection authorized`, as of a server that logs nothing later."""
    ROLE_MISSING = "role missing"
    NO_MATCH = "no match"
    DISCOVERY = "discovery"
    EXPIRED = "expired"
    """As a discovery in the log, and only the verdict tells them apart."""
    NO_ENTRY = "no entry"
    GONE = "gone"


REASONS = {
    Kind.SUCCESS: Reason.OK,
    Kind.SETTLED: Reason.OK,
    Kind.ROLE_MISSING: Reason.ROLE_MISSING,
    Kind.NO_MATCH: Reason.USERMAP_NO_MATCH,
    Kind.DISCOVERY: Reason.DISCOVERY,
    Kind.EXPIRED: Reason.EXPIRED,
    Kind.NO_ENTRY: Reason.HBA_NO_ENTRY,
    Kind.GONE: Reason.CLIENT_GONE,
}
_AUTHENTICATED = frozenset({Kind.SUCCESS, Kind.SETTLED, Kind.ROLE_MISSING, Kind.NO_MATCH})


@dataclass(eq=False)
class Login:
    """One attempt. `before` says before which of its entries the verdict comes; None if there is none."""

    cluster: str
    kind: Kind
    pid: int
    entries: tuple[Entry, ...]
    log_format: LogFormat
    before: int | None
    written: int = 0
    """Entries that are written or begun."""
    damaged: bool = False
    """A line of it was destroyed before it was read for good."""

    disordered: bool = False
    """Its lines may be handed on in another order."""

    @property
    def reason(self) -> Reason:
        return REASONS[self.kind]

    @property
    def lacks_verdict(self) -> bool:
        """The log shows that a token was good of which nobody asked."""
        return self.kind in _AUTHENTICATED and self.before is None

    @property
    def verdict(self) -> SessionVerdict:
        refused = self.kind is Kind.EXPIRED
        reason = Reason.EXPIRED if refused else Reason.OK
        first = self.entries[0]
        # stderr has no session ids here: process id and start stand in, and the start is that of the first entry.
        with_id = self.log_format is not LogFormat.STDERR
        return SessionVerdict(
            session_id=first.session_id if with_id else f"{int(first.time):x}.{self.pid:x}",
            pid=self.pid,
            time=first.time,
            seconds=0.0004,
            verdict=Verdict(authorized=not refused, reason=reason, message=reason.sentence, authn_id="alice@example"),
            role="alice",
            database="app",
            issuer="https://idp.example",
        )

    def __repr__(self) -> str:
        return f"{self.cluster}:{self.pid} {self.kind} {self.written}/{len(self.entries)}"


def make_login(cluster: str, kind: Kind, *, pid: int, moment: int, log_format: LogFormat, before: int | None) -> Login:
    """A login that begins at `moment`, in milliseconds; an expired token without a verdict is a discovery."""
    if kind is Kind.EXPIRED:
        before = before or 0
    if kind in (Kind.DISCOVERY, Kind.NO_ENTRY, Kind.GONE):
        before = None
    role = ROLES[pid % len(ROLES)]
    first = Entry(message=RECEIVED, pid=pid, milliseconds=moment, role=None, database=None)
    rest = tuple(
        Entry(
            message=message,
            severity=severity,
            detail=detail,
            pid=pid,
            line_num=1 + place,
            milliseconds=moment + place,
            role=role,
        )
        for place, (severity, message, detail) in enumerate(_said(kind, role), 1)
    )
    return Login(cluster, kind, pid, (first, *rest), log_format, before)


def _said(kind: Kind, role: str) -> list[tuple[str, str, str | None]]:
    """Severity, message and DETAIL of all entries but the first."""
    authenticated = (
        "LOG",
        'connection authenticated: identity="alice@example" method=oauth (/etc/pg_hba.conf:6)',
        None,
    )
    authorized = ("LOG", f"connection authorized: user={role} database=app application_name=psql", None)
    over = f"disconnection: session time: 0:00:00.120 user={role} database=app host=10.0.0.7 port=50001"
    failed = ("FATAL", FAILED.format(role=role), HBA)
    match kind:
        case Kind.SUCCESS:
            return [authenticated, authorized, ("LOG", READY, None), ("LOG", over, None)]
        case Kind.SETTLED:
            return [authenticated, authorized]
        case Kind.ROLE_MISSING:
            return [authenticated, authorized, ("FATAL", f'role "{role}" does not exist', None)]
        case Kind.NO_MATCH:
            said = f'no match in usermap "people" for user "{role}" authenticated as "alice@example"'
            return [authenticated, ("LOG", said, None), failed]
        case Kind.DISCOVERY | Kind.EXPIRED:
            return [failed]
        case Kind.NO_ENTRY:
            return [("FATAL", NO_ENTRY.format(role=role), None)]
        case Kind.GONE:
            return []


def noise(log_format: LogFormat, moment: int, size: int = 0) -> bytes:
    """An entry that is none of ours and quotes one that would be; of `size` bytes, where it is at least as long."""
    quoted = f'SELECT \'ä\n2026-11-22 01:11:56.131 UTC [7] a@b LOG:  {RECEIVED}\n{{"timestamp":"é"}}\''
    made = render(log_format, Entry(message=f"duration: 0.1 ms  statement: {quoted}", pid=7, milliseconds=moment))
    padding = "x" * max(size - len(made), 0)
    said = f"duration: 0.1 ms  statement: {quoted}{padding}"
    return render(log_format, Entry(message=said, pid=7, milliseconds=moment))
