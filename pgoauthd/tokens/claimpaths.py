"""How the configuration names claims, and where they are: paths with dots, and templates of text and claims.

It never judges what a claim says.

A path goes into objects at its dots: `realm_access.roles`. A part in double quotes keeps its dots:
`resource_access."pg.cluster".roles`. A path that begins with `https://`, `http://` or `urn:` is one name as a whole, as
some providers name the claims that their customers add.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final

from pgoauthd.tokens.issuers import ClaimPath, IdentitySource

ABSENT: Final = object()
"""Stands for a claim that is not there; null is there."""

_PART = re.compile(r'(?:"(?P<quoted>[^"]+)"|(?P<plain>[^".]+))(?P<end>\.(?=.)|\Z)', re.DOTALL)
_WHOLE = ("https://", "http://", "urn:")
_PLACE = re.compile(r"\$(?:\{(?P<claim>[^{}]*)\}|(?P<dollar>\$)|)")


def find_claim(claims: Mapping[str, Any], path: ClaimPath) -> object:
    """The value at the end of the path; ABSENT where a name is missing, or what should have it is no object."""
    value: object = claims
    for name in path:
        if not isinstance(value, dict) or name not in value:
            return ABSENT
        value = value[name]
    return value


def read_path(text: str) -> ClaimPath:
    """The path that `text` names; ValueError with what is wrong."""
    if text.startswith(_WHOLE):
        return (text,)
    names, at = [], 0
    while at < len(text):
        part = _PART.match(text, at)
        if part is None:
            raise ValueError(f"{text!r} has an empty or badly quoted part")
        names.append(part["quoted"] or part["plain"])
        at = part.end()
    if not names:
        raise ValueError("it is empty")
    return tuple(names)


def write_path(path: ClaimPath) -> str:
    """The path as the configuration has it; read_path reads it back."""
    if len(path) == 1 and path[0].startswith(_WHOLE):
        return path[0]
    return ".".join(f'"{name}"' if "." in name or name.startswith(_WHOLE) else name for name in path)


def read_identity_source(text: str) -> IdentitySource:
    """A claim path, or a template with `${path}` for claims and `$$` for a dollar; ValueError with what is wrong."""
    if "$" not in text:
        return IdentitySource(text, (read_path(text),))
    parts: list[str | ClaimPath] = []
    at = 0
    for place in _PLACE.finditer(text):
        parts.append(text[at : place.start()])
        if place["claim"] is not None:
            parts.append(read_path(place["claim"]))
        elif place["dollar"] is not None:
            parts.append("$")
        else:
            raise ValueError(f"{text!r} has a dollar that begins neither ${{claim}} nor $$")
        at = place.end()
    parts.append(text[at:])
    whole = tuple(part for part in parts if part)
    if not any(isinstance(part, tuple) for part in whole):
        raise ValueError(f"{text!r} has no claim in it, so everybody would be the same")
    if any(isinstance(one, tuple) and isinstance(next_, tuple) for one, next_ in pairwise(whole)):
        raise ValueError(f"{text!r} has two claims without text between, so different people could be the same")
    return IdentitySource(text, whole)
