"""Puts an Outcome together from what a session's lines, its verdict and the decision say; decides nothing."""

from __future__ import annotations

from pgoauthd.correlation.decision import Decision
from pgoauthd.correlation.outcome import Outcome
from pgoauthd.correlation.session import Session
from pgoauthd.correlation.verdicts import SessionVerdict
from pgoauthd.logs.events import AuthEvent, EventKind, Saying

_OAUTH_SAYINGS = frozenset(
    {
        Saying.SHIM,
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


def assemble(cluster: str, session: Session, verdict: SessionVerdict | None, decision: Decision) -> Outcome:
    """The outcome of an ended session. The log's word goes before the verdict's where both have one."""
    received, authenticated, last = session.received, session.authenticated, session.last
    lines = [line for line in (last, session.cause, session.authorized, authenticated, received) if line is not None]
    silent = decision.result == "abandoned" and last is received
    ready = last if last is not None and last.kind is EventKind.READY else None
    reason = decision.reason
    return Outcome(
        time=last.time if last is not None and not silent else (session.started or session.first_seen),
        started=session.started,
        cluster=cluster,
        session_id=_session_id(session, verdict),
        pid=session.pid,
        result=decision.result,
        reason=reason,
        stage=reason.stage,
        fault=reason.fault,
        method=_method(lines, verdict),
        role=_first_role(lines) or (verdict.role if verdict is not None else None),
        database=_first_database(lines) or (verdict.database if verdict is not None else None),
        identity=_identity(authenticated, verdict),
        client_addr=_client_addr(lines, verdict),
        client_port=_client_port(lines, verdict),
        application_name=_application_name(lines),
        hba_file=_hba(lines, verdict)[0],
        hba_line=_hba(lines, verdict)[1],
        usermap=_usermap(lines, verdict),
        delegated=any(line.delegated for line in lines) or (verdict is not None and verdict.delegated),
        issuer=verdict.issuer if verdict is not None else None,
        message=decision.message,
        remedy=reason.remedy,
        claims=verdict.verdict.claims if verdict is not None else None,
        validation_seconds=verdict.seconds if verdict is not None else None,
        server_authentication_seconds=ready.authentication_seconds if ready is not None else None,
        server_setup_seconds=ready.setup_seconds if ready is not None else None,
    )


def _session_id(session: Session, verdict: SessionVerdict | None) -> str | None:
    """As logged, else the verdict's, else put together as the server does it: hex(start).hex(pid)."""
    if session.session_id is not None:
        return session.session_id
    if verdict is not None:
        return verdict.session_id
    return f"{int(session.started):x}.{session.pid:x}" if session.started is not None else None


def _method(lines: list[AuthEvent], verdict: SessionVerdict | None) -> str:
    for line in lines:
        if line.method is not None:
            return line.method
    said_by_oauth = any(line.saying in _OAUTH_SAYINGS for line in lines)
    return "oauth" if verdict is not None or said_by_oauth else "unknown"


def _identity(authenticated: AuthEvent | None, verdict: SessionVerdict | None) -> str | None:
    if authenticated is not None and authenticated.identity is not None:
        return authenticated.identity
    return verdict.verdict.authn_id if verdict is not None else None


def _first_role(lines: list[AuthEvent]) -> str | None:
    return next((line.role for line in lines if line.role is not None), None)


def _first_database(lines: list[AuthEvent]) -> str | None:
    return next((line.database for line in lines if line.database is not None), None)


def _client_addr(lines: list[AuthEvent], verdict: SessionVerdict | None) -> str | None:
    logged = next((line.client_addr for line in lines if line.client_addr is not None), None)
    return logged if logged is not None or verdict is None else verdict.client_addr


def _client_port(lines: list[AuthEvent], verdict: SessionVerdict | None) -> int | None:
    logged = next((line.client_port for line in lines if line.client_port is not None), None)
    return logged if logged is not None or verdict is None else verdict.client_port


def _application_name(lines: list[AuthEvent]) -> str | None:
    return next((line.application_name for line in lines if line.application_name), None)


def _hba(lines: list[AuthEvent], verdict: SessionVerdict | None) -> tuple[str | None, int | None]:
    for line in lines:
        if line.hba_file is not None:
            return line.hba_file, line.hba_line
    return (verdict.hba_file, verdict.hba_line) if verdict is not None else (None, None)


def _usermap(lines: list[AuthEvent], verdict: SessionVerdict | None) -> str | None:
    logged = next((line.usermap for line in lines if line.usermap is not None), None)
    return logged if logged is not None or verdict is None else verdict.usermap
