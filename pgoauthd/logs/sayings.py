"""What a server's message means: one table of messages for all log formats, Record -> AuthEvent; never reads bytes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from msgspec.structs import replace

from pgoauthd.logs import foreign
from pgoauthd.logs.events import AuthEvent, EventKind, Saying
from pgoauthd.logs.fatals import Fate, fate_of, refine
from pgoauthd.logs.hba import MatchedRule, read_detail
from pgoauthd.logs.records import NO_SESSION, Names, Record
from pgoauthd.logs.redaction import redact

T = TypeVar("T")

LOST_STARTS = (
    "could not receive data from client",
    "could not send data to client",
    "could not accept SSL connection",
    "could not initialize SSL connection",
    "SSL error: ",
    "SSL SYSCALL error",
    "unexpected EOF on client connection",
    "incomplete startup packet",
)
"""Messages at LOG about a connection that broke (pqcomm.c, be-secure*.c, backend_startup.c)."""

BROKEN_STARTS = (
    "invalid message length",
    "unexpected EOF within message length word",
    "incomplete message from client",
)
"""Messages at LOG about a message that cannot be read (pq_getmessage()); during authentication a FATAL follows."""

LOG_STARTS = (
    "connection received: ",
    "connection authenticated: ",
    "connection authorized: ",
    "connection ready: ",
    "replication connection authorized: ",
    "disconnection: session time: ",
    "provided user name (",
    "no match in usermap ",
    "malformed OAuth bearer token",
    "OAuth bearer authentication failed for user ",
    "internal error in OAuth validator module",
    "pgoauthd: refused [",
    "starting PostgreSQL ",
    "database system is shut down",
    *LOST_STARTS,
    *BROKEN_STARTS,
    *foreign.STARTS,
)
"""How every message below FATAL begins that `Sayings` understands: what a reader has to look for. None needs escaping
in JSON or CSV."""

FATAL = "FATAL"
LEVELS = frozenset({"LOG", "WARNING", foreign.DEBUG, FATAL})
"""Severities of entries that can say something."""
_SAY_THEMSELVES = frozenset({"LOG", "WARNING"})
"""Of the server's own below FATAL."""

_CLIENT_BACKENDS = frozenset({None, "client backend", "not initialized", "walsender", "dead-end client backend"})
"""`backend_type` of processes that clients connect to; a worker's FATAL is no login."""
_POSTMASTER = frozenset({None, NO_SESSION, "postmaster"})

_INT32 = 2**31 - 1
_INT64 = 2**63 - 1
_MAX_PORT = 65_535
_LATEST = 32_503_680_000.0
"""The year 3000: a time that can be written in every format."""
_SESSION_ID = re.compile(r"[0-9a-f]{1,10}\.[0-9a-f]{1,8}")
"""`%lx.%x` of start time and process id."""
_HEAD = 16
"""Characters that tell the messages of LOG_STARTS apart."""
_ORIGIN = re.compile(r"([a-z0-9-]+) \((.*):(\d{1,9})\)", re.DOTALL)
_LOCAL = "[local]"
_RECEIVED = "connection received: host="
_MAX_PORT_DIGITS = 5
_AUTHORIZED = re.compile(
    r"user=(.*?)(?: database=(.*?))?((?: application_name=| SSL enabled \(| GSS \().*)?", re.DOTALL
)
_SECURITY = re.compile(r"(?: SSL enabled \([^()]*\))?(?: GSS \([^()]*\))?\Z")
_MS = r"([0-9]{1,12}(?:\.[0-9]{1,6})?) ms"
"""Thirty years at most: one number that no server writes would stay in a sum for ever."""
_READY = re.compile(rf"connection ready: setup total={_MS}, fork={_MS}, authentication={_MS}")
_DISCONNECTED = re.compile(r"disconnection: .* user=(.*) database=(.*) host=(\S+)(?: port=(\d{1,5}))?", re.DOTALL)
_MISMATCH = re.compile(r"provided user name \((.*?)\) and authenticated user name \((.*)\) do not match", re.DOTALL)
_NO_MATCH = re.compile(r'no match in usermap "(.*?)" for user "(.*?)" authenticated as "(.*)"', re.DOTALL)
_SHIM = re.compile(r"pgoauthd: refused \[([a-z0-9_]{1,64})\]: ([^\n]*)(?:\n.*)?", re.DOTALL)
_STARTED = re.compile(r"starting PostgreSQL (\d{1,4})(?!\d).*-bit", re.DOTALL)
_BROKEN = "The client's message breaks off, or is longer than the 65,535 bytes that the server takes."
_ENDED = re.compile(
    r"connection to client lost|terminating (?:connection|walsender process|background worker) .*", re.DOTALL
)
_ENDED_STATES = frozenset({"57P01", "57P02", "57P05", "25P03", "25P04"})
"""FATALs of sessions that had long been logged in: shutdown, crash, and timeouts of an idle session."""
_MALFORMED = {
    "Bearer token is empty.": Saying.TOKEN_EMPTY,
    "Client response indicated a non-Bearer authentication scheme.": Saying.TOKEN_NOT_BEARER,
}
_NO_IDENTITY = "Validator provided no identity."
_IDENTITY = 'connection authenticated: identity="'
_USER = 'connection authenticated: user="'
_APPLICATION = " application_name="

_MAX_REMEMBERED = 512
_MAX_REMEMBERED_CHARS = 2048


class Sayings:
    """The table at work; it remembers how texts that recur (rules, origins, FATALs) were read, and nothing else."""

    def __init__(self) -> None:
        self._origins: dict[str, tuple[str, str, int] | None] = {}
        self._rules: dict[str, MatchedRule] = {}
        self._fates: dict[str, Fate] = {}
        self._handlers: dict[str, Callable[[Record, float], AuthEvent | None]] = {
            start[:_HEAD]: handler
            for start, handler in (
                ("connection received: ", self._received),
                ("connection authenticated: ", self._authenticated),
                ("connection authorized: ", self._authorized),
                ("replication connection authorized: ", self._authorized),
                ("connection ready: ", self._ready),
                ("disconnection: session time: ", self._disconnected),
                ("provided user name (", self._mismatch),
                ("no match in usermap ", self._no_match),
                ("malformed OAuth bearer token", self._malformed),
                ("OAuth bearer authentication failed for user ", self._validator_refused),
                ("internal error in OAuth validator module", self._validator_failed),
                ("pgoauthd: refused [", self._shim),
                ("starting PostgreSQL ", self._started),
                ("database system is shut down", self._stopped),
            )
        }

    def understand(self, record: Record, time: float) -> AuthEvent | None:
        """The event of one entry logged at `time`; None if it does not concern a login. ValueError: no such record.

        A line with a CONTEXT was raised from inside a function (RAISE LOG in PL/pgSQL): only a FATAL may have one.
        """
        if record.severity == FATAL:
            return self._fatal(record, time)
        if record.severity not in _SAY_THEMSELVES or record.context:
            is_foreign = record.severity == foreign.DEBUG and not record.context
            return self._foreign(record, time) if is_foreign else None
        handler = self._handlers.get(record.message[:_HEAD])
        if handler is not None:
            return handler(record, time)
        if record.message.startswith(BROKEN_STARTS):
            return replace(_cause(record, time, Saying.MESSAGE_BROKEN), detail=_BROKEN)
        if record.message.startswith(LOST_STARTS):
            return _event(record, time, EventKind.LOST)
        return self._foreign(record, time)

    def _received(self, record: Record, time: float) -> AuthEvent | None:
        if record.client_port is None and record.client_addr != _LOCAL:
            if not record.message.startswith(_RECEIVED):
                return None
            record.client_addr, record.client_port = _read_host(record.message[len(_RECEIVED) :])
        return _event(record, time, EventKind.RECEIVED)

    def _authenticated(self, record: Record, time: float) -> AuthEvent | None:
        """The identity may hold anything, an imitation of the tail included: the last tail is the server's."""
        head, _, tail = record.message.rpartition('" method=')
        origin = _remember(self._origins, tail, _read_origin)
        if origin is None:
            return None
        method, hba_file, hba_line = origin
        identity = None
        if head.startswith(_IDENTITY):
            identity = head[len(_IDENTITY) :]
        elif head.startswith(_USER):
            _state_names(record, head[len(_USER) :], None)
        else:
            return None
        event = _event(record, time, EventKind.AUTHENTICATED)
        return replace(event, identity=identity, method=method, hba_file=hba_file, hba_line=hba_line)

    def _authorized(self, record: Record, time: float) -> AuthEvent | None:
        _, _, said = record.message.partition("connection authorized: ")
        names = f"user={record.role} database={record.database}"
        if said.startswith(names) and said[len(names) : len(names) + 1] in ("", " "):
            rest = said[len(names) :]
        else:
            found = _AUTHORIZED.fullmatch(said)
            if found is None:
                return None
            _state_names(record, found[1], found[2])
            rest = found[3] or ""
        if rest.startswith(_APPLICATION):
            security = _SECURITY.search(rest) if rest.endswith(")") else None
            record.application_name = rest[len(_APPLICATION) : security.start() if security else None]
        return _event(record, time, EventKind.AUTHORIZED)

    def _ready(self, record: Record, time: float) -> AuthEvent | None:
        found = _READY.fullmatch(record.message)
        if found is None:
            return None
        if record.names is Names.AMBIGUOUS:
            record.role = record.database = None
        setup, fork, authentication = found.groups()
        return replace(
            _event(record, time, EventKind.READY),
            setup_seconds=float(f"{setup}e-3"),
            fork_seconds=float(f"{fork}e-3"),
            authentication_seconds=float(f"{authentication}e-3"),
        )

    def _disconnected(self, record: Record, time: float) -> AuthEvent | None:
        if record.names is not Names.EXACT and (found := _DISCONNECTED.fullmatch(record.message)):
            role, database, client_addr, client_port = found.groups()
            _state_names(record, role, database)
            record.client_addr, record.client_port = client_addr, int(client_port) if client_port else None
        return _event(record, time, EventKind.DISCONNECTED)

    def _mismatch(self, record: Record, time: float) -> AuthEvent | None:
        identity = _after(record, "provided user name (", ") and authenticated user name (", ") do not match")
        if identity is None:
            found = _MISMATCH.fullmatch(record.message)
            if found is None:
                return None
            _state_names(record, found[1], None)
            identity = found[2]
        return replace(_cause(record, time, Saying.IDENTITY_MISMATCH), identity=identity)

    def _no_match(self, record: Record, time: float) -> AuthEvent | None:
        found = _NO_MATCH.fullmatch(record.message)
        if found is None:
            return None
        usermap, role, identity = found.groups()
        exact = _after(record, f'no match in usermap "{usermap}" for user "', '" authenticated as "', '"')
        if exact is None:
            _state_names(record, role, None)
        event = _cause(record, time, Saying.USERMAP_NO_MATCH)
        return replace(event, usermap=usermap, identity=identity if exact is None else exact)

    def _malformed(self, record: Record, time: float) -> AuthEvent:
        saying = _MALFORMED.get(record.detail or "", Saying.TOKEN_MALFORMED)
        return replace(_cause(record, time, saying), method="oauth")

    def _validator_refused(self, record: Record, time: float) -> AuthEvent:
        refused = record.detail != _NO_IDENTITY
        saying = Saying.VALIDATOR_REFUSED if refused else Saying.VALIDATOR_NO_IDENTITY
        return replace(_cause(record, time, saying), method="oauth")

    def _validator_failed(self, record: Record, time: float) -> AuthEvent:
        detail = redact(record.detail) if record.detail else None
        leaked = bool(record.detail) and foreign.holds_jwt(record.detail or "")
        event = _cause(record, time, Saying.VALIDATOR_INTERNAL_ERROR)
        return replace(event, method="oauth", detail=detail, leaked=leaked)

    def _shim(self, record: Record, time: float) -> AuthEvent | None:
        found = _SHIM.fullmatch(record.message)
        if found is None:
            return None
        code, sentence = found.groups()
        return replace(_cause(record, time, Saying.SHIM), method="oauth", reason_code=code, detail=redact(sentence))

    def _foreign(self, record: Record, time: float) -> AuthEvent | None:
        told = foreign.read(record.severity, record.message, record.detail)
        if told is None or record.backend_type not in _CLIENT_BACKENDS:
            return None
        event = _cause(record, time, Saying.FOREIGN)
        return replace(event, method="oauth", reason_code=told.reason_code, detail=told.text, leaked=told.leaked)

    def _started(self, record: Record, time: float) -> AuthEvent | None:
        found = _STARTED.fullmatch(record.message)
        if found is None or not _by_postmaster(record):
            return None
        return replace(_event(record, time, EventKind.SERVER_STARTED), server_version=int(found[1]))

    def _stopped(self, record: Record, time: float) -> AuthEvent | None:
        if record.message != "database system is shut down" or not _by_postmaster(record):
            return None
        return _event(record, time, EventKind.SERVER_STOPPED)

    def _fatal(self, record: Record, time: float) -> AuthEvent | None:
        if record.backend_type not in _CLIENT_BACKENDS:
            return None
        if record.sqlstate in _ENDED_STATES or _ENDED.fullmatch(record.message):
            return _event(record, time, EventKind.LOST)
        fate = _remember(self._fates, f"{record.sqlstate or ''}:{record.message}", _read_fate)
        rule = _remember(self._rules, record.detail, read_detail) if record.detail else MatchedRule()
        shim = _SHIM.fullmatch(rule.own_text) if rule.own_text else None
        _state_names(record, fate.role, fate.database)
        said = shim[2] if shim else rule.own_text
        if said is None and fate.saying is Saying.OTHER:
            said = record.message
        told = foreign.read(FATAL, said) if said is not None and shim is None else None
        saying = refine(fate.saying, rule.own_text)
        return replace(
            _event(record, time, EventKind.FATAL),
            saying=Saying.FOREIGN if told is not None and saying is Saying.OTHER else saying,
            method=rule.method or fate.method,
            hba_file=rule.file,
            hba_line=rule.line,
            usermap=rule.usermap,
            delegated=rule.delegated,
            reason_code=shim[1] if shim else told.reason_code if told is not None else None,
            detail=told.text if told is not None else redact(said) if said is not None else None,
            leaked=told.leaked if told is not None else saying is Saying.OAUTH_FAILED and foreign.holds_jwt(said or ""),
        )


def _event(record: Record, time: float, kind: EventKind) -> AuthEvent:
    """What any event has of its record.

    ValueError for numbers that no server writes: names of clients can forge a stderr line.
    """
    session_id, client_port = record.session_id or None, record.client_port
    if not (0 <= record.pid <= _INT32 and 0 <= time <= _LATEST and (record.line_num or 0) <= _INT64):
        raise ValueError("a number is out of range")
    if client_port is not None and client_port > _MAX_PORT:
        raise ValueError("a port is out of range")
    if session_id is not None and _SESSION_ID.fullmatch(session_id) is None:
        raise ValueError("a session id is none")
    return AuthEvent(
        kind=kind,
        time=time,
        pid=record.pid,
        session_id=session_id,
        line_num=record.line_num,
        role=record.role,
        database=record.database,
        client_addr=record.client_addr,
        client_port=client_port,
        application_name=record.application_name,
        sqlstate=record.sqlstate,
    )


def _cause(record: Record, time: float, saying: Saying) -> AuthEvent:
    return replace(_event(record, time, EventKind.CAUSE), saying=saying)


def _read_fate(text: str) -> Fate:
    sqlstate, _, message = text.partition(":")
    return fate_of(message, sqlstate)


def _read_host(text: str) -> tuple[str, int | None]:
    """Host and port of `connection received`; there is no port on a Unix socket."""
    host, separator, port = text.rpartition(" port=")
    readable = separator and port.isdecimal() and len(port) <= _MAX_PORT_DIGITS
    return (host, int(port)) if readable else (text, None)


def _read_origin(tail: str) -> tuple[str, str, int] | None:
    found = _ORIGIN.fullmatch(tail)
    return (found[1], found[2], int(found[3])) if found else None


def _after(record: Record, before: str, between: str, end: str) -> str | None:
    """What stands between the record's own role and the end of the message; None if the role is not there."""
    start = f"{before}{record.role}{between}"
    if record.role is None or not (record.message.startswith(start) and record.message.endswith(end)):
        return None
    return record.message[len(start) : -len(end)]


def _state_names(record: Record, role: str | None, database: str | None) -> None:
    """Take the names that the message states where the format did not say them, or only let them be guessed."""
    if role is not None and (record.role is None or record.names is not Names.EXACT):
        record.role = role
    if database is not None and (record.database is None or record.names is not Names.EXACT):
        record.database = database


def _by_postmaster(record: Record) -> bool:
    return record.role is None and record.backend_type in _POSTMASTER


def _remember(memory: dict[str, T], text: str, read: Callable[[str], T]) -> T:
    """What `read` makes of a text, kept for the next time; bounded by number and size."""
    known = memory.get(text)
    if known is not None:
        return known
    made = read(text)
    if len(text) <= _MAX_REMEMBERED_CHARS:
        if len(memory) >= _MAX_REMEMBERED:
            memory.clear()
        memory[text] = made
    return made
