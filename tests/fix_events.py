"""Makes the events of one login, so that a test reads as the lines of a log."""

from __future__ import annotations

from typing import Any

from pgoauthd.correlation.verdicts import SessionVerdict
from pgoauthd.logs.events import AuthEvent, EventKind, Saying
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import Verdict

START = 1_795_310_000.0
PID = 4711


def session_id(pid: int = PID, start: float = START) -> str:
    return f"{int(start):x}.{pid:x}"


def event(kind: EventKind, at: float = 0.0, *, pid: int = PID, with_id: bool = True, **fields: Any) -> AuthEvent:  # noqa: ANN401 - any field
    identifier = session_id(pid) if with_id else None
    return AuthEvent(kind=kind, time=START + at, pid=pid, session_id=identifier, **fields)


def received(at: float = 0.0, **fields: Any) -> AuthEvent:  # noqa: ANN401
    return event(EventKind.RECEIVED, at, client_addr="10.0.0.7", client_port=50001, **fields)


def authenticated(at: float = 0.01, **fields: Any) -> AuthEvent:  # noqa: ANN401
    known: dict[str, Any] = {
        "identity": "alice",
        "role": "alice",
        "database": "app",
        "method": "oauth",
        "hba_file": "/hba",
        "hba_line": 6,
    }
    return event(EventKind.AUTHENTICATED, at, **(known | fields))


def authorized(at: float = 0.02, **fields: Any) -> AuthEvent:  # noqa: ANN401
    return event(
        EventKind.AUTHORIZED, at, **({"role": "alice", "database": "app", "application_name": "psql"} | fields)
    )


def ready(at: float = 0.03, **fields: Any) -> AuthEvent:  # noqa: ANN401
    return event(EventKind.READY, at, **({"authentication_seconds": 0.004, "setup_seconds": 0.01} | fields))


def cause(saying: Saying, at: float = 0.015, **fields: Any) -> AuthEvent:  # noqa: ANN401
    return event(EventKind.CAUSE, at, saying=saying, **fields)


def fatal(saying: Saying = Saying.OAUTH_FAILED, at: float = 0.02, **fields: Any) -> AuthEvent:  # noqa: ANN401
    return event(EventKind.FATAL, at, saying=saying, **fields)


def verdict(reason: Reason = Reason.OK, at: float = 0.005, *, pid: int = PID) -> SessionVerdict:
    return SessionVerdict(
        session_id=session_id(pid),
        pid=pid,
        time=START + at,
        seconds=0.0004,
        verdict=Verdict(
            authorized=reason is Reason.OK, reason=reason, message=f"the verdict says {reason}", authn_id="alice"
        ),
        role="alice",
        database="app",
        issuer="https://idp.example",
        hba_file="/hba",
        hba_line=6,
    )
