"""What no single value of a configuration shows: names given twice, keys that need others, files that are not there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pgoauthd.config.credentials import resolve
from pgoauthd.config.oauthclient import SECRETS, missing
from pgoauthd.config.values import Cluster, Config, Introspection, Issuer, Notify, Probe, RoleRule
from pgoauthd.errors import Problem
from pgoauthd.tokens.linearregex import LinearRegex
from pgoauthd.tokens.metadata import check_url
from pgoauthd.tokens.rolerules import PLACE

_PLURAL: dict[type[object], str] = {Cluster: "clusters", Issuer: "issuers", Notify: "notify", Probe: "probes"}
_NEEDED = {
    "client_secret_basic": "client_secret_file",
    "client_secret_post": "client_secret_file",
    "private_key_jwt": "private_key_file",
}
"""What each client_auth cannot do without; tls_client_auth uses the issuer's certificate."""
_URL_REMEDY = "use https (on loopback http too with allow_loopback_http = true)"


class Findings:
    """The problems of one file, in the order in which they were found."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def report(self, where: str, what: str, remedy: str) -> None:
        """One more."""
        self.problems.append(Problem(where, what, remedy))

    def has(self, where: str) -> bool:
        """Something is wrong there or in it already, so its value is not the one that the file gives."""
        return any(problem.where == where or problem.where.startswith(f"{where}.") for problem in self.problems)


def check_whole(config: Config, raw: Mapping[str, Any], found: Findings, *, as_service: bool) -> None:
    """Complain about what the tables of a file are together; the values alone have been checked.

    `as_service`: the file is for this very process, so the credentials that it names must be there.
    """
    _check_unique(config, found)
    for i, issuer in enumerate(config.issuers):
        _check_issuer(issuer, f"issuers[{i}].", found, as_service=as_service)
    for i, probe in enumerate(config.probes):
        _check_probe(probe, f"probes[{i}].", found, as_service=as_service)
    if not {"issuers", "clusters", "probes"} & raw.keys():
        found.report(
            "issuers, clusters", "are both missing, so there is nothing to do", "add [[issuers]], [[clusters]] or both"
        )


def _check_unique(config: Config, found: Findings) -> None:
    groups = (
        (config.clusters, "name"),
        (config.issuers, "issuer"),
        (config.issuers, "name"),
        (config.notify, "name"),
        (config.probes, "name"),
    )
    for group, key in groups:
        seen: set[str] = set()
        for i, item in enumerate(group):
            # An issuer without a name goes by its issuer: keys and metrics are told apart by it.
            value = item.label if isinstance(item, Issuer) and key == "name" else getattr(item, key)
            if value and value in seen:
                found.report(f"{_PLURAL[type(item)]}[{i}].{key}", f"{value!r} is given twice", "each may stand once")
            seen.add(value)


def _check_issuer(issuer: Issuer, path: str, found: Findings, *, as_service: bool) -> None:
    _check_urls(issuer, path, found)
    certified = issuer.tls_certificate_file is not None or found.has(f"{path}tls_certificate_file")
    if issuer.tls_key_file is not None and not certified:
        found.report(f"{path}tls_key_file", "has no certificate", "give tls_certificate_file, too")
    for key in ("ca_file", "tls_certificate_file", "tls_key_file"):
        _check_file(getattr(issuer, key), f"{path}{key}", found, as_service=as_service)
    if issuer.introspection is not None:
        _check_client(issuer.introspection, f"{path}introspection.", found, certified=certified)
        for key in ("client_secret_file", "private_key_file"):
            file = getattr(issuer.introspection, key)
            _check_file(file, f"{path}introspection.{key}", found, as_service=as_service)
    elif issuer.mode != "jwt" and not found.has(f"{path}introspection"):
        what = f"is {issuer.mode!r}, but nothing says how to ask the issuer"
        found.report(f"{path}mode", what, "add [issuers.introspection] with client_id")
    for i, rule in enumerate(issuer.role_rules):
        if not found.has(f"{path}role_rules[{i}]"):
            _check_rule(rule, f"{path}role_rules[{i}]", found)


def _check_probe(probe: Probe, path: str, found: Findings, *, as_service: bool) -> None:
    given = {name: getattr(probe, name, None) for name in Probe.__struct_fields__}
    given |= {secret: given[f"{secret}_file"] for secret in SECRETS}
    for key, what, remedy in missing(given):
        where = f"{path}{key}_file" if key in SECRETS else f"{path}{key}"
        if not found.has(where):
            found.report(where, what, f"{remedy}, in a file of its own" if key in SECRETS else remedy)
    for key in ("oauth_token_endpoint", "oauth_discovery_endpoint"):
        url = given[key]
        if url and (wrong := check_url(url, allow_loopback_http=probe.allow_loopback_http)) is not None:
            found.report(f"{path}{key}", wrong, _URL_REMEDY)
    for key in ("sslrootcert", "ca_file", "oauth_client_secret_file", "oauth_password_file"):
        _check_file(given[key], f"{path}{key}", found, as_service=as_service)
    if probe.oauth_resource is not None and probe.oauth_grant_type != "password":
        found.report(f"{path}oauth_resource", "is sent with the password grant alone", "remove it")


def _check_urls(issuer: Issuer, path: str, found: Findings) -> None:
    urls = {key: getattr(issuer, key) for key in ("issuer", "metadata_url", "jwks_uri")}
    if issuer.introspection is not None:
        urls["introspection.endpoint"] = issuer.introspection.endpoint
    for key, url in urls.items():
        if url and (wrong := check_url(url, allow_loopback_http=issuer.allow_loopback_http)) is not None:
            found.report(f"{path}{key}", wrong, _URL_REMEDY)


def _check_client(asked: Introspection, path: str, found: Findings, *, certified: bool) -> None:
    if found.has(f"{path}client_auth"):
        return
    if asked.client_auth == "tls_client_auth" and not certified:
        remedy = "give the issuer's tls_certificate_file and tls_key_file"
        found.report(f"{path}client_auth", "needs a certificate", remedy)
    needed = _NEEDED.get(asked.client_auth)
    for key in ("client_secret_file", "private_key_file"):
        given = getattr(asked, key) is not None
        if key == needed and not given and not found.has(f"{path}{key}"):
            remedy = "name the file that holds it, and only it"
            found.report(f"{path}{key}", f"is required with {asked.client_auth}", remedy)
        elif key != needed and given:
            remedy = "remove it, or choose another client_auth"
            found.report(f"{path}{key}", f"is not used with {asked.client_auth}", remedy)


def _check_file(file: str | None, where: str, found: Findings, *, as_service: bool) -> None:
    if file is None:
        return
    file = resolve(file)
    if file is None:
        if as_service:
            remedy = "load it with LoadCredential=NAME:/PATH in the unit of the service, or give an absolute path"
            found.report(where, "stands on CREDENTIALS_DIRECTORY, which is not set", remedy)
        return
    try:
        is_there = Path(file).is_file()
    except OSError as error:
        found.report(
            where, f"{file!r} cannot be looked at: {error.strerror}", "let the user of the daemon into its directory"
        )
        return
    if not is_there:
        found.report(where, f"{file!r} is not a file", "give the path of a file that is there")


def _check_rule(rule: RoleRule, path: str, found: Findings) -> None:
    for one in ("roles", "identity", "value"):
        if getattr(rule, one) and getattr(rule, f"{one}_regex") is not None:
            found.report(f"{path}.{one}_regex", f"stands beside {one}", "give one of them, or write two rules")
    if not rule.roles and rule.roles_regex is None:
        found.report(path, "names no role", "give roles or roles_regex")
    valued = rule.value is not None or rule.value_regex is not None
    if rule.claim is None and valued:
        found.report(path, "has a value of no claim", "give claim, too")
    if rule.claim is not None and not valued:
        found.report(path, "has a claim without a value", "give value or value_regex, too")
    if rule.action == "allow" and rule.claim is None and rule.identity is None and rule.identity_regex is None:
        what = "would allow its roles to everybody"
        found.report(path, what, 'give identity, identity_regex or claim, or identity_regex = ".*" if that is meant')
    _check_places(rule, path, found)


def _check_places(rule: RoleRule, path: str, found: Findings) -> None:
    r"""Every \N in the roles is a group of the rule's one regular expression; a backslash is written as two."""
    places = [place for role in rule.roles for place in PLACE.findall(role)]
    numbers = [int(place) for place in places if place.isdigit()]
    patterns = [pattern for pattern in (rule.identity_regex, rule.value_regex) if pattern is not None]
    if "" in places:
        found.report(f"{path}.roles", "has a backslash without a digit", r"write \1 to \9 or \0, or \\ for a backslash")
    elif numbers and len(patterns) != 1:
        what = "is ambiguous with two regular expressions" if patterns else "stands for nothing without an expression"
        found.report(f"{path}.roles", rf"\{numbers[0]} {what}", "give one of identity_regex and value_regex")
    elif numbers and max(numbers) > (groups := LinearRegex(patterns[0]).groups):
        what = rf"\{max(numbers)} is none of the {groups} groups of {patterns[0]!r}"
        found.report(f"{path}.roles", what, "put the part of the expression that it stands for into parentheses")
