"""What is different between two configurations, in words, and whether a running daemon can do it; never a value.

Only names and keys are said: the URL of a chat service is a secret.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from pgoauthd.config.values import Config
from pgoauthd.errors import Problem

FIXED = (
    ("callout", "socket"),
    ("web", "listen"),
    ("state", "path"),
    ("state", "verdicts_path"),
    ("log", "level"),
    ("log", "format"),
)
"""What is used once, at the start."""

_SINGLE = ("callout", "history", "reload", "outcomes")


def fixed_keys_changed(old: Config, new: Config) -> tuple[Problem, ...]:
    """A problem for each difference that only a restart can make."""
    return tuple(
        Problem(f"{table}.{key}", "cannot change while the daemon runs", "restart to change it, or take it back")
        for table, key in FIXED
        if getattr(getattr(old, table), key) != getattr(getattr(new, table), key)
    )


def describe_changes(old: Config, new: Config) -> tuple[str, ...]:
    """Each difference as `issuer people changed: audiences`; () where there is none."""
    return (
        *_tables("issuer", _by_name(old.issuers, "label"), _by_name(new.issuers, "label")),
        *_tables("cluster", _by_name(old.clusters, "name"), _by_name(new.clusters, "name")),
        *_tables("notify", _by_name(old.notify, "name"), _by_name(new.notify, "name")),
        *_tables("probe", _by_name(old.probes, "name"), _by_name(new.probes, "name")),
        *(f"{table} changed: {keys}" for table in _SINGLE if (keys := _keys(getattr(old, table), getattr(new, table)))),
    )


def files_named(config: Config) -> frozenset[str]:
    """The files with secrets, keys and certificates that the configuration names, as it names them."""
    named: set[str | None] = set()
    for issuer in config.issuers:
        named |= {issuer.ca_file, issuer.tls_certificate_file, issuer.tls_key_file}
        if issuer.introspection is not None:
            named |= {issuer.introspection.client_secret_file, issuer.introspection.private_key_file}
    for probe in config.probes:
        named |= {probe.sslrootcert, probe.ca_file, probe.oauth_client_secret_file, probe.oauth_password_file}
    return frozenset(file for file in named if file is not None)


def _tables(kind: str, old: Mapping[str, msgspec.Struct], new: Mapping[str, msgspec.Struct]) -> Iterator[str]:
    yield from (f"{kind} {name} added" for name in new if name not in old)
    yield from (f"{kind} {name} removed" for name in old if name not in new)
    for name, table in new.items():
        if name in old and (keys := _keys(old[name], table)):
            yield f"{kind} {name} changed: {keys}"
    if [name for name in old if name in new] != [name for name in new if name in old]:
        yield f"order of the {kind} tables changed"


def _by_name(tables: tuple[msgspec.Struct, ...], name: str) -> dict[str, msgspec.Struct]:
    return {getattr(table, name): table for table in tables}


def _keys(old: msgspec.Struct, new: msgspec.Struct) -> str:
    return ", ".join(key for key in old.__struct_fields__ if getattr(old, key) != getattr(new, key))
