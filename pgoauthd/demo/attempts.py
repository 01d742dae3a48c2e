"""One attempt of the scripted day, as data and in deed; what attempts there are stands in `demo.scenarios`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from pgoauthd.correlation.outcome import Result
from pgoauthd.demo.cluster import DemoCluster
from pgoauthd.demo.issuer import Outage
from pgoauthd.demo.scene import Issuers
from pgoauthd.runtime.pgclient import Departure, LoginResult, abandon, login, stall
from pgoauthd.tokens.reasons import Reason

TokenFactory = Callable[[Issuers], str]


class Condition(Enum):
    """What must be so during an attempt; those with NONE may run all at once."""

    NONE = "none"
    ISSUER_DOWN = "issuer_down"
    """The main issuer is out of reach; `perform` arranges it."""
    KEYS_ROTATED = "keys_rotated"
    """The main issuer has just rotated its keys; `perform` arranges it. The daemon must be allowed to fetch keys for an
    unknown kid: it has not done so in the last unknown_kid_interval_seconds."""
    DAEMON_DOWN = "daemon_down"
    """Nobody listens on the validation socket; the caller arranges it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt, how it is made, and what its outcome must be."""

    name: str
    """Also its application_name."""
    note: str
    """What happens, for people, in a few words."""
    role: str = "alice"
    database: str = "app"
    token: TokenFactory | None = None
    """None asks for the issuer, unless `message` says something else."""
    message: bytes | None = None
    """In place of the whole SASL message."""
    over_unix: bool = False
    departure: Departure | None = None
    """The client goes away instead of logging in."""
    stalls: bool = False
    """The client says no more, until authentication_timeout."""
    condition: Condition = Condition.NONE
    result: Result
    reason: Reason
    identity: str | None = None
    """Of the outcome: who it was, where the token was verified and is for us."""
    sqlstate: str | None = None
    """What the client is told."""

    @property
    def slow(self) -> bool:
        """It takes as long as authentication_timeout; else an attempt takes milliseconds."""
        return self.stalls


async def perform(
    attempt: Attempt, cluster: DemoCluster, issuers: Issuers, *, deadline_seconds: float = 15.0
) -> LoginResult:
    """Make one attempt; OSError where there was no conversation with the server.

    The deadline must be longer than authentication_timeout for an attempt that stalls.
    """
    if attempt.condition is Condition.KEYS_ROTATED:
        issuers.main.rotate()
    if attempt.condition is not Condition.ISSUER_DOWN:
        return await _make(attempt, cluster, issuers, deadline_seconds)
    issuers.main.outage(Outage.DROPPED)
    try:
        return await _make(attempt, cluster, issuers, deadline_seconds)
    finally:
        issuers.main.outage(Outage.NONE)


async def _make(attempt: Attempt, cluster: DemoCluster, issuers: Issuers, deadline_seconds: float) -> LoginResult:
    address = cluster.unix if attempt.over_unix else cluster.tcp
    role, database = attempt.role, attempt.database
    if attempt.departure is not None:
        departure = attempt.departure
        return await abandon(
            address, role=role, database=database, departure=departure, deadline_seconds=deadline_seconds
        )
    if attempt.stalls:
        return await stall(address, role=role, database=database, deadline_seconds=deadline_seconds)
    return await login(
        address,
        role=role,
        database=database,
        token=attempt.token(issuers) if attempt.token is not None else None,
        application_name=attempt.name,
        message=attempt.message,
        deadline_seconds=deadline_seconds,
    )
