"""One attempt to log in, ended: the Outcome. Its JSON is a contract, `docs/outcome.md`; never holds a token."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from pgoauthd.mapping.prediction import MapPrediction
from pgoauthd.tokens.reasons import Fault, Reason, Stage
from pgoauthd.tokens.verdict import KeptClaims


class Result(StrEnum):
    """How an attempt ended. A discovery is no failure, an abandoned attempt is neither success nor refusal."""

    SUCCESS = "success"
    REFUSED = "refused"
    DISCOVERY = "discovery"
    ABANDONED = "abandoned"


class Unmatched(StrEnum):
    """What could not be joined, each a finding of its own."""

    LOGGED_NOT_VALIDATED = "logged_not_validated"
    """The log shows an OAuth identity that pgoauthd never vouched for: another validator, or a forged log line."""
    VALIDATED_NOT_LOGGED = "validated_not_logged"
    """A token was validated for a session that no log line mentions: log_connections is off, or lines were lost."""
    LATE = "late"
    """A line of a session whose outcome had been decided."""
    EVICTED = "evicted"
    """An open session given up because too many were open."""
    UNFINISHED = "unfinished"
    """A session still open when the log ended (replay) or the daemon stopped."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to one login attempt. Times are seconds since the epoch (RFC 3339 in JSON), durations seconds.

    The members stand in the order that they have in JSON.
    """

    id: int | None = None
    """Its number in the daemon's history, ascending and never used twice; None in a replay."""
    time: float
    """When it was decided, by the server's clock."""
    started: float | None
    """When the connection was received."""
    cluster: str
    session_id: str | None
    pid: int
    result: Result
    reason: Reason
    stage: Stage
    fault: Fault
    method: str
    role: str | None
    database: str | None
    identity: str | None
    client_addr: str | None
    client_port: int | None
    application_name: str | None
    hba_file: str | None
    hba_line: int | None
    usermap: str | None
    delegated: bool
    issuer: str | None
    message: str
    """One sentence on this attempt: the validator's own where there is one, else the reason's."""
    remedy: str
    claims: KeptClaims | None = None
    mapping: MapPrediction | None = None
    """What pg_ident.conf said of this login before the server did, where there is a map."""
    validation_seconds: float | None = None
    """Our own share of the login, from the request on the socket to the reply."""
    server_authentication_seconds: float | None = None
    """`connection ready: … authentication=`, where log_connections includes setup_durations."""
    server_setup_seconds: float | None = None
