"""The steps of a probe in their order, and how one probe went; it never makes one."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

from pgoauthd.probing.parameters import Parameters
from pgoauthd.probing.tokenfacts import TokenFacts


class Step(StrEnum):
    """What a login needs, one after the other; values of the `step` label."""

    TOKEN = "token"  # noqa: S105 - the name of a step
    """A token from the identity provider, its metadata included where those say where."""
    CONNECT = "connect"
    """A connection to the server, its name resolved."""
    TLS = "tls"
    SASL = "sasl"
    """The server takes the token."""
    READY = "ready"
    """The role may use the database, and `select 1` is answered."""


class StepDone(msgspec.Struct, frozen=True):
    """One step that was begun."""

    step: Step
    seconds: float
    ok: bool


class Failure(msgspec.Struct, frozen=True):
    """Why a step failed, in one sentence, and what to do."""

    message: str
    remedy: str


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a server says to whom it refuses (RFC 7628 section 3.2.2)."""

    status: str
    openid_configuration: str | None = None
    scope: str | None = None


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What was learnt of server and connection on the way."""

    tls_version: str | None = None
    server_version: str | None = None
    standby: bool | None = None
    """`in_hot_standby`, which the server reports; None where it was not reached so far."""
    sqlstate: str | None = None
    local_address: str | None = None
    local_port: int | None = None
    wanted: Wanted | None = None


class Probed(msgspec.Struct, frozen=True, kw_only=True):
    """How one probe went. Nothing of it is a secret, or a piece of a token."""

    parameters: Parameters
    steps: tuple[StepDone, ...]
    """Those that were begun."""
    failure: Failure | None = None
    token_endpoint: str | None = None
    token: TokenFacts | None = None
    seen: Seen = Seen()
    outcome: Mapping[str, Any] | None = None
    """What our own side knows of a login that failed (docs/outcome.md)."""
    hints: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """All steps were done."""
        return self.failure is None

    @property
    def failed(self) -> Step | None:
        """The step that failed."""
        return None if self.ok else self.steps[-1].step
