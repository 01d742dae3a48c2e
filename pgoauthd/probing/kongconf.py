r"""Kong's settings as Kong reads them from kong.conf and from its environment; never reads the file itself.

The rules are those of Kong's loader: a line of `#` is a comment, as is what follows an unescaped `#`; `\#` stands for
`#`; space around a value goes; quotes are part of it; a backslash at the end of a line continues it. The environment
(KONG_PG_HOST for pg_host) wins over the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

_COMMENT = re.compile(r"\s*(?<!\\)#.*$")
_NO_SETTING = re.compile(r"\s*(?:[#;\[].*)?")
_KEY = re.compile(r"[^A-Za-z0-9_]")
_PREFIX = "KONG_"
_VAULT = re.compile(r"\{vault://([^}]*)\}")
_ENVIRONMENT_VAULT = re.compile(r"env/([A-Za-z0-9_-]+)")


def read_conf(text: str) -> dict[str, str]:
    """The settings of a kong.conf that are not empty; of a key that stands twice, the last."""
    found = {}
    for line in _lines(text):
        key, assign, value = line.partition("=")
        if assign:
            found[_KEY.sub("_", key.strip())] = _COMMENT.sub("", value).replace("\\#", "#").strip()
    return {key: value for key, value in found.items() if value}


def read_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The settings that an environment has, by their names in kong.conf."""
    return {
        name.removeprefix(_PREFIX).lower(): value.strip()
        for name, value in environment.items()
        if name.startswith(_PREFIX) and value.strip()
    }


def is_reference(value: str) -> bool:
    """Whether a value stands in a vault."""
    return _VAULT.fullmatch(value) is not None


def look_up(reference: str, environment: Mapping[str, str], prefix: str = "") -> str | None:
    """What a reference to Kong's vault `env` stands for, with its vault_env_prefix; None for all other vaults."""
    match = _VAULT.fullmatch(reference)
    place = _ENVIRONMENT_VAULT.fullmatch(match[1]) if match is not None else None
    if place is None:
        return None
    return environment.get((prefix + place[1]).replace("-", "_").upper())


def _lines(text: str) -> Iterator[str]:
    """What may be settings, continued lines joined."""
    begun = ""
    for line in text.splitlines():
        if not begun and _NO_SETTING.fullmatch(line):
            continue
        if line.endswith("\\"):
            begun += line[:-1]
        else:
            yield begun + line
            begun = ""
    if begun:
        yield begun
