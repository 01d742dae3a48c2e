"""Puts an Outcome together from what a session's lines, its verdict and the decision say; decides nothing."""

from __future__ import annotations

import msgspec

from pgoauthd.correlation.decision import Decision
from pgoauthd.correlation.mapped import with_mapping
from pgoauthd.correlation.outcome import Outcome, Result
from pgoauthd.correlation.session import Session
from pgoauthd.correlation.verdicts import SessionVerdict
from pgoauthd.logs.events import AuthEvent, EventKind, Saying
from pgoauthd.logs.redaction import REDACTED

_OAUTH_SAYINGS = frozenset(
    {
        Saying.SHIM,
        Saying.FOREIGN,
        Saying.OAUTH_FAILED,
        Saying.VALIDATOR_REFUSED,
        Saying.VALIDATOR_NO_IDENTITY,
        Saying.VALIDATOR_INTERNAL_ERROR,
        Saying.TOKEN_MALFORMED,
        Saying.TOKEN_EMPTY,
        Saying.TOKEN_NOT_BEARER,
        Saying.SASL_MALFORMED,
        Saying.SASL_NO_AUTH_VALUE,
        Saying.CHANNEL_BINDING_UNSUPPORTED,
        Saying.AUTHZID_UNSUPPORTED,
    }
)
"""Lines that only a login with method oauth leads to."""


class _Said(msgspec.Struct, gc=False):
    """What a session's lines say together: of each member the last word."""

    method: str | None = None
    role: str | None = None
    database: str | None = None
    client_addr: str | None = None
    client_port: int | None = None
    application_name: str | None = None
    hba_file: str | None = None
    hba_line: int | None = None
    usermap: str | None = None
    delegated: bool = False


def assemble(cluster: str, session: Session, verdict: SessionVerdict | None, decision: Decision) -> Outcome:
    """The outcome of an ended session. The log's word goes before the verdict's where both have one."""
    said = _gather(session)
    if verdict is not None:
        _add_verdict(said, verdict)
    last, reason = session.last, decision.reason
    silent = decision.result is Result.ABANDONED and last is session.received
    ready = last if last is not None and last.kind is EventKind.READY else None
    outcome = Outcome(
        time=last.time if last is not None and not silent else (session.started or session.first_seen),
        started=session.started,
        cluster=cluster,
        session_id=_session_id(session, verdict),
        pid=session.pid,
        result=decision.result,
        reason=reason,
        stage=reason.stage,
        fault=reason.fault,
        method=said.method or "unknown",
        role=said.role,
        database=said.database,
        identity=_identity(session.authenticated, verdict),
        client_addr=said.client_addr,
        client_port=said.client_port,
        application_name=said.application_name,
        hba_file=said.hba_file,
        hba_line=said.hba_line,
        usermap=said.usermap,
        delegated=said.delegated,
        issuer=verdict.issuer if verdict is not None else None,
        message=decision.message,
        remedy=reason.remedy,
        claims=verdict.verdict.claims if verdict is not None else None,
        validation_seconds=verdict.seconds if verdict is not None else None,
        server_authentication_seconds=ready.authentication_seconds if ready is not None else None,
        server_setup_seconds=ready.setup_seconds if ready is not None else None,
    )
    mapping = verdict.mapping if verdict is not None else None
    return outcome if mapping is None else with_mapping(outcome, mapping)


def _gather(session: Session) -> _Said:
    """From the first line to the last: what a later line says replaces what an earlier one said."""
    method = role = database = client_addr = client_port = application_name = hba_file = hba_line = usermap = None
    delegated = by_oauth = False
    for line in _lines(session):
        method = line.method or method
        role = line.role if line.role is not None else role
        database = line.database if line.database is not None else database
        client_addr = line.client_addr or client_addr
        client_port = line.client_port if line.client_port is not None else client_port
        application_name = line.application_name or application_name
        if line.hba_file is not None:
            hba_file, hba_line = line.hba_file, line.hba_line
        usermap = line.usermap or usermap
        delegated |= line.delegated
        by_oauth |= line.saying in _OAUTH_SAYINGS
    if by_oauth and method is None:
        method = "oauth"
    return _Said(
        method, role, database, client_addr, client_port, application_name, hba_file, hba_line, usermap, delegated
    )


def _lines(session: Session) -> list[AuthEvent]:
    """What is kept of the session, the last line last."""
    kept = (session.received, session.authenticated, session.authorized, session.cause)
    lines = [line for line in kept if line is not None]
    if session.last is not None and (not lines or lines[-1] is not session.last):
        lines.append(session.last)
    return lines


def _add_verdict(said: _Said, verdict: SessionVerdict) -> None:
    """What the shim knew and the log does not say."""
    said.method = said.method or "oauth"
    said.role = said.role if said.role is not None else verdict.role
    said.database = said.database if said.database is not None else verdict.database
    if said.client_addr is None:
        said.client_addr, said.client_port = verdict.client_addr, verdict.client_port
    if said.hba_file is None:
        said.hba_file, said.hba_line = verdict.hba_file, verdict.hba_line
    said.usermap = said.usermap or verdict.usermap
    said.delegated |= verdict.delegated


def _session_id(session: Session, verdict: SessionVerdict | None) -> str | None:
    """As logged, else the verdict's, else put together as the server does it: hex(start).hex(pid)."""
    if session.session_id is not None:
        return session.session_id
    if verdict is not None:
        return verdict.session_id
    return f"{int(session.started):x}.{session.pid:x}" if session.started is not None else None


def _identity(authenticated: AuthEvent | None, verdict: SessionVerdict | None) -> str | None:
    """As logged; but where a restart has found it with what looked like a token taken out, as the verdict has it."""
    logged = authenticated.identity if authenticated is not None else None
    if logged is not None and (REDACTED not in logged or verdict is None):
        return logged
    return verdict.verdict.authn_id if verdict is not None else None
