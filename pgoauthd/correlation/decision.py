"""Why an ended attempt ended as it did: Result, Reason and a sentence, from its lines and its verdict.

It never looks at time or at other attempts. The rows are those of the server's own log (docs/correlation.md).
"""

from __future__ import annotations

from typing import NamedTuple

from pgoauthd.correlation.outcome import Result
from pgoauthd.correlation.session import Session, State
from pgoauthd.correlation.verdicts import SessionVerdict
from pgoauthd.logs.events import AuthEvent, EventKind, Saying
from pgoauthd.tokens.reasons import BY_CODE, Reason


class Decision(NamedTuple):
    """How an attempt ended, why, and one sentence on this very attempt."""

    result: Result
    reason: Reason
    message: str


SAID: dict[Saying, Reason] = {
    Saying.VALIDATOR_REFUSED: Reason.VALIDATOR_REFUSED,
    Saying.VALIDATOR_NO_IDENTITY: Reason.VALIDATOR_NO_IDENTITY,
    Saying.VALIDATOR_INTERNAL_ERROR: Reason.VALIDATOR_INTERNAL_ERROR,
    Saying.IDENTITY_MISMATCH: Reason.IDENTITY_MISMATCH,
    Saying.USERMAP_NO_MATCH: Reason.USERMAP_NO_MATCH,
    Saying.TOKEN_MALFORMED: Reason.TOKEN_MALFORMED,
    Saying.TOKEN_EMPTY: Reason.TOKEN_EMPTY,
    Saying.TOKEN_NOT_BEARER: Reason.TOKEN_NOT_BEARER,
    Saying.MESSAGE_BROKEN: Reason.SASL_MALFORMED,
    Saying.SASL_MALFORMED: Reason.SASL_MALFORMED,
    Saying.SASL_NO_AUTH_VALUE: Reason.SASL_NO_AUTH_VALUE,
    Saying.CHANNEL_BINDING_UNSUPPORTED: Reason.CHANNEL_BINDING_UNSUPPORTED,
    Saying.AUTHZID_UNSUPPORTED: Reason.AUTHZID_UNSUPPORTED,
    Saying.HANDSHAKE_TIMEOUT: Reason.HANDSHAKE_TIMEOUT,
    Saying.OTHER_METHOD_FAILED: Reason.OTHER_METHOD_FAILED,
    Saying.HBA_NO_ENTRY: Reason.HBA_NO_ENTRY,
    Saying.HBA_REJECTED: Reason.HBA_REJECTED,
    Saying.ROLE_MISSING: Reason.ROLE_MISSING,
    Saying.ROLE_NOLOGIN: Reason.ROLE_NOLOGIN,
    Saying.ROLE_CONNECTION_LIMIT: Reason.ROLE_CONNECTION_LIMIT,
    Saying.DATABASE_MISSING: Reason.DATABASE_MISSING,
    Saying.DATABASE_NO_CONNECT: Reason.DATABASE_NO_CONNECT,
    Saying.DATABASE_CONNECTION_LIMIT: Reason.DATABASE_CONNECTION_LIMIT,
    Saying.DATABASE_NOT_ACCEPTING: Reason.DATABASE_NOT_ACCEPTING,
    Saying.TOO_MANY_CONNECTIONS: Reason.TOO_MANY_CONNECTIONS,
    Saying.SERVER_NOT_READY: Reason.SERVER_NOT_READY,
}
"""What a line says by itself. SHIM, FOREIGN, OAUTH_FAILED and OTHER need more than the line and are not here."""

_GENERIC = frozenset({Reason.VALIDATOR_REFUSED, Reason.VALIDATOR_INTERNAL_ERROR})
"""Reasons that a verdict knows better."""

SILENT_DISCOVERY_SINCE = 19
"""The first major version of PostgreSQL that does not log a discovery."""


def decide(session: Session, verdict: SessionVerdict | None, server_major: int | None) -> Decision:
    """The decision on a session whose state is an end other than IGNORED."""
    match session.state:
        case State.SUCCEEDED:
            return _say(Result.SUCCESS, Reason.OK)
        case State.ABANDONED:
            return _abandoned(session, verdict, server_major)
        case _:
            return _refused(session, verdict)


def _abandoned(session: Session, verdict: SessionVerdict | None, server_major: int | None) -> Decision:
    if verdict is not None and not verdict.verdict.authorized:
        return _from_verdict(verdict)
    if session.last is not None and session.last.kind is EventKind.LOST:
        return _say(Result.ABANDONED, Reason.CONNECTION_LOST)
    nothing_said = session.authenticated is None and verdict is None
    if nothing_said and server_major is not None and server_major >= SILENT_DISCOVERY_SINCE:
        return _say(Result.ABANDONED, Reason.SILENT)
    return _say(Result.ABANDONED, Reason.CLIENT_GONE)


def _refused(session: Session, verdict: SessionVerdict | None) -> Decision:
    fatal = session.last if session.last is not None and session.last.kind is EventKind.FATAL else None
    if fatal is not None and fatal.saying is not None and (reason := SAID.get(fatal.saying)) is not None:
        return _say(Result.REFUSED, reason, fatal.detail)
    if fatal is not None and fatal.reason_code is not None:
        return _from_validator(fatal)
    if session.cause is not None:
        return _from_cause(session.cause, session, verdict)
    if fatal is not None and fatal.saying is Saying.OAUTH_FAILED:
        return _oauth_failed(fatal, session, verdict)
    return _say(Result.REFUSED, Reason.SERVER_ERROR, fatal.detail if fatal is not None else None)


def _from_cause(cause: AuthEvent, session: Session, verdict: SessionVerdict | None) -> Decision:
    if cause.saying is Saying.SHIM:
        return _from_validator(cause)
    knows = verdict is not None and not verdict.verdict.authorized
    if cause.saying is Saying.FOREIGN:
        return _from_verdict(verdict) if verdict is not None and knows else _from_validator(cause)
    reason = SAID[cause.saying] if cause.saying is not None else Reason.SERVER_ERROR
    if reason in _GENERIC and verdict is not None and knows:
        return _from_verdict(verdict)
    match reason:
        case Reason.IDENTITY_MISMATCH:
            return _say(Result.REFUSED, reason, _mismatch(cause, session))
        case Reason.USERMAP_NO_MATCH:
            return _say(Result.REFUSED, reason, _no_match(cause, session))
        case _:
            return _say(Result.REFUSED, reason, cause.detail)


def _oauth_failed(fatal: AuthEvent, session: Session, verdict: SessionVerdict | None) -> Decision:
    """The FATAL of OAuth without a line that says why: a discovery, unless somebody saw a token."""
    if verdict is not None and not verdict.verdict.authorized:
        return _from_verdict(verdict)
    if verdict is not None:
        # Our yes and the server's no: only the mapping stands between them. The line that says so was not
        # recognised (lc_messages) or was lost.
        mapped = fatal.usermap is not None or verdict.usermap is not None
        return _say(Result.REFUSED, Reason.USERMAP_NO_MATCH if mapped else Reason.IDENTITY_MISMATCH)
    if fatal.detail is not None or session.authenticated is not None:
        return _say(Result.REFUSED, Reason.VALIDATOR_REFUSED, fatal.detail)
    return _say(Result.DISCOVERY, Reason.DISCOVERY)


def _from_validator(line: AuthEvent) -> Decision:
    """As a validator has said it itself: ours by its code, another one in its own words, which the message quotes."""
    reason = BY_CODE.get(line.reason_code or "", Reason.VALIDATOR_REFUSED)
    if line.saying is Saying.SHIM or line.detail is None:
        return _say(Result.REFUSED, reason, line.detail)
    return _say(Result.REFUSED, reason, f"The server's validator said: {line.detail}")


def _from_verdict(verdict: SessionVerdict) -> Decision:
    return Decision(Result.REFUSED, verdict.verdict.reason, verdict.verdict.message)


def _say(result: Result, reason: Reason, message: str | None = None) -> Decision:
    return Decision(result, reason, message or reason.sentence)


def _mismatch(cause: AuthEvent, session: Session) -> str | None:
    identity, role = _identity_and_role(cause, session)
    if identity is None or role is None:
        return None
    return f'The token is for "{identity}", not for role "{role}".'


def _no_match(cause: AuthEvent, session: Session) -> str | None:
    identity, role = _identity_and_role(cause, session)
    if identity is None or role is None:
        return None
    return f'No line of map "{cause.usermap}" lets "{identity}" log in as "{role}".'


def _identity_and_role(cause: AuthEvent, session: Session) -> tuple[str | None, str | None]:
    """As the cause's own line says them, else as the session's other lines do."""
    before = session.authenticated
    identity = cause.identity if cause.identity is not None or before is None else before.identity
    role = cause.role if cause.role is not None or before is None else before.role
    return identity, role
