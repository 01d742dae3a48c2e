"""Reads a TOML configuration into a Config, or one ConfigError with every problem, its line and its remedy.

It never looks at anything but the text it is handed, apart from `load` and the CA files that the text names.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from pgoauthd.config import Callout, Cluster, Config, Grant, Issuer, Log, Notify, Outcomes, State, Web
from pgoauthd.configrules import RULES
from pgoauthd.errors import ConfigError, Problem
from pgoauthd.tokens.metadata import check_url

T = TypeVar("T", bound=msgspec.Struct)

_NESTED: dict[tuple[type[msgspec.Struct], str], type[msgspec.Struct]] = {
    (Config, "callout"): Callout,
    (Config, "web"): Web,
    (Config, "state"): State,
    (Config, "log"): Log,
    (Config, "outcomes"): Outcomes,
    (Config, "issuers"): Issuer,
    (Config, "clusters"): Cluster,
    (Config, "notify"): Notify,
    (Issuer, "grants"): Grant,
}

_REQUIRED_REMEDY: dict[tuple[type[msgspec.Struct], str], str] = {
    (Issuer, "issuer"): "give the issuer exactly as in its tokens' iss",
    (Issuer, "audiences"): 'name what the tokens\' aud must hold, for example ["pg-cluster"]',
    (Cluster, "name"): "give the cluster a short name: it becomes a metric label",
    (Cluster, "logs"): 'name the log files, for example ["/var/log/postgresql"]',
    (Grant, "roles"): "name the roles that the grant allows",
    (Notify, "name"): "give the receiver a short name: it becomes a metric label",
    (Notify, "kind"): "use alertmanager or webhook",
    (Notify, "url"): "give the receiver's URL",
}

_HARMLESS: dict[object, object] = {str: "", tuple[str, ...]: ()}
"""Stands in for a required value that is missing or wrong, so that reading can go on."""


def load(path: Path) -> Config:
    """Read the configuration file; ConfigError with all its problems."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        problem = Problem("file", f"cannot be read: {error.strerror}", "check the path and its permissions")
        raise ConfigError(str(path), (problem,)) from None
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
    _check_whole(config, reader.problem)
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
                values[name] = _HARMLESS[field.type]
        return kind(**values)

    def nested(self, kind: type[msgspec.Struct], value: object, where: str) -> object:
        single = kind in (Callout, Web, State, Log, Outcomes)
        if single and isinstance(value, dict):
            return self.table(kind, value, f"{where}.")
        if not single and isinstance(value, list) and all(isinstance(item, dict) for item in value):
            return tuple(self.table(kind, item, f"{where}[{i}].") for i, item in enumerate(value))
        self.problem(where, "is not a table", f"write [{where}]" if single else f"write [[{where}]]")
        return kind() if single else ()

    def leaf(self, values: dict[str, Any], key: str, kind: object, value: object, where: str) -> None:
        try:
            values[key] = msgspec.convert(value, kind, strict=True)
        except msgspec.ValidationError as error:
            self.problem(where, _plain(str(error)), "see docs/configuration.md for the type of this key")

    def check(self, kind: type[msgspec.Struct], values: dict[str, Any], path: str) -> None:
        for name, rule in RULES.get(kind, {}).items():
            if name in values and (wrong := rule(values[name])) is not None:
                self.problem(f"{path}{name}", *wrong)
                del values[name]

    def problem(self, where: str, what: str, remedy: str) -> None:
        self.problems.append(Problem(where, what, remedy))


def _check_whole(config: Config, problem: Callable[[str, str, str], None]) -> None:
    """What no single value shows: names and issuers given twice, grants that grant nothing, https."""
    for group, key in ((config.clusters, "name"), (config.issuers, "issuer"), (config.notify, "name")):
        seen: set[str] = set()
        for i, item in enumerate(group):
            value = getattr(item, key)
            if value and value in seen:
                problem(f"{_PLURAL[type(item)]}[{i}].{key}", f"{value!r} is given twice", "each may stand once")
            seen.add(value)
    for i, issuer in enumerate(config.issuers):
        _check_issuer(issuer, f"issuers[{i}].", problem)
    if not config.issuers and not config.clusters:
        problem(
            "issuers, clusters", "are both missing, so there is nothing to do", "add [[issuers]], [[clusters]] or both"
        )


def _check_issuer(issuer: Issuer, path: str, problem: Callable[[str, str, str], None]) -> None:
    for key, url in (("issuer", issuer.issuer), ("jwks_uri", issuer.jwks_uri)):
        if url and (wrong := check_url(url, allow_loopback_http=issuer.allow_loopback_http)) is not None:
            problem(f"{path}{key}", wrong, "use https (on loopback http too with allow_loopback_http = true)")
    if issuer.ca_file is not None and not Path(issuer.ca_file).is_file():
        problem(f"{path}ca_file", f"{issuer.ca_file!r} is not a file", "give a PEM file of CA certificates")
    for i, grant in enumerate(issuer.grants):
        by_claim = grant.claim is not None and grant.value is not None
        if (grant.identity is not None) == by_claim or (grant.claim is None) != (grant.value is None):
            problem(f"{path}grants[{i}]", "must name who is granted", "give identity, or claim and value")


_PLURAL: dict[type[msgspec.Struct], str] = {Cluster: "clusters", Issuer: "issuers", Notify: "notify"}


def _did_you_mean(key: str, fields: dict[str, Any]) -> str:
    close = difflib.get_close_matches(key, fields, n=1)
    return f"did you mean {close[0]}?" if close else "known are " + ", ".join(fields)


def _plain(error: str) -> str:
    """Msgspec's words without its JSON path."""
    return error.split(" - at `", maxsplit=1)[0].replace("`", "").replace("Expected", "expected")


def _place(text: str, where: str) -> str:
    """`where` with the line of its key, found by walking the tables of the text; without it where it is not there."""
    table, _, key = where.rpartition(".")
    number = _line_of(text.splitlines(), _HEADER_INDEX.sub("", table), _last_index(table), key)
    return f"line {number}, {where}" if number is not None else where


_HEADER_INDEX = re.compile(r"\[\d+\]")


def _last_index(table: str) -> int:
    found = _HEADER_INDEX.findall(table)
    return int(found[-1][1:-1]) if found else 0


def _line_of(lines: list[str], table: str, index: int, key: str) -> int | None:
    current, seen = "", -1 if table else 0
    for number, line in enumerate(lines, 1):
        bare = line.strip()
        if bare.startswith("["):
            current = bare.split("]", 1)[0].strip("[ ")
            seen += current == table
        elif current == table and seen == index and re.match(rf'"?{re.escape(key)}"?\s*=', bare):
            return number
    return None
