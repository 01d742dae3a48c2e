"""The line that lacks least to let a login in, of a pg_ident.conf in which none does; decides nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain, islice

from pgoauthd.mapping.identline import Entry, Login, Says, named, shown_name, tried
from pgoauthd.mapping.identmap import Lines
from pgoauthd.mapping.prediction import TriedLine

MAX_LOOKED_AT = 10_000
"""Lines that are looked at for each kind of nearness."""


def find_nearest(maps: Mapping[str, Lines], map_name: str, login: Login) -> TriedLine | None:
    """A line for the identity but another role, else one that differs in letter case, in its map, in its identity."""
    lines = maps.get(map_name) or Lines()
    found = chain(
        _with_another_role(lines, login),
        _in_another_case(lines, login),
        _in_another_map(maps, map_name, login),
        _for_another_identity(lines, login),
    )
    return next(found, None)


def _with_another_role(lines: Lines, login: Login) -> Iterator[TriedLine]:
    """The first whose role differs in letter case only, else the first."""
    found = [
        (entry, answer)
        for entry in _some(lines.for_identity(login.identity))
        if (answer := entry.ask(login)).says is Says.NO_ROLE
    ]
    for entry, _ in found:
        if entry.role.lower() == login.role.lower():
            yield tried(entry, f"its role {named(entry.role)} has other capital letters than {named(login.role)}")
    for entry, answer in found:
        yield tried(entry, answer.why)


def _in_another_case(lines: Lines, login: Login) -> Iterator[TriedLine]:
    lowered = login.lowered()
    for entry in _some(lines.entries):
        if entry.system_regex is None and entry.system.lower() == lowered.identity:
            why = f"its identity {named(entry.system)} has other capital letters than {named(login.identity)}"
            yield tried(entry, why)
        elif entry.system_regex is not None and entry.ask(lowered).says is Says.YES:
            yield tried(entry, f"its expression would match {named(lowered.identity)}, without capital letters")


def _in_another_map(maps: Mapping[str, Lines], map_name: str, login: Login) -> Iterator[TriedLine]:
    """Names that differ in letter case come first."""
    others = sorted((name for name in maps if name != map_name), key=lambda name: name.lower() != map_name.lower())
    for entry in islice((entry for name in others for entry in maps[name].for_identity(login.identity)), MAX_LOOKED_AT):
        if entry.ask(login).says is Says.YES:
            yield tried(entry, f"it belongs to map {shown_name(entry.line.map)}, asked was {shown_name(map_name)}")


def _for_another_identity(lines: Lines, login: Login) -> Iterator[TriedLine]:
    for entry in _some(lines.entries):
        if entry.role == login.role:
            yield tried(entry, entry.ask(login).why)


def _some(entries: list[Entry]) -> Iterator[Entry]:
    return islice(entries, MAX_LOOKED_AT)
