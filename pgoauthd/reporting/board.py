"""Counts attempts by name with bounded memory: exact until there are too many names, then honest about it.

Beyond the limit the names with the fewest attempts are given up, those that never succeeded first, and what they had is
kept as one sum. A name that comes back starts anew, so its row may lack at most `undercount`. No count is ever lost.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from hashlib import sha256
from typing import Generic, TypeVar, assert_never

import msgspec

from pgoauthd.reporting.groups import Group
from pgoauthd.reporting.lines import Ended
from pgoauthd.reporting.pairs import Meeting, Pairs

MAX_NAME = 128
"""Characters. Longer names are cut; a piece of a digest keeps those apart that begin alike."""
MAX_ROLES = 8
"""Names kept for one identity."""

_FIRST, _UNKNOWN = Meeting.FIRST, Meeting.UNKNOWN


class Entry(msgspec.Struct, gc=False):
    """What became of one name's attempts."""

    name: str
    first: float
    last: float
    success: int = 0
    refused: int = 0
    abandoned: int = 0
    discoveries: int = 0
    last_refusal: str | None = None

    @property
    def attempts(self) -> int:
        """All but discoveries."""
        return self.success + self.refused + self.abandoned

    @property
    def outcomes(self) -> int:
        """All."""
        return self.attempts + self.discoveries

    def count(self, result: Ended, reason: str, at: float) -> None:
        """One outcome more. Outcomes of several servers come in any order."""
        if at >= self.last:
            self.last = at
            if result == "refused":
                self.last_refusal = reason
        elif at < self.first:
            self.first = at
        if result == "success":
            self.success += 1
        elif result == "discovery":
            self.discoveries += 1
        elif result == "refused":
            self.refused += 1
            self.last_refusal = self.last_refusal or reason
        else:
            self.abandoned += 1

    def count_group(self, group: Group) -> None:
        """Many outcomes more, all alike."""
        self.first = min(self.first, group.first)
        self.count(group.newest.result, group.newest.reason, group.last)
        match group.newest.result:
            case "success":
                self.success += group.count - 1
            case "refused":
                self.refused += group.count - 1
            case "abandoned":
                self.abandoned += group.count - 1
            case "discovery":
                self.discoveries += group.count - 1
            case _ as never:
                assert_never(never)

    def take(self, other: Entry) -> None:
        """The counts of both."""
        self.success += other.success
        self.refused += other.refused
        self.abandoned += other.abandoned
        self.discoveries += other.discoveries


class Person(Entry, gc=False):
    """An identity, with the roles that it asked for and the addresses that it came from."""

    roles: tuple[str, ...] = ()
    more_roles: bool = False
    addresses: int = 0
    more_addresses: bool = False
    last_address: str | None = None

    def asked_for(self, role: str) -> None:
        """Note a role; beyond MAX_ROLES that there are more."""
        if role not in self.roles:
            if len(self.roles) < MAX_ROLES:
                self.roles = (*self.roles, role)
            else:
                self.more_roles = True

    def came_from(self, address: str, pairs: Pairs) -> None:
        """Note an address; where `pairs` has no room for it, that there may be more."""
        if address is self.last_address:
            return
        self.last_address = address
        meeting = pairs.meet(self.name, address)
        if meeting is _FIRST:
            self.addresses += 1
        elif meeting is _UNKNOWN:
            self.more_addresses = True


class CauseEntry(Entry, gc=False):
    """A reason, with what its newest outcome said."""

    result: str = ""
    stage: str = ""
    fault: str = ""
    remedy: str = ""
    example: str = ""


E = TypeVar("E", bound=Entry)


class Board(Generic[E]):
    """The names seen, at most `limit` of them."""

    def __init__(self, make: Callable[[str, float, float], E], limit: int) -> None:
        self._make = make
        self._limit = limit
        self._entries: dict[str, E] = {}
        self.most = 0
        """Names at once."""
        self.given_up = Entry("", 0.0, 0.0)
        """The sum of all names that were given up."""
        self.undercount = 0
        """What a name can have lost at most."""
        self.unnamed = Entry("", 0.0, 0.0)

    @property
    def exact(self) -> bool:
        """No name was ever given up."""
        return not self.given_up.outcomes

    @property
    def entries(self) -> dict[str, E]:
        """By name."""
        return self._entries

    def entry(self, name: str, at: float) -> E:
        """Of this name, a new one where it has none."""
        if len(name) > MAX_NAME:
            name = shorten_name(name)
        found = self._entries.get(name)
        if found is None:
            if len(self._entries) >= self._limit:
                self._give_up()
            found = self._entries[name] = self._make(name, at, at)
        return found

    def add(self, name: str | None, result: Ended, reason: str, at: float) -> E | None:
        """Count one outcome for the name, or as unnamed."""
        if name is None:
            self.unnamed.count(result, reason, at)
            return None
        # what `entry` would find, without asking it a million times
        entry = self._entries.get(name) or self.entry(name, at)
        entry.count(result, reason, at)
        return entry

    def add_group(self, name: str | None, group: Group) -> None:
        """Count outcomes that are alike for the name, or as unnamed."""
        (self.unnamed if name is None else self.entry(name, group.first)).count_group(group)

    def top(self, rows: int) -> list[E]:
        """The names with the most attempts."""
        return heapq.nsmallest(rows, self._entries.values(), key=lambda e: (-e.attempts, -e.refused, e.name))

    @property
    def distinct(self) -> int:
        """Names; where the board is not exact, there were more."""
        return max(self.most, len(self._entries))

    def _give_up(self) -> None:
        """Half of the names at once, so that the sorting is seldom. Who logged in matters more than who did not."""
        self.most = max(self.most, len(self._entries) + 1)
        by_weight = sorted(self._entries.values(), key=lambda e: (e.success > 0, e.outcomes, e.last))
        leaving = by_weight[: len(by_weight) - self._limit // 2]
        for entry in leaving:
            self.given_up.take(entry)
            del self._entries[entry.name]
        self.undercount += max(entry.outcomes for entry in leaving)


def shorten_name(name: str) -> str:
    """At most MAX_NAME characters: the beginning, and a piece of the digest of the whole."""
    digest = sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{name[: MAX_NAME - 12]}… #{digest}"
