"""The configuration as values: one frozen Config. `config.reader` makes it from TOML; it never reads files."""

from __future__ import annotations

import msgspec

from pgoauthd.tokens import issuers as policies
from pgoauthd.tokens.claimpaths import read_identity_source, read_path
from pgoauthd.tokens.issuers import IssuerPolicy, Mode, RequiredClaim, ScopeMatching, ScopeRule
from pgoauthd.tokens.linearregex import LinearRegex


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
    """Where positions, open sessions, counters and the history of outcomes survive a restart."""

    path: str = "/var/lib/pgoauthd/state.db"
    verdicts_path: str | None = None
    """The file for verdicts between two saves, best in memory; where it is not said, see `runtime.store`."""


class History(msgspec.Struct, frozen=True, kw_only=True):
    """How long outcomes are kept in the state."""

    keep_days: float = 30.0
    max_megabytes: int = 1024
    """Of the whole state file, in units of 1,000,000 bytes."""


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """The daemon's own log, on standard error."""

    level: str = "info"
    format: str = "auto"
    """auto (readable on a terminal, JSON otherwise), text, json."""


class Reload(msgspec.Struct, frozen=True, kw_only=True):
    """How a change of the configuration reaches the running daemon."""

    watch: bool = True
    """Without a signal: a while after this file, or one that it names, has changed."""


class Outcomes(msgspec.Struct, frozen=True, kw_only=True):
    """Where ended attempts are written, one JSON object a line (docs/outcome.md)."""

    path: str | None = None


class RoleRule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule for delegate_ident_mapping=1."""

    action: str = "allow"
    """allow, deny."""
    roles: tuple[str, ...] = ()
    roles_regex: str | None = None
    identity: str | None = None
    identity_regex: str | None = None
    claim: str | None = None
    value: str | None = None
    value_regex: str | None = None


class Introspection(msgspec.Struct, frozen=True, kw_only=True):
    """How the issuer is asked about a token (RFC 7662)."""

    client_id: str
    client_auth: str = "client_secret_basic"
    """client_secret_basic, client_secret_post, private_key_jwt, tls_client_auth."""
    client_secret_file: str | None = None
    """Read at the start and at each reload; a line break at its end is no part of the secret."""
    private_key_file: str | None = None
    """PEM, for private_key_jwt (RFC 7523)."""
    private_key_id: str | None = None
    """`kid` of the assertion."""
    private_key_algorithm: str = "RS256"
    endpoint: str | None = None
    """From the metadata where it is not given."""
    signed_answers: bool = False
    """Ask for signed answers (RFC 9701) and take no others."""
    cache_seconds: float = 10.0
    """How long `active` is believed, never past exp: a revocation is noticed within it."""
    negative_cache_seconds: float = 5.0
    timeout_seconds: float = 3.0
    """Of one request; a retry has its own."""
    max_concurrent: int = 32
    optional: tuple[str, ...] = ()
    """Of iss, aud, exp: what an answer may lack."""


class Issuer(msgspec.Struct, frozen=True, kw_only=True):
    """One identity provider, and what its tokens must be. The defaults are those of the profile `generic`."""

    issuer: str
    audiences: tuple[str, ...]
    name: str | None = None
    profile: str = "generic"
    mode: str = "jwt"
    token_issuers: tuple[str, ...] = ()
    audience_claims: tuple[str, ...] = ("aud",)
    required_claims: dict[str, tuple[str, ...]] = {}
    accept_id_tokens: bool = False
    accept_sender_constrained: bool = False
    algorithms: tuple[str, ...] = ("RS256", "PS256", "ES256", "EdDSA")
    token_types: tuple[str, ...] = ("at+jwt", "JWT", "")
    required_scopes: tuple[str, ...] = ()
    any_scopes: tuple[str, ...] = ()
    hba_scopes: str = "all"
    scope_claims: tuple[str, ...] = ("scope", "scp")
    scope_matching: str = "exact"
    scope_prefixes: tuple[str, ...] = ()
    implied_scopes: tuple[str, ...] = ()
    identity_claims: tuple[str, ...] = ("sub",)
    identity_lowercase: bool = False
    identity_strip_domains: tuple[str, ...] = ()
    leeway_seconds: float = 30.0
    max_lifetime_seconds: float = 86_400.0
    pinned_key_issuers: bool = False
    metadata_url: str | None = None
    """Fetched instead of the issuer's own well-known URLs; what it says must still name the issuer."""
    jwks_uri: str | None = None
    """Skips discovery of the keys."""
    ca_file: str | None = None
    tls_certificate_file: str | None = None
    """PEM, shown to the issuer in every connection (mutual TLS)."""
    tls_key_file: str | None = None
    proxy: str | None = None
    """http:// URL of a proxy for every request to this issuer."""
    allow_loopback_http: bool = False
    fetch_timeout_seconds: float = 5.0
    keys_ttl_seconds: float = 3600.0
    """Refreshed in the background at 80 % of it."""
    keys_max_stale_seconds: float = 86_400.0
    unknown_kid_interval_seconds: float = 30.0
    """At most one refetch for unknown kids in this time."""
    introspection: Introspection | None = None
    role_rules: tuple[RoleRule, ...] = ()

    @property
    def label(self) -> str:
        """The `issuer` label of metrics: the name, or the issuer itself."""
        return self.name or self.issuer

    @property
    def policy(self) -> IssuerPolicy:
        """What the validation core demands of this issuer's tokens; the values have been checked by `config.rules`."""
        asked = self.introspection
        return IssuerPolicy(
            name=self.label,
            issuer=self.issuer,
            metadata_url=self.metadata_url,
            token_issuers=self.token_issuers,
            mode=Mode(self.mode),
            audiences=self.audiences,
            audience_claims=tuple(read_path(claim) for claim in self.audience_claims),
            required_claims=tuple(
                RequiredClaim(read_path(claim), values) for claim, values in self.required_claims.items()
            ),
            accept_id_tokens=self.accept_id_tokens,
            accept_sender_constrained=self.accept_sender_constrained,
            algorithms=self.algorithms,
            token_types=self.token_types,
            required_scopes=self.required_scopes,
            any_scopes=self.any_scopes,
            hba_scopes=ScopeRule(self.hba_scopes),
            scope_claims=tuple(read_path(claim) for claim in self.scope_claims),
            scope_matching=ScopeMatching(self.scope_matching),
            scope_prefixes=self.scope_prefixes,
            implied_scopes=self.implied_scopes,
            identities=tuple(read_identity_source(claim) for claim in self.identity_claims),
            identity_lowercase=self.identity_lowercase,
            identity_strip_domains=self.identity_strip_domains,
            leeway=self.leeway_seconds,
            max_lifetime=self.max_lifetime_seconds,
            pinned_key_issuers=self.pinned_key_issuers,
            introspection_client=asked.client_id if asked is not None else None,
            introspection_optional=asked.optional if asked is not None else (),
            role_rules=tuple(_role_rule(rule) for rule in self.role_rules),
        )


def _role_rule(rule: RoleRule) -> policies.RoleRule:
    return policies.RoleRule(
        allow=rule.action == "allow",
        roles=rule.roles,
        roles_regex=_regex(rule.roles_regex),
        identity=rule.identity,
        identity_regex=_regex(rule.identity_regex),
        claim=read_path(rule.claim) if rule.claim is not None else None,
        value=rule.value,
        value_regex=_regex(rule.value_regex),
    )


def _regex(pattern: str | None) -> LinearRegex | None:
    return None if pattern is None else LinearRegex(pattern)


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
    ident_file: str | None = None
    """The server's pg_ident.conf, to say which line of a user name map would let a login in."""
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


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """A login as Kong Gateway makes it, tried again and again; what begins with oauth_ has Kong's names."""

    name: str
    host: str
    user: str
    database: str
    port: int = 5432
    server: str = "primary"
    """primary, replica."""
    interval_seconds: float = 60.0
    """From one probe to the next, give or take a tenth."""
    timeout_seconds: float = 5.0
    """Of each of the five steps."""
    ssl_verify: bool = True
    sslrootcert: str | None = None
    """PEM file of the authorities that may certify the server, in place of the system's."""
    ca_file: str | None = None
    """The same for the identity provider."""
    proxy: str | None = None
    """http:// URL of a proxy for requests to the identity provider."""
    allow_loopback_http: bool = False
    oauth_client_id: str
    oauth_client_secret_file: str | None = None
    oauth_token_endpoint: str | None = None
    """Wins over the discovery endpoint."""
    oauth_discovery_endpoint: str | None = None
    oauth_scope: str | None = None
    oauth_audience: str | None = None
    oauth_grant_type: str = "client_credentials"
    """client_credentials, password."""
    oauth_token_endpoint_auth_method: str = "client_secret_post"  # noqa: S105 - the name of a method
    """client_secret_post, client_secret_basic."""
    oauth_username: str | None = None
    oauth_password_file: str | None = None
    oauth_resource: str | None = None
    """Sent with the password grant alone."""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The whole configuration."""

    callout: Callout = Callout()
    web: Web = Web()
    state: State = State()
    history: History = History()
    log: Log = Log()
    reload: Reload = Reload()
    outcomes: Outcomes = Outcomes()
    issuers: tuple[Issuer, ...] = ()
    clusters: tuple[Cluster, ...] = ()
    notify: tuple[Notify, ...] = ()
    probes: tuple[Probe, ...] = ()
