"""The configuration as values: one frozen Config. `configreader` makes it from TOML; it never reads files."""

from __future__ import annotations

import msgspec

from pgoauthd.tokens.issuers import IssuerPolicy, RoleGrant


class Callout(msgspec.Struct, frozen=True, kw_only=True):
    """The validation socket."""

    socket: str = "/run/pgoauthd/pgoauthd.sock"
    allowed_users: tuple[str | int, ...] = ("postgres",)
    """Names or uids of the operating system users whose processes may ask; root and our own uid always may."""
    max_connections: int = 1024
    max_connections_per_uid: int = 1024
    max_token_bytes: int = 16_384
    request_timeout_seconds: float = 8.0
    """Deadline of one request, an unreachable identity provider included; below the shim's 10 s, so it hears why."""


class Web(msgspec.Struct, frozen=True, kw_only=True):
    """Where /metrics and /healthz are served."""

    listen: str = "127.0.0.1:9713"

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of `listen`."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Where positions and open sessions survive a restart."""

    path: str = "/var/lib/pgoauthd/state.db"


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """The daemon's own log, on standard error."""

    level: str = "info"
    format: str = "auto"
    """auto (readable on a terminal, JSON otherwise), text, json."""


class Outcomes(msgspec.Struct, frozen=True, kw_only=True):
    """Where ended attempts are written, one JSON object a line (docs/outcome.md)."""

    path: str | None = None


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """One rule for delegate_ident_mapping=1."""

    roles: tuple[str, ...]
    identity: str | None = None
    claim: str | None = None
    value: str | None = None


class Issuer(msgspec.Struct, frozen=True, kw_only=True):
    """One identity provider, and what its tokens must be."""

    issuer: str
    audiences: tuple[str, ...]
    name: str | None = None
    algorithms: tuple[str, ...] = ("RS256", "PS256", "ES256", "EdDSA")
    token_types: tuple[str, ...] = ("at+jwt", "JWT", "")
    required_scopes: tuple[str, ...] = ()
    scope_claims: tuple[str, ...] = ("scope", "scp")
    identity_claims: tuple[str, ...] = ("sub",)
    leeway_seconds: float = 30.0
    max_lifetime_seconds: float = 86_400.0
    jwks_uri: str | None = None
    """Skips discovery."""
    ca_file: str | None = None
    allow_loopback_http: bool = False
    fetch_timeout_seconds: float = 5.0
    keys_ttl_seconds: float = 3600.0
    """Refreshed in the background at 80 % of it."""
    keys_max_stale_seconds: float = 86_400.0
    unknown_kid_interval_seconds: float = 30.0
    """At most one refetch for unknown kids in this time."""
    grants: tuple[Grant, ...] = ()

    @property
    def label(self) -> str:
        """The `issuer` label of metrics: the name, or the issuer itself."""
        return self.name or self.issuer

    @property
    def policy(self) -> IssuerPolicy:
        """What the validation core demands of this issuer's tokens."""
        return IssuerPolicy(
            name=self.label,
            issuer=self.issuer,
            audiences=self.audiences,
            algorithms=self.algorithms,
            token_types=self.token_types,
            required_scopes=self.required_scopes,
            scope_claims=self.scope_claims,
            identity_claims=tuple(tuple(claim.split(".")) for claim in self.identity_claims),
            leeway=self.leeway_seconds,
            max_lifetime=self.max_lifetime_seconds,
            grants=tuple(
                RoleGrant(
                    roles=grant.roles,
                    identity=grant.identity,
                    claim=tuple(grant.claim.split(".")) if grant.claim else None,
                    value=grant.value,
                )
                for grant in self.grants
            ),
        )


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """One PostgreSQL server whose log is followed."""

    name: str
    logs: tuple[str, ...]
    """Files, globs or directories."""
    log_line_prefix: str = "%m [%p] "
    """The server's setting, for logs in stderr format."""
    log_timezone: str = "UTC"
    start: str = "end"
    """Where to begin in logs not seen before: end, beginning."""
    validated_here: bool = True
    """The server's validator is pgoauthd's: a login that was logged but never validated is a finding."""
    authentication_timeout_seconds: float = 60.0
    """The server's setting; an attempt silent for longer is over."""
    settle_seconds: float = 5.0
    """Wait for a FATAL after `connection authorized` where the server does not log `connection ready`."""
    max_open_sessions: int = 100_000
    max_line_bytes: int = 1_048_576


class Notify(msgspec.Struct, frozen=True, kw_only=True):
    """Where the daemon itself posts alerts."""

    name: str
    kind: str
    """alertmanager (API v2), webhook."""
    url: str
    reasons: tuple[str, ...] = ("usermap_no_match", "identity_mismatch", "delegation_refused", "scope_missing")
    group_interval_seconds: float = 60.0
    """At most one post per reason and cluster in this time."""
    resolve_after_seconds: float = 300.0


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The whole configuration."""

    callout: Callout = Callout()
    web: Web = Web()
    state: State = State()
    log: Log = Log()
    outcomes: Outcomes = Outcomes()
    issuers: tuple[Issuer, ...] = ()
    clusters: tuple[Cluster, ...] = ()
    notify: tuple[Notify, ...] = ()
