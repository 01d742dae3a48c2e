"""`pgoauthd check-config`: what a good configuration means, for people or as JSON; it never shows a secret.

The files that it names are tried by `checkfiles`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import msgspec

from pgoauthd.commands.checkfiles import try_files
from pgoauthd.config.reader import load
from pgoauthd.config.values import Cluster, Config, Introspection, Issuer, Probe, RoleRule
from pgoauthd.tokens.profiles import PROFILES, profile_defaults

_OWN_LINES = ("issuer", "name", "profile", "mode", "introspection", "role_rules")
"""What of an issuer is not shown as one of its values."""


def check_file(path: Path, *, as_json: bool) -> None:
    """Read the file and show what it means; ConfigError with all its problems."""
    config = load(path, as_service=False)
    notes = try_files(config, str(path))
    summary = summarize(config)
    if as_json:
        click.echo(msgspec.json.encode({"file": str(path), "good": True, **summary, "notes": notes}).decode())
        return
    click.echo(f"{path}: good; issuers: {len(config.issuers)}, clusters: {len(config.clusters)}")
    for section, shown in summary.items():
        for one in shown if isinstance(shown, list) else [shown]:
            click.echo(f"\n{_heading(section, one)}")
            for key, value in one.items():
                _print_value(key, value)
    for number, note in enumerate(notes):
        click.echo(note if number else f"\n{note}")


def summarize(config: Config) -> dict[str, Any]:
    """The parts of a configuration with the values that are not everybody's, in plain types."""
    return {
        "issuers": [_issuer(issuer) for issuer in config.issuers],
        "clusters": [_cluster(cluster) for cluster in config.clusters],
        "probes": [_probe(probe) for probe in config.probes],
        "notify": [{"name": one.name, "kind": one.kind, "host": urlsplit(one.url).netloc} for one in config.notify],
        "daemon": {
            "socket": config.callout.socket,
            "allowed_users": list(config.callout.allowed_users),
            "metrics": config.web.listen,
            "state": config.state.path,
            "outcomes": config.outcomes.path,
        },
    }


def _issuer(issuer: Issuer) -> dict[str, Any]:
    """Its values that differ from those of the profile generic, those of its own profile apart."""
    generic = Issuer(issuer=issuer.issuer, audiences=())
    profile = profile_defaults(issuer.profile, {"issuer": issuer.issuer, "audiences": list(issuer.audiences)})
    changed = {
        name: _plain(name, getattr(issuer, name))
        for name in Issuer.__struct_fields__
        if name not in _OWN_LINES and (name in profile or getattr(issuer, name) != getattr(generic, name))
    }
    return {
        "name": issuer.label,
        "issuer": issuer.issuer,
        "profile": issuer.profile,
        "provider": PROFILES[issuer.profile].provider,
        "mode": issuer.mode,
        "by_profile": _parted(changed, profile, _of_profile),
        "by_file": _parted(changed, profile, _own),
        "introspection": _introspection(issuer.introspection),
        "role_rules": [_rule(rule) for rule in issuer.role_rules],
    }


def _parted(
    changed: dict[str, Any], profile: dict[str, object], part: Callable[[object, object], object]
) -> dict[str, object]:
    parts = {name: part(value, profile.get(name)) for name, value in changed.items()}
    return {name: value for name, value in parts.items() if value is not None}


def _own(value: object, of_profile: object) -> object:
    """What the file says itself; of required claims, those that the profile does not require."""
    if isinstance(value, dict) and isinstance(of_profile, dict):
        return {claim: values for claim, values in value.items() if of_profile.get(claim) != values} or None
    return None if value == of_profile else value


def _of_profile(value: object, of_profile: object) -> object:
    """What of a value is the profile's."""
    if isinstance(value, dict) and isinstance(of_profile, dict):
        return {claim: values for claim, values in value.items() if of_profile.get(claim) == values} or None
    return value if value == of_profile else None


def _introspection(asked: Introspection | None) -> dict[str, Any] | None:
    """How it is asked; of the files only their names."""
    if asked is None:
        return None
    values = {name: _plain(name, getattr(asked, name)) for name in Introspection.__struct_fields__}
    if asked.private_key_file is None:
        del values["private_key_algorithm"]
    return {name: value for name, value in values.items() if value not in (None, [])}


def _rule(rule: RoleRule) -> str:
    roles = ", ".join(rule.roles) or f"all that match {rule.roles_regex}"
    conditions = [
        f"{subject} {f'is {value}' if value is not None else f'matches {pattern}'}"
        for subject, value, pattern in (
            ("identity", rule.identity, rule.identity_regex),
            (rule.claim, rule.value, rule.value_regex),
        )
        if value is not None or pattern is not None
    ]
    return f"{rule.action} {roles} where {' and '.join(conditions)}" if conditions else f"{rule.action} {roles}"


def _cluster(cluster: Cluster) -> dict[str, Any]:
    shown = ("name", "logs", "log_line_prefix", "log_timezone", "ident_file", "validated_here")
    return {name: value for name in shown if (value := _plain(name, getattr(cluster, name))) is not None}


def _probe(probe: Probe) -> dict[str, Any]:
    """What is set, and what everybody wants to know; of the secrets only the names of their files."""
    usual = Probe(name="", host="", user="", database="", oauth_client_id="")
    shown = ("name", "server", "host", "port", "database", "user", "interval_seconds", "ssl_verify", "oauth_grant_type")
    return {
        name: _plain(name, getattr(probe, name))
        for name in Probe.__struct_fields__
        if name in shown or getattr(probe, name) != getattr(usual, name)
    }


def _plain(name: str, value: object) -> Any:  # noqa: ANN401 - what JSON can be
    """As TOML would have it; a proxy without its user and password."""
    if name == "proxy" and isinstance(value, str):
        parts = urlsplit(value)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return msgspec.json.decode(msgspec.json.encode(value))


def _heading(section: str, one: dict[str, Any]) -> str:
    name = one.pop("name", None)
    return click.style(section.removesuffix("s") if name is None else f"{section.removesuffix('s')} {name}", bold=True)


def _print_value(key: str, value: object) -> None:
    """One line; a table and a list of rules with a line for each."""
    if value in (None, [], {}):
        return
    if isinstance(value, dict):
        click.echo(f"  {_TITLES.get(key, key)}")
        for inner, one in value.items():
            click.echo(f"    {inner:<24} {_text(one)}")
    elif key == "role_rules" and isinstance(value, list):
        click.echo(f"  {_TITLES[key]}")
        for number, rule in enumerate(value, 1):
            click.echo(f"    {number}. {rule}")
    else:
        click.echo(f"  {key:<26} {_text(value)}")


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "; ".join(f"{name} = {_text(one)}" for name, one in value.items())
    if isinstance(value, list):
        return ", ".join(str(one) or '""' for one in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


_TITLES = {
    "by_profile": "from the profile",
    "by_file": "from the file",
    "role_rules": "role rules, the first that fits decides",
}
