"""What a session's log lines say about its login: AuthEvent. `logs.sayings` makes them; nothing is correlated here."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class EventKind(StrEnum):
    """The steps of a login that the server logs, and the two of the server itself."""

    RECEIVED = "received"
    AUTHENTICATED = "authenticated"
    AUTHORIZED = "authorized"
    READY = "ready"
    DISCONNECTED = "disconnected"
    CAUSE = "cause"
    """A LOG or WARNING line that says why the FATAL that follows will come."""
    LOST = "lost"
    """The connection to the client broke."""
    FATAL = "fatal"
    SERVER_STARTED = "server_started"
    SERVER_STOPPED = "server_stopped"


class Saying(StrEnum):
    """What a CAUSE or FATAL line says, in the server's vocabulary (reference: PostgreSQL 18 and 19 sources)."""

    # LOG and WARNING lines before the FATAL
    SHIM = "shim"
    """`pgoauthd: …`, our own validator's line; `AuthEvent.reason_code` holds the code."""
    FOREIGN = "foreign"
    """A line of a validator that is not ours, or what it raised; `reason_code` holds the code if it says why."""
    VALIDATOR_REFUSED = "validator_refused"
    VALIDATOR_NO_IDENTITY = "validator_no_identity"
    VALIDATOR_INTERNAL_ERROR = "validator_internal_error"
    IDENTITY_MISMATCH = "identity_mismatch"
    USERMAP_NO_MATCH = "usermap_no_match"
    TOKEN_MALFORMED = "token_malformed"  # noqa: S105 - what a line says
    TOKEN_EMPTY = "token_empty"  # noqa: S105
    TOKEN_NOT_BEARER = "token_not_bearer"  # noqa: S105
    MESSAGE_BROKEN = "message_broken"
    """A message that is too long or breaks off; sessions that have long been logged in say so, too."""
    # FATAL lines
    OAUTH_FAILED = "oauth_failed"
    SASL_MALFORMED = "sasl_malformed"
    SASL_NO_AUTH_VALUE = "sasl_no_auth_value"
    CHANNEL_BINDING_UNSUPPORTED = "channel_binding_unsupported"
    AUTHZID_UNSUPPORTED = "authzid_unsupported"
    HANDSHAKE_TIMEOUT = "handshake_timeout"
    OTHER_METHOD_FAILED = "other_method_failed"
    HBA_NO_ENTRY = "hba_no_entry"
    HBA_REJECTED = "hba_rejected"
    ROLE_MISSING = "role_missing"
    ROLE_NOLOGIN = "role_nologin"
    ROLE_CONNECTION_LIMIT = "role_connection_limit"
    DATABASE_MISSING = "database_missing"
    DATABASE_NO_CONNECT = "database_no_connect"
    DATABASE_CONNECTION_LIMIT = "database_connection_limit"
    DATABASE_NOT_ACCEPTING = "database_not_accepting"
    TOO_MANY_CONNECTIONS = "too_many_connections"
    SERVER_NOT_READY = "server_not_ready"
    OTHER = "other"
    """A FATAL that is none of the above."""


class AuthEvent(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One line of a session that concerns its login. Times are seconds since the epoch, durations seconds.

    A field is None where the line does not say it. Texts come from users: never a metric label, never trusted.
    """

    kind: EventKind
    time: float
    pid: int
    session_id: str | None = None
    """`%lx.%x` of start time and pid; csvlog and jsonlog always have it, stderr only with %c."""
    line_num: int | None = None
    """Counts the session's lines from 1 (csvlog, jsonlog, %l)."""
    role: str | None = None
    database: str | None = None
    client_addr: str | None = None
    """Host as logged, or "[local]"."""
    client_port: int | None = None
    application_name: str | None = None
    identity: str | None = None
    method: str | None = None
    """Word of pg_hba.conf: oauth, scram-sha-256, trust, …"""
    hba_file: str | None = None
    hba_line: int | None = None
    usermap: str | None = None
    delegated: bool = False
    """The matched rule has delegate_ident_mapping=1."""
    saying: Saying | None = None
    reason_code: str | None = None
    """Saying.SHIM and FOREIGN: the code of a tokens.reasons.Reason."""
    detail: str | None = None
    """Saying.SHIM and FOREIGN: its sentence. FATAL of PostgreSQL 19: the validator's error_detail. Token-like runs are
    redacted."""
    leaked: bool = False
    """The line has a token in it, where only a validator can have written it."""
    sqlstate: str | None = None
    server_version: int | None = None
    """SERVER_STARTED: the major version."""
    setup_seconds: float | None = None
    fork_seconds: float | None = None
    authentication_seconds: float | None = None
