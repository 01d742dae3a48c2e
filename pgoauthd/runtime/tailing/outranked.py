"""Files whose entries a richer one holds: Outranked tells which are written alone now, and from where; reads nothing.

A server whose log_destination was changed goes on in the poorer file, and the richer one stays under its name. What the
poorer one held while the richer one was written was read there, so it is read from where it went on alone. That it
does so is believed after a while only: a server writes an entry into one file after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from pgoauthd.logs.follow import FileFacts
from pgoauthd.logs.position import Fingerprint, Position

APART_SECONDS = 0.1
"""One entry has been written into all files of its base name after so long, by their times."""
ALONE_SECONDS = 1.0
"""For so long a poorer file must be ahead of the richer one before it is read."""
MOST_SAVED = 16
"""Of more files than that, those that were written last are remembered over a restart."""

Facts = tuple[FileFacts, Sequence[FileFacts]]
"""Of a file, and of the richer ones."""


@dataclass
class _Silent:
    path: str
    facts: FileFacts
    richer: tuple[tuple[int, int, int, float], ...]
    offset: int
    """All before it is in a richer file."""
    ahead_since: float | None = None
    alone: bool = False


class Outranked:
    """What was found out about them in one look after the other."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], _Silent] = {}
        self._left: tuple[dict[str, _Silent], dict[str, _Silent]] = ({}, {})
        """By path: outranked no more since the last look, or the one before; a poor file may be followed that late."""
        self._looked = False

    def look(self, found: Mapping[str, Facts], saved: list[Position], now: float) -> dict[str, FileFacts]:
        """Those that are written alone, with their facts. Takes out of `saved` what the last run knew of the others."""
        judged = (self._judge(path, facts, richer, saved, now) for path, (facts, richer) in found.items())
        known = {it.facts.identity: it for it in judged}
        gone = {it.path: it for identity, it in self._known.items() if identity not in known}
        self._left = (gone, self._left[0])
        self._known, self._looked = known, True
        return {it.path: it.facts for it in known.values() if it.alone}

    def offset_of(self, path: str, facts: FileFacts) -> int | None:
        """Where to begin with a file that is outranked, or was until the richer one went."""
        candidates = (self._known.get(facts.identity), *(gone.get(path) for gone in self._left))
        known = next((it for it in candidates if it is not None and it.facts.identity == facts.identity), None)
        return known.offset if known is not None and known.offset <= facts.size else None

    def positions(self) -> Iterator[Position]:
        """What to remember of those that are not read: how much of them is known to be in a richer file."""
        silent = sorted(self._known.values(), key=lambda it: it.facts.modified, reverse=True)
        return islice((_position(it) for it in silent if not it.alone), MOST_SAVED)

    def _judge(
        self, path: str, facts: FileFacts, richer: Sequence[FileFacts], saved: list[Position], now: float
    ) -> _Silent:
        state = tuple((it.device, it.inode, it.size, it.modified) for it in richer)
        last = self._known.get(facts.identity)
        silent = last or _Silent(path, facts, state, self._first_offset(path, facts, saved))
        same = silent.richer == state
        if last is None:
            before = next((it for it in self._known.values() if it.path == path), None)
            silent.alone = before is not None and before.alone and before.richer == state
        if facts.size < silent.offset:
            silent.offset = 0
        if facts.modified <= max(it.modified for it in richer) + APART_SECONDS or (silent.alone and not same):
            silent.offset, silent.ahead_since, silent.alone = facts.size, None, False
        elif silent.ahead_since is None or not same:
            silent.ahead_since = now
        elif now - silent.ahead_since >= ALONE_SECONDS:
            silent.alone = True
        silent.path, silent.facts, silent.richer = path, facts, state
        return silent

    def _first_offset(self, path: str, facts: FileFacts, saved: list[Position]) -> int:
        """Where the last run left it; of what the first look finds beside a richer file, nothing says whose it is."""
        for position in saved:
            if position.path == path and position.inode == facts.inode:
                saved.remove(position)
                return position.offset
        return 0 if self._looked else facts.size


def _position(silent: _Silent) -> Position:
    return Position(
        path=silent.path,
        device=silent.facts.device,
        inode=silent.facts.inode,
        fingerprint=Fingerprint(),
        offset=silent.offset,
        size=silent.facts.size,
        modified=silent.facts.modified,
        outranked=True,
    )
