"""What each value of the configuration must be: one rule a key, as a table. Reads nothing but the value."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Callable
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from pgoauthd.config.credentials import CREDENTIALS
from pgoauthd.config.oauthclient import AuthMethod, GrantType
from pgoauthd.config.values import (
    Callout,
    Cluster,
    History,
    Introspection,
    Issuer,
    Log,
    Notify,
    Outcomes,
    Probe,
    RoleRule,
    State,
    Web,
)
from pgoauthd.errors import LogFormatError
from pgoauthd.logs.prefix import compile_prefix
from pgoauthd.tokens.claimpaths import read_identity_source, read_path
from pgoauthd.tokens.issuers import ASYMMETRIC_ALGORITHMS, Mode, ScopeMatching, ScopeRule
from pgoauthd.tokens.linearregex import LinearRegex
from pgoauthd.tokens.profiles import PROFILES
from pgoauthd.tokens.reasons import BY_CODE

Complaint = tuple[str, str] | None
"""What is wrong with a value and what to do, or None."""


def _items(value: object) -> tuple[object, ...]:
    """The items of a list, or the one value."""
    return value if isinstance(value, tuple) else (value,)


def _one_of(*allowed: str) -> Callable[[object], Complaint]:
    def rule(value: object) -> Complaint:
        wrong = [item for item in _items(value) if item not in allowed]
        if not wrong:
            return None
        close = [match for item in wrong for match in difflib.get_close_matches(str(item), allowed, n=1)]
        shown = f"did you mean {', '.join(close)}?" if len(close) == len(wrong) else "use " + ", ".join(allowed)
        return f"{', '.join(repr(item) for item in wrong)} is not known here", shown

    return rule


def _between(low: float, high: float, unit: str = "seconds") -> Callable[[object], Complaint]:
    def rule(value: object) -> Complaint:
        if isinstance(value, int | float) and low <= value <= high:
            return None
        return f"{value} is out of range", f"choose {low:g} to {high:g} {unit}".rstrip()

    return rule


def _not_blank(value: object) -> Complaint:
    return None if str(value).strip() else ("is empty", "give a value")


def _not_empty(value: object) -> Complaint:
    if isinstance(value, tuple) and value and all(value):
        return None
    return "is empty", "give at least one value, none of them empty"


def _each(read: Callable[[str], object], remedy: str) -> Callable[[object], Complaint]:
    """Every item, or the one value, is text that `read` takes; what its ValueError says is the complaint."""

    def rule(value: object) -> Complaint:
        for item in _items(value):
            try:
                read(str(item))
            except ValueError as error:
                return f"{item!r} cannot be used: {error}", remedy
        return None

    return rule


def _filled(rule: Callable[[object], Complaint]) -> Callable[[object], Complaint]:
    return lambda value: _not_empty(value) or rule(value)


def _read_identity(text: str) -> None:
    """ValueError where the source is none, or all people have the same."""
    source = read_identity_source(text)
    if all(isinstance(part, str) or part in _NOBODYS_OWN for part in source.parts):
        raise ValueError("everybody would be the same, as all tokens of an issuer can have the same there")


def _each_is(pattern: str, what_not: str, remedy: str) -> Callable[[object], Complaint]:
    """Every item, or the one value, is text that the pattern matches as a whole."""

    def rule(value: object) -> Complaint:
        wrong = next((item for item in _items(value) if re.fullmatch(pattern, str(item)) is None), None)
        return None if wrong is None else (f"{wrong!r} is {what_not}", remedy)

    return rule


def _absolute_path(value: object) -> Complaint:
    return None if str(value).startswith("/") else (f"{value!r} is not an absolute path", "begin it with /")


def _file(value: object) -> Complaint:
    """The value is not shown: it may be the secret itself."""
    if str(value).startswith(("/", CREDENTIALS)):
        return None
    return "is not an absolute path", f"begin it with / or, for a credential of systemd, with {CREDENTIALS}"


def _socket_path(value: object) -> Complaint:
    if len(str(value).encode()) > MAX_SOCKET_PATH:
        return "is too long for a Unix socket", f"use a path of at most {MAX_SOCKET_PATH} bytes"
    return _absolute_path(value)


def _listen(value: object) -> Complaint:
    host, _, port = str(value).rpartition(":")
    try:
        ipaddress.ip_address(host.strip("[]"))
        number = int(port)
    except ValueError:
        number = -1
    if 0 <= number <= MAX_PORT:
        return None
    return f"{value!r} is not ADDRESS:PORT", 'write for example "127.0.0.1:9713" or "[::1]:9713"'


def _timezone(value: object) -> Complaint:
    try:
        ZoneInfo(str(value))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return f"{value!r} is no time zone", "give the server's log_timezone, an IANA name such as Europe/Berlin"
    return None


def _prefix(value: object) -> Complaint:
    try:
        compile_prefix(str(value))
    except LogFormatError as error:
        return str(error), "copy the server's setting: SHOW log_line_prefix"
    return None


def _http_url(value: object) -> Complaint:
    """The value is not shown: it may have a password in it."""
    try:
        parts = urlsplit(str(value))
    except ValueError:
        parts = urlsplit("")
    if parts.scheme in ("http", "https") and parts.hostname and not parts.username:
        return None
    return "is no http or https URL without a user name", "write for example https://alertmanager.example.org:9093"


def _proxy(value: object) -> Complaint:
    """The value is not shown: it may have a password in it."""
    try:
        parts = urlsplit(str(value))
        good = parts.scheme == "http" and parts.hostname and parts.port != 0
    except ValueError:
        return "is no URL", _PROXY
    if not good:
        return "is no http URL with a host", _PROXY
    return None if parts.path in ("", "/") and not parts.query + parts.fragment else ("has a path", _PROXY)


MAX_SOCKET_PATH = 107
"""sun_path less its NUL (unix(7))."""
MAX_PORT = 65_535
_PROXY = "write for example http://proxy.example.org:3128; https URLs go through it by CONNECT"
_CLAIM = "write for example realm_access.roles; a part with a dot in it goes into double quotes"
_REGEX = "correct it; it is RE2's syntax, without lookaround and backreferences: github.com/google/re2/wiki/Syntax"
_NOBODYS_OWN = {("iss",), ("aud",), ("typ",), ("ver",), ("tid",), ("token_use",), ("token_type",), ("active",), ("hd",)}
"""Claims that tell no bearer from another."""
_claim_paths = _each(read_path, _CLAIM)
_regex = _each(LinearRegex, _REGEX)
_single_words = _each_is(r"\S+", "not one word", "give each as an item of its own, without spaces")
_domains = _each_is(r"[^\s@\\/]+", "no domain", 'write "example.org" or "EXAMPLE", without @ and \\')
_name = _each_is(
    "[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
    "not a short name",
    "use letters, digits, . _ - (64 at most): it becomes a metric label",
)

RULES: dict[type[msgspec.Struct], dict[str, Callable[[object], Complaint]]] = {
    Callout: {
        "socket": _socket_path,
        "max_connections": _between(1, 100_000, ""),
        "max_connections_per_uid": _between(1, 100_000, ""),
        "max_token_bytes": _between(1_024, 65_535, "bytes"),
        "request_timeout_seconds": _between(0.1, 60),
    },
    Web: {"listen": _listen},
    State: {"path": _absolute_path, "verdicts_path": _absolute_path},
    History: {"keep_days": _between(0.01, 36_500, "days"), "max_megabytes": _between(10, 1_000_000)},
    Log: {"level": _one_of("debug", "info", "warning", "error"), "format": _one_of("auto", "text", "json")},
    Outcomes: {"path": _absolute_path},
    Issuer: {
        "issuer": _not_blank,
        "name": _name,
        "audiences": _not_empty,
        "profile": _one_of(*PROFILES),
        "mode": _one_of(*Mode),
        "token_issuers": _single_words,
        "audience_claims": _filled(_claim_paths),
        "algorithms": _filled(_one_of(*ASYMMETRIC_ALGORITHMS)),
        "required_scopes": _single_words,
        "any_scopes": _single_words,
        "hba_scopes": _one_of(*ScopeRule),
        "scope_claims": _filled(_claim_paths),
        "scope_matching": _one_of(*ScopeMatching),
        "scope_prefixes": _single_words,
        "implied_scopes": _single_words,
        "identity_claims": _filled(_each(_read_identity, 'write for example "sub" or "${azp}@clients"')),
        "identity_strip_domains": _domains,
        "leeway_seconds": _between(0, 300),
        "max_lifetime_seconds": _between(1, 31_536_000),
        "metadata_url": _not_blank,
        "jwks_uri": _not_blank,
        "ca_file": _file,
        "tls_certificate_file": _file,
        "tls_key_file": _file,
        "proxy": _proxy,
        "fetch_timeout_seconds": _between(0.1, 60),
        "keys_ttl_seconds": _between(10, 86_400),
        "keys_max_stale_seconds": _between(0, 604_800),
        "unknown_kid_interval_seconds": _between(1, 3_600),
    },
    Introspection: {
        "client_id": _not_blank,
        "client_auth": _one_of("client_secret_basic", "client_secret_post", "private_key_jwt", "tls_client_auth"),
        "client_secret_file": _file,
        "private_key_file": _file,
        "private_key_id": _not_blank,
        "endpoint": _not_blank,
        "private_key_algorithm": _one_of(*ASYMMETRIC_ALGORITHMS),
        "cache_seconds": _between(0, 300),
        "negative_cache_seconds": _between(0, 300),
        "timeout_seconds": _between(0.1, 60),
        "max_concurrent": _between(1, 1_000, "requests"),
        "optional": _one_of("iss", "aud", "exp"),
    },
    RoleRule: {
        "action": _one_of("allow", "deny"),
        "roles": _not_empty,
        "roles_regex": _regex,
        "identity": _not_blank,
        "identity_regex": _regex,
        "claim": _claim_paths,
        "value": _not_blank,
        "value_regex": _regex,
    },
    Cluster: {
        "name": _name,
        "logs": _not_empty,
        "log_line_prefix": _prefix,
        "log_timezone": _timezone,
        "start": _one_of("end", "beginning"),
        "ident_file": _absolute_path,
        "authentication_timeout_seconds": _between(1, 600),
        "settle_seconds": _between(0.1, 60),
        "max_open_sessions": _between(100, 10_000_000, ""),
        "max_line_bytes": _between(1_024, 67_108_864, "bytes"),
    },
    Notify: {
        "name": _name,
        "kind": _one_of("alertmanager", "webhook"),
        "url": _http_url,
        "reasons": _one_of(*BY_CODE),
        "group_interval_seconds": _between(1, 86_400),
        "resolve_after_seconds": _between(1, 604_800),
    },
    Probe: {
        "name": _name,
        "host": _not_blank,
        "user": _not_blank,
        "database": _not_blank,
        "port": _between(1, MAX_PORT, ""),
        "server": _one_of("primary", "replica"),
        "interval_seconds": _between(5, 86_400),
        "timeout_seconds": _between(0.1, 60),
        "sslrootcert": _file,
        "ca_file": _file,
        "proxy": _proxy,
        "oauth_client_id": _not_blank,
        "oauth_client_secret_file": _file,
        "oauth_token_endpoint": _not_blank,
        "oauth_discovery_endpoint": _not_blank,
        "oauth_scope": _not_blank,
        "oauth_audience": _not_blank,
        "oauth_grant_type": _one_of(*GrantType),
        "oauth_token_endpoint_auth_method": _one_of(*AuthMethod),
        "oauth_username": _not_blank,
        "oauth_password_file": _file,
        "oauth_resource": _not_blank,
    },
}
