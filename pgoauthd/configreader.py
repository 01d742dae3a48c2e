"""Reads a TOML configuration into a Config, or one ConfigError with every problem, its line and its remedy.

It never looks at anything but the text it is handed, apart from `load` and the CA files that the text names.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from pgoauthd.config import Callout, Cluster, Config, Introspection, Issuer, Log, Notify, Outcomes, RoleRule, State, Web
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
    (Issuer, "introspection"): Introspection,
    (Issuer, "role_rules"): RoleRule,
}

_REQUIRED_REMEDY: dict[tuple[type[msgspec.Struct], str], str] = {
    (Issuer, "issuer"): "give the issuer exactly as in its tokens' iss",
    (Issuer, "audiences"): 'name what the tokens\' aud must hold, for example ["pg-cluster"]',
    (Cluster, "name"): "give the cluster a short name: it becomes a metric label",
    (Cluster, "logs"): 'name the log files, for example ["/var/log/postgresql"]',
    (Introspection, "client_id"): "give the id of the client that pgoauthd is at the issuer",
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
    _check_whole(config, raw, reader.problem)
    if reader.problems:
        places = _Places(text)
        reader.problems.sort(key=lambda problem: places.line_of(problem.where) or 0)
        raise ConfigError(source, tuple(places.tell(problem) for problem in reader.problems))
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
        single = kind in (Callout, Web, State, Log, Outcomes, Introspection)
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
            remedy = "see docs/configuration.md for the type of this key"
            if isinstance(value, str) and kind == tuple[str, ...]:
                remedy = f'write ["{value}"]'
            self.problem(where, _plain(str(error)), remedy)

    def check(self, kind: type[msgspec.Struct], values: dict[str, Any], path: str) -> None:
        for name, rule in RULES.get(kind, {}).items():
            if name in values and (wrong := rule(values[name])) is not None:
                self.problem(f"{path}{name}", *wrong)
                del values[name]

    def problem(self, where: str, what: str, remedy: str) -> None:
        self.problems.append(Problem(where, what, remedy))


def _check_whole(config: Config, raw: Mapping[str, Any], problem: Callable[[str, str, str], None]) -> None:
    """What no single value shows: names and issuers given twice, grants that grant nothing, https."""
    groups = ((config.clusters, "name"), (config.issuers, "issuer"), (config.issuers, "name"), (config.notify, "name"))
    for group, key in groups:
        seen: set[str] = set()
        for i, item in enumerate(group):
            # An issuer without a name goes by its issuer: keys and metrics are told apart by it.
            value = item.label if isinstance(item, Issuer) and key == "name" else getattr(item, key)
            if value and value in seen:
                problem(f"{_PLURAL[type(item)]}[{i}].{key}", f"{value!r} is given twice", "each may stand once")
            seen.add(value)
    for i, issuer in enumerate(config.issuers):
        _check_issuer(issuer, f"issuers[{i}].", problem)
    if not {"issuers", "clusters"} & raw.keys():
        problem(
            "issuers, clusters", "are both missing, so there is nothing to do", "add [[issuers]], [[clusters]] or both"
        )


def _check_issuer(issuer: Issuer, path: str, problem: Callable[[str, str, str], None]) -> None:
    for key, url in (("issuer", issuer.issuer), ("jwks_uri", issuer.jwks_uri)):
        if url and (wrong := check_url(url, allow_loopback_http=issuer.allow_loopback_http)) is not None:
            problem(f"{path}{key}", wrong, "use https (on loopback http too with allow_loopback_http = true)")
    if issuer.ca_file is not None and not Path(issuer.ca_file).is_file():
        problem(f"{path}ca_file", f"{issuer.ca_file!r} is not a file", "give a PEM file of CA certificates")


_PLURAL: dict[type[msgspec.Struct], str] = {Cluster: "clusters", Issuer: "issuers", Notify: "notify"}


def _did_you_mean(key: str, fields: dict[str, Any]) -> str:
    close = difflib.get_close_matches(key, fields, n=1)
    return f"did you mean {close[0]}?" if close else "known are " + ", ".join(fields)


def _plain(error: str) -> str:
    """Msgspec's words without its JSON path."""
    return error.split(" - at `", maxsplit=1)[0].replace("`", "").replace("Expected", "expected")


class _Places:
    """Where keys and tables stand in the text, by dotted path; a problem without a place gets that of its table."""

    def __init__(self, text: str) -> None:
        self._lines: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        table = ""
        for number, line in enumerate(text.splitlines(), 1):
            if (header := _HEADER.match(line)) is not None:
                table = self._enter(header["name"], is_list=line.lstrip().startswith("[["))
                self._lines.setdefault(table, number)
            elif (key := _KEY.match(line)) is not None:
                self._lines.setdefault(f"{table}.{key['name']}".lstrip("."), number)

    def line_of(self, where: str) -> int | None:
        """The line of a key or, where it is not there, of the table that lacks it."""
        while where:
            if (line := self._lines.get(where)) is not None:
                return line
            where = where.rpartition(".")[0]
        return None

    def tell(self, problem: Problem) -> Problem:
        """The problem with its line."""
        line = self.line_of(problem.where)
        return problem if line is None else replace(problem, where=f"line {line}, {problem.where}")

    def _enter(self, name: str, *, is_list: bool) -> str:
        """The path of a table, with the index of each list of tables that it is in."""
        path = ""
        *outer, last = (part.strip(" \"'") for part in name.split("."))
        for part in outer:
            path = f"{path}.{part}".lstrip(".")
            path += f"[{self._counts[path] - 1}]" if path in self._counts else ""
        path = f"{path}.{last}".lstrip(".")
        if not is_list:
            return path
        self._counts[path] = self._counts.get(path, 0) + 1
        return f"{path}[{self._counts[path] - 1}]"


_HEADER = re.compile(r"\s*\[{1,2}(?P<name>[^\[\]]+)\]")
_KEY = re.compile(r"""\s*["']?(?P<name>[A-Za-z0-9_-]+)["']?\s*=""")
