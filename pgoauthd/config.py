"""The configuration: a TOML file becomes one frozen Config, or one ConfigError with every problem found.

It never reads anything but the text it is handed, apart from `load`. docs/configuration.md documents each key.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from pgoauthd.errors import ConfigError, LogFormatError, Problem
from pgoauthd.logs.prefix import compile_prefix
from pgoauthd.tokens.issuers import ASYMMETRIC_ALGORITHMS, IssuerPolicy, RoleGrant
from pgoauthd.tokens.reasons import Reason

T = TypeVar("T", bound=msgspec.Struct)


class Callout(msgspec.Struct, frozen=True, kw_only=True):
    """The validation socket."""

    socket: str = "/run/pgoauthd/pgoauthd.sock"
    allowed_users: tuple[str | int, ...] = ("postgres",)
    """Names or uids of the operating system users whose processes may ask; root and our own uid always may."""
    max_connections: int = 1024
    max_connections_per_uid: int = 1024
    max_token_bytes: int = 16_384
    request_timeout_seconds: float = 10.0
    """Deadline of one request, an unreachable identity provider included."""


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


def load(path: Path) -> Config:
    """Read the configuration file; ConfigError with all its problems."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(str(path), (Problem("file", f"cannot be read: {error.strerror}", "check the path"),)) from None
    except UnicodeDecodeError:
        raise ConfigError(str(path), (Problem("file", "is not UTF-8", "save it as UTF-8"),)) from None
    return parse(text, source=str(path))


def parse(text: str, *, source: str = "configuration") -> Config:
    """Turn TOML into a Config; ConfigError with all problems, each with its line or key and a remedy."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(source, (Problem("TOML", str(error), "correct the syntax at that line"),)) from None
    reader = _Reader()
    config = reader.table(Config, raw, "")
    _check_uniqueness(config, reader.problems)
    if reader.problems:
        raise ConfigError(source, tuple(Problem(_place(text, p.where), p.what, p.remedy) for p in reader.problems))
    return config


class _Reader:
    """Reads tables field by field, so that one mistake does not hide the next."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def table(self, kind: type[T], raw: dict[str, Any], path: str) -> T:
        """A value of `kind`; what is wrong in `raw` goes to `problems` and is replaced by something harmless."""
        fields = {field.name: field for field in msgspec.structs.fields(kind)}
        values: dict[str, Any] = {}
        for key, value in raw.items():
            where = f"{path}{key}"
            if key not in fields:
                self.problem(where, "is not a known key", _did_you_mean(key, fields))
            elif (nested := _NESTED.get((kind, key))) is not None:
                values[key] = self.nested(nested, value, where)
            else:
                self.leaf(values, key, fields[key].type, value, where)
        self.check(kind, values, path)
        for name, field in fields.items():
            if name not in values and field.required:
                if name not in raw:
                    self.problem(f"{path}{name}", "is required", _REQUIRED_REMEDY[kind, name])
                values[name] = () if name != "name" else "?"
        return kind(**values)

    def nested(self, kind: type[msgspec.Struct], value: Any, where: str) -> Any:
        single = kind in (Callout, Web, State, Log, Outcomes)
        if single and isinstance(value, dict):
            return self.table(kind, value, f"{where}.")
        if not single and isinstance(value, list) and all(isinstance(item, dict) for item in value):
            return tuple(self.table(kind, item, f"{where}[{i}].") for i, item in enumerate(value))
        self.problem(where, "is not a table", f"write [{where}]" if single else f"write [[{where}]]")
        return kind() if single else ()

    def leaf(self, values: dict[str, Any], key: str, kind: Any, value: Any, where: str) -> None:
        try:
            values[key] = msgspec.convert(value, kind, strict=True)
        except msgspec.ValidationError as error:
            self.problem(where, _plain(str(error)), "see docs/configuration.md for the type of this key")

    def check(self, kind: type[msgspec.Struct], values: dict[str, Any], path: str) -> None:
        for name, rule in _RULES.get(kind, {}).items():
            if name in values and (wrong := rule(values[name])) is not None:
                self.problem(f"{path}{name}", *wrong)
                del values[name]

    def problem(self, where: str, what: str, remedy: str) -> None:
        self.problems.append(Problem(where, what, remedy))
