"""What every line of a map does for one identity, and which roles it can be for sure; for people who look at a map."""

from __future__ import annotations

from typing import NamedTuple

from pgoauthd.mapping.arespans import Effort
from pgoauthd.mapping.identfile import IdentLine
from pgoauthd.mapping.identline import Answer, Entry, Login, Says, in_bytes, named
from pgoauthd.mapping.identmap import IdentMap, Lines


class Effect(NamedTuple):
    """A line, what it does for the identity, and whether it lets it in."""

    line: IdentLine
    does: str
    lets_in: bool


class SureRoles(NamedTuple):
    """The roles that the server surely lets an identity be, of those that a map names; `every`: and all others, too."""

    names: tuple[str, ...]
    every: bool = False


def effects(ident_map: IdentMap, map_name: str, identity: str, role: str | None) -> list[Effect]:
    """Each line of the map by itself; the first that lets in or makes the server stop is the one that counts."""
    lines = ident_map.maps.get(map_name) or Lines()
    if role is None:
        return [_effect(entry, in_bytes(identity)) for entry in lines.entries]
    answers = [(entry, entry.ask(Login.of(identity, role))) for entry in lines.entries]
    return [
        Effect(entry.line, answer.why or f"lets it be {named(in_bytes(role))}", lets_in=answer.says is Says.YES)
        for entry, answer in answers
    ]


def _effect(entry: Entry, identity: bytes) -> Effect:
    given = entry.for_identity(identity, Effort())
    if isinstance(given, Answer):
        return Effect(entry.line, given.why, lets_in=False)
    if entry.gives_all:
        does = "lets it be every role"
    elif entry.member_of is not None:
        does = f"lets it be every member of {named(entry.member_of)}"
    elif entry.role_regex is not None:
        does = "lets it be every role that its expression matches"
    else:
        does = f"lets it be {named(given)}"
    return Effect(entry.line, does, lets_in=True)


def sure_roles(ident_map: IdentMap, map_name: str, identity: str) -> SureRoles:
    """What the identity can be by the map, whatever memberships and the expressions that are not sure say."""
    name = in_bytes(identity)
    roles: dict[str, None] = {}
    for entry in (ident_map.maps.get(map_name) or Lines()).for_identity(name):
        given = entry.for_identity(name, Effort())
        if isinstance(given, Answer):
            if given.says in {Says.STOPS, Says.PERHAPS_STOPS}:
                break
        elif entry.gives_all:
            return SureRoles(tuple(roles), every=True)
        elif entry.member_of is None and entry.role_regex is None:
            roles[given.decode("utf-8", "replace")] = None
    return SureRoles(tuple(roles))
