"""Which files are to be read, and what has become of one that was being read; decides from names and stat facts alone.

It never opens, lists or stats anything: `runtime.tail` does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple, TypeVar

from pgoauthd.logs.position import Position

P = TypeVar("P")

_COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".lz4", ".Z", ".zip")
_NAME = re.compile(r"(?P<base>.*)\.(?P<extension>json|csv|log)(?P<rotation>\.\d{1,3}|-\d{8}[\d.-]*)?", re.DOTALL)
"""With what logrotate adds to a name. `postgresql.log.2026-11-22-01` is no such name: servers log to the like of it."""
_ROTATED = re.compile(r"(?P<original>.*?)(?:[.-]\d[\d.-]*|\.old|\.bak)", re.DOTALL)
"""What rotation adds to a name: .1, -20261122, -2026112201, .old."""
_NUMBER = re.compile(r"\.(\d{1,3})")
_RANKS = {"json": 0, "csv": 1, "log": 2}
MIN_COPY_BYTES = 64
"""A file that begins with so many bytes of another, and bears its name with something added, is a copy of it."""


class FileFacts(NamedTuple):
    """What stat says of a file."""

    device: int
    inode: int
    size: int
    modified: float = 0.0
    changed: float = 0.0
    """When its inode was changed last: written, renamed, given to somebody. No file's time can be set back to that."""

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode: what the file is, whatever its name."""
        return self.device, self.inode


class Finding(StrEnum):
    """What has become of a file whose position is known."""

    CONTINUE = "continue"
    TRUNCATED = "truncated"
    """It is shorter than what was read, or begins differently: it starts over."""
    REPLACED = "replaced"
    """Another file bears its name."""
    GONE = "gone"


def judge(known: Position, facts: FileFacts | None, head: bytes) -> Finding:
    """What has become of `known`, of whose path stat says `facts` and which begins with `head` (FINGERPRINT_BYTES).

    The device may change while the file stays (a remount): the inode and the first bytes decide.
    """
    if facts is None:
        return Finding.GONE
    same_device = facts.device == known.device
    if facts.inode != known.inode or (not same_device and not known.fingerprint.length):
        return Finding.REPLACED
    if facts.size < known.offset or not known.fingerprint.matches(head):
        return Finding.TRUNCATED if same_device else Finding.REPLACED
    return Finding.CONTINUE


def original_name(path: str) -> str | None:
    """The name that a file had before it was rotated away or copied; None if this looks like no such name."""
    found = _ROTATED.fullmatch(path)
    return found["original"] if found else None


def is_copy_of(known: Position, path: str, head: bytes) -> bool:
    """Whether the file at `path`, which begins with `head`, is a copy of `known` that copytruncate has made."""
    recognisable = known.fingerprint.length >= MIN_COPY_BYTES
    return recognisable and original_name(path) == known.path and known.fingerprint.matches(head)


def is_rest_of(known: Position, path: str, facts: FileFacts, head: bytes) -> bool:
    """Whether another name holds what was not read yet of `known`: itself renamed, or a copy of it."""
    if facts.size < known.offset or not known.fingerprint.matches(head):
        return False
    renamed = facts.inode == known.inode and (known.fingerprint.length > 0 or facts.device == known.device)
    return renamed or is_copy_of(known, path, head)


def came_after(known: Position, rest: tuple[str, FileFacts] | None, path: str, facts: FileFacts) -> bool:
    """Whether the file at `path`, named after `known`, was begun after that: `rest` is where `known` is found now.

    Times of files are not enough: they count in ticks, and the clock may be set back. Each rotation renames older files
    before newer ones, so the inodes change in the order of age; within one tick the names tell.
    """
    if rest is None:
        return facts.modified > known.modified
    newer = age_of(path, facts) > age_of(*rest)
    if facts.modified > known.modified:
        return newer or facts.changed > rest[1].changed or not _is_older_name(path, rest[0])
    return newer and _is_older_name(rest[0], path)


def age_of(path: str, facts: FileFacts) -> tuple[float, int, str]:
    """To order files that were rotated away under one name, oldest first."""
    return facts.changed, *_age_of_name(path)


def _is_older_name(path: str, other: str) -> bool:
    """Whether what was added to a name says so: .2 is older than .1, -20261121 older than -20261122."""
    (number, date), (other_number, other_date) = _age_of_name(path), _age_of_name(other)
    return (bool(number) == bool(other_number)) and (number, date) < (other_number, other_date)


def _age_of_name(path: str) -> tuple[int, str]:
    """What was added to a name, ascending with the time of the rotation: numbers count down, dates go up."""
    added = path.removeprefix(original_name(path) or "")
    if found := _NUMBER.fullmatch(added):
        return -int(found[1]) - 1, ""
    return 0, "".join(filter(str.isdigit, added))


def is_log_name(name: str) -> bool:
    """Whether a directory's entry is a log that a server may be writing: not hidden, compressed or rotated away."""
    if name.startswith(".") or name.endswith(_COMPRESSED):
        return False
    found = _NAME.fullmatch(name)
    return found is None or not found["rotation"]


def is_compressed(name: str) -> bool:
    """Whether it cannot be followed for being compressed."""
    return name.endswith(_COMPRESSED)


def richest(paths: Iterable[P]) -> list[P]:
    """The paths without those whose entries another one holds in a richer format, in the order given.

    With several log_destinations the server writes the same entries under one base name: .json, which says most, .csv,
    and .log or, where log_filename has no such ending, the bare base name.
    """
    ranked = [(path, *_rank(str(path))) for path in paths]
    best: dict[str, int] = {}
    for _, base, rank in ranked:
        best[base] = min(rank, best.get(base, rank))
    return [path for path, base, rank in ranked if rank == best[base]]


def richer_than(paths: Iterable[str]) -> dict[str, list[str]]:
    """Of the paths that `richest` leaves out: which hold the same entries in a richer format."""
    bases: dict[str, list[tuple[int, str]]] = {}
    for path in paths:
        base, rank = _rank(path)
        bases.setdefault(base, []).append((rank, path))
    richer = {path: [it for other, it in base if other < rank] for base in bases.values() for rank, path in base}
    return {path: found for path, found in richer.items() if found}


def is_poor(path: str) -> bool:
    """Whether a richer file of the same base name may yet appear beside it."""
    return _rank(path)[1] > _RANKS["json"]


def _rank(path: str) -> tuple[str, int]:
    """The base name that formats share, and how rich this one is (0 is richest)."""
    found = _NAME.fullmatch(path)
    if found is None:
        return path, _RANKS["log"]
    return found["base"] + (found["rotation"] or ""), _RANKS[found["extension"]]
