"""Reads a TOML configuration into a Config, or one ConfigError with every problem, its line and its remedy.

It never looks at anything but the text it is handed, apart from `load` and whether files that the text names are there.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import msgspec

from pgoauthd.config.checks import Findings, check_whole
from pgoauthd.config.lines import Lines
from pgoauthd.config.profiled import complete_issuer
from pgoauthd.config.rules import RULES
from pgoauthd.config.values import Cluster, Config, Introspection, Issuer, Notify, Probe
from pgoauthd.errors import ConfigError, Problem

T = TypeVar("T", bound=msgspec.Struct)

_REQUIRED_REMEDY: dict[tuple[type[msgspec.Struct], str], str] = {
    (Issuer, "issuer"): "give the issuer exactly as in its tokens' iss",
    (Issuer, "audiences"): 'name what the tokens\' aud must hold, for example ["pg-cluster"]',
    (Cluster, "name"): "give the cluster a short name: it becomes a metric label",
    (Cluster, "logs"): 'name the log files, for example ["/var/log/postgresql"]',
    (Introspection, "client_id"): "give the id of the client that pgoauthd is at the issuer",
    (Notify, "name"): "give the receiver a short name: it becomes a metric label",
    (Notify, "kind"): "use alertmanager or webhook",
    (Notify, "url"): "give the receiver's URL",
    (Probe, "name"): "give the probe a short name: it becomes a metric label",
    (Probe, "host"): "give the server's host, as Kong's pg_host",
    (Probe, "user"): "give the role that logs in, as Kong's pg_user",
    (Probe, "database"): "give the database, as Kong's pg_database",
    (Probe, "oauth_client_id"): "give the id that the identity provider knows the client by",
}

_INSTEAD: dict[tuple[type[msgspec.Struct], str], str] = {
    (
        Issuer,
        "grants",
    ): "rename it to role_rules; where there are rules only they count, and the first that fits decides",
    (Introspection, "client_secret"): "write the secret into a file of its own and name that in client_secret_file",
    (Probe, "oauth_client_secret"): "write it into a file of its own and name that in oauth_client_secret_file",
    (Probe, "oauth_password"): "write it into a file of its own and name that in oauth_password_file",
}
"""What to do about keys that were, or might be thought to be."""

_HARMLESS: dict[object, object] = {str: "", tuple[str, ...]: ()}
"""Stands in for a required value that is missing or wrong, so that reading can go on."""


def load(path: Path, *, as_service: bool = True) -> Config:
    """Read the configuration file; ConfigError with all its problems. `as_service` as for `parse`."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        problem = Problem("file", f"cannot be read: {error.strerror}", "check the path and its permissions")
        raise ConfigError(str(path), (problem,)) from None
    except UnicodeDecodeError:
        raise ConfigError(str(path), (Problem("file", "is not UTF-8", "save it as UTF-8"),)) from None
    return parse(text, source=str(path), as_service=as_service)


def parse(text: str, *, source: str = "configuration", as_service: bool = True) -> Config:
    """Turn TOML into a Config; ConfigError with all problems, each with its line or key and a remedy.

    `as_service`: for this very process, so that credentials which the text names must be there; else they are left
    unchecked where CREDENTIALS_DIRECTORY is not set, as for somebody who checks a file in a shell.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        problem = Problem("TOML", str(error), "correct it at that line; each key and each table may stand once")
        raise ConfigError(source, (problem,)) from None
    reader = _Reader()
    config = reader.table(Config, raw, "")
    check_whole(config, raw, reader.found, as_service=as_service)
    if reader.found.problems:
        lines = Lines(text)
        problems = sorted(reader.found.problems, key=lambda problem: lines.of(problem.where) or 0)
        raise ConfigError(source, tuple(lines.tell(problem) for problem in problems))
    return config


class _Reader:
    """Reads tables field by field, so that one mistake does not hide the next."""

    def __init__(self) -> None:
        self.found = Findings()

    def table(self, kind: type[T], raw: dict[str, Any], path: str) -> T:
        """A value of `kind`; what is wrong in `raw` goes to `found` and is replaced by something harmless."""
        if kind is Issuer:
            raw = complete_issuer(raw, path, self.found.report)
        fields = _fields(kind)
        values: dict[str, Any] = {}
        for key, value in raw.items():
            where = f"{path}{key}"
            if key not in fields:
                self.found.report(where, "is not a known key", _remedy(kind, key, fields))
            elif (nested := _nested(fields[key].type)) is not None:
                self.nested(values, key, nested, value, where)
            else:
                self.leaf(values, key, fields[key].type, value, where)
        self.check(kind, values, path)
        for name, field in fields.items():
            if name not in values and field.required:
                if name not in raw:
                    self.found.report(f"{path}{name}", "is required", _REQUIRED_REMEDY[kind, name])
                values[name] = _HARMLESS[field.type]
        return kind(**values)

    def nested(
        self, values: dict[str, Any], key: str, nested: tuple[type[msgspec.Struct], bool], value: object, where: str
    ) -> None:
        kind, many = nested
        if not many and isinstance(value, dict):
            values[key] = self.table(kind, value, f"{where}.")
        elif many and isinstance(value, list) and all(isinstance(item, dict) for item in value):
            values[key] = tuple(self.table(kind, item, f"{where}[{i}].") for i, item in enumerate(value))
        else:
            self.found.report(where, *_wrong_shape(_INDEX.sub("", where), value, many=many))

    def leaf(self, values: dict[str, Any], key: str, kind: object, value: object, where: str) -> None:
        try:
            values[key] = msgspec.convert(value, kind, strict=True)
        except msgspec.ValidationError as error:
            remedy = "see docs/configuration.md for the type of this key"
            if isinstance(value, str) and kind == tuple[str, ...]:
                remedy = f"write {json.dumps(_items(value), ensure_ascii=False)}"
            self.found.report(where, _plain(str(error)), remedy)

    def check(self, kind: type[msgspec.Struct], values: dict[str, Any], path: str) -> None:
        for name, rule in RULES.get(kind, {}).items():
            if name in values and (wrong := rule(values[name])) is not None:
                self.found.report(f"{path}{name}", *wrong)
                del values[name]


_INDEX = re.compile(r"\[\d+\]")
"""The header of `issuers[0].introspection` is [issuers.introspection]."""


@cache
def _fields(kind: type[msgspec.Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    """By name; msgspec evaluates the annotations each time that it is asked."""
    return {field.name: field for field in msgspec.structs.fields(kind)}


def _nested(kind: object) -> tuple[type[msgspec.Struct], bool] | None:
    """The struct of a table or of a list of tables, and whether it is a list; None for a leaf."""
    for part in (kind, *get_args(kind)):
        if isinstance(part, type) and issubclass(part, msgspec.Struct):
            return part, get_origin(kind) is tuple
    return None


def _remedy(kind: type[msgspec.Struct], key: str, fields: dict[str, Any]) -> str:
    if (instead := _INSTEAD.get((kind, key))) is not None:
        return instead
    close = difflib.get_close_matches(key, fields, n=1)
    return f"did you mean {close[0]}?" if close else "known are " + ", ".join(fields)


def _wrong_shape(name: str, value: object, *, many: bool) -> tuple[str, str]:
    """What is wrong with what stands for a table, or for a list of tables, and the remedy."""
    if many:
        return "is not a list of tables", f"write [[{name}]]"
    is_list = isinstance(value, list) and any(isinstance(item, dict) for item in value)
    return "is a list of tables" if is_list else "is not a table", f"write [{name}]"


def _items(text: str) -> list[str]:
    """Words that were written as one text; a path may have spaces in it."""
    return text.split() if "/" not in text and text.strip() else [text]


def _plain(error: str) -> str:
    """Msgspec's words without its JSON path."""
    return error.split(" - at `", maxsplit=1)[0].replace("`", "").replace("Expected", "expected")
