"""What changed from one key set of an issuer to the next, as in a rotation; never decides what to make of it."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from pgoauthd.tokens.keys import KeySet
from pgoauthd.tokens.signature import VerificationKey

MAX_SHOWN = 10
NO_KID = "(a key without kid)"


class KeyChanges(msgspec.Struct, frozen=True, kw_only=True):
    """The kids of the keys that came and went; a key that keeps its kid and changes its numbers did both."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    replaced: tuple[str, ...]
    """Kids that stand for another key than before. No rotation needs that; somebody else's keys may look so."""


def compare(held: KeySet, fetched: KeySet) -> KeyChanges:
    """What came and went between `held` and `fetched`."""
    added = _missing(fetched.keys, held.keys)
    removed = _missing(held.keys, fetched.keys)
    before = {key.kid for key in removed if key.kid is not None}
    return KeyChanges(
        added=_named(added),
        removed=_named(removed),
        replaced=tuple(key.kid for key in added if key.kid is not None and key.kid in before),
    )


def shown(kids: tuple[str, ...]) -> list[str]:
    """The first kids for a line of the log, and how many more there are; `is_kid` has kept them short and printable."""
    more = len(kids) - MAX_SHOWN
    return [*kids[:MAX_SHOWN], *([f"and {more} more"] if more > 0 else [])]


def _missing(keys: Iterable[VerificationKey], others: Iterable[VerificationKey]) -> list[VerificationKey]:
    """Those of `keys` of which `others` has none with the same kid and numbers."""
    known = list(others)
    return [key for key in keys if not any(key.kid == one.kid and key.prepared == one.prepared for one in known)]


def _named(keys: Iterable[VerificationKey]) -> tuple[str, ...]:
    return tuple(key.kid if key.kid is not None else NO_KID for key in keys)
