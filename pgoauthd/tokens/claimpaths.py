"""How the configuration names claims: paths with dots, and templates of text and claims; never looks at a token.

A path goes into objects at its dots: `realm_access.roles`. A part in double quotes keeps its dots:
`resource_access."pg.cluster".roles`. A path that begins with `https://`, `http://` or `urn:` is one name as a whole, as
some providers name the claims that their customers add.
"""

from __future__ import annotations

import re

from pgoauthd.tokens.issuers import ClaimPath, IdentitySource

_PART = re.compile(r'(?:"(?P<quoted>[^"]+)"|(?P<plain>[^".]+))(?P<end>\.(?=.)|\Z)')
_WHOLE = ("https://", "http://", "urn:")
_PLACE = re.compile(r"\$(?:\{(?P<claim>[^{}]*)\}|(?P<dollar>\$)|)")


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
    return IdentitySource(text, whole)
