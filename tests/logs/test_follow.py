"""Which files are to be read, and what has become of one that was."""

from __future__ import annotations

import msgspec
import pytest

from pgoauthd.logs.follow import (
    FileFacts,
    Finding,
    came_after,
    is_copy_of,
    is_log_name,
    is_poor,
    is_rest_of,
    judge,
    original_name,
    richer_than,
    richest,
)
from pgoauthd.logs.position import FINGERPRINT_BYTES, Fingerprint, Position
from pgoauthd.logs.readers import LogFormat

HEAD = b"2026-11-22 01:11:56.039 UTC [30451] LOG:  starting PostgreSQL 18.6\n" * 20
KNOWN = Position(
    path="/log/postgresql.log",
    device=8,
    inode=100,
    fingerprint=Fingerprint.of(HEAD),
    offset=5000,
    size=5000,
    log_format=LogFormat.STDERR,
)
FRESH = msgspec.structs.replace(KNOWN, fingerprint=Fingerprint(), offset=0, size=0)
SHORT = msgspec.structs.replace(KNOWN, fingerprint=Fingerprint.of(HEAD[:60]), offset=60, size=60)


@pytest.mark.parametrize(
    ("known", "facts", "head", "finding"),
    [
        (KNOWN, FileFacts(8, 100, 5000), HEAD, Finding.CONTINUE),
        (KNOWN, FileFacts(8, 100, 9000), HEAD, Finding.CONTINUE),
        (KNOWN, FileFacts(9, 100, 5000), HEAD, Finding.CONTINUE),  # the same file on a device that has another number
        (SHORT, FileFacts(8, 100, 9000), HEAD, Finding.CONTINUE),
        (FRESH, FileFacts(8, 100, 0), b"", Finding.CONTINUE),
        (FRESH, FileFacts(8, 100, 9000), HEAD, Finding.CONTINUE),
        (KNOWN, FileFacts(8, 100, 4999), HEAD, Finding.TRUNCATED),
        (KNOWN, FileFacts(8, 100, 0), b"", Finding.TRUNCATED),
        (KNOWN, FileFacts(8, 100, 5000), HEAD[1:], Finding.TRUNCATED),  # as long as it was
        (KNOWN, FileFacts(8, 100, 9000), b"x" + HEAD[1:], Finding.TRUNCATED),  # regrown beyond it
        (SHORT, FileFacts(8, 100, 9000), HEAD[1:], Finding.TRUNCATED),
        (KNOWN, FileFacts(8, 101, 5000), HEAD, Finding.REPLACED),  # two files may begin alike
        (KNOWN, FileFacts(9, 100, 5000), HEAD[1:], Finding.REPLACED),
        (KNOWN, FileFacts(9, 100, 10), HEAD[:10], Finding.REPLACED),
        (FRESH, FileFacts(9, 100, 9000), HEAD, Finding.REPLACED),
        (KNOWN, None, b"", Finding.GONE),
    ],
)
def test_what_has_become_of_a_file(known: Position, facts: FileFacts | None, head: bytes, finding: Finding) -> None:
    assert judge(known, facts, head) is finding


@pytest.mark.parametrize(
    ("known", "path", "facts", "head", "is_rest"),
    [
        (KNOWN, "/log/postgresql.log.1", FileFacts(8, 100, 5000), HEAD, True),  # renamed
        (KNOWN, "/log/old/whatever", FileFacts(8, 100, 6000), HEAD, True),
        (KNOWN, "/log/postgresql.log.1", FileFacts(8, 200, 6000), HEAD, True),  # copied
        (FRESH, "/log/postgresql.log.1", FileFacts(8, 100, 6000), HEAD, True),
        (KNOWN, "/log/postgresql.log.1", FileFacts(8, 100, 4999), HEAD, False),
        (KNOWN, "/log/postgresql.log.1", FileFacts(8, 100, 6000), HEAD[1:], False),  # the inode is used again
        (KNOWN, "/log/postgresql.log.1", FileFacts(8, 200, 6000), HEAD[1:], False),
        (KNOWN, "/log/other.log", FileFacts(8, 200, 6000), HEAD, False),  # begins alike, but bears another name
        (KNOWN, "/log/postgresql.log", FileFacts(8, 200, 6000), HEAD, False),
        (SHORT, "/log/postgresql.log.1", FileFacts(8, 200, 6000), HEAD, False),  # too little to know a copy by
        (FRESH, "/log/postgresql.log.1", FileFacts(9, 100, 6000), HEAD, False),
    ],
)
def test_which_file_holds_the_rest(known: Position, path: str, facts: FileFacts, head: bytes, is_rest: bool) -> None:
    assert is_rest_of(known, path, facts, head) is is_rest


def test_a_copy_in_the_making_is_a_copy_already() -> None:
    assert is_copy_of(KNOWN, "/log/postgresql.log.1", HEAD)
    assert not is_copy_of(KNOWN, "/log/postgresql.log.1", HEAD[:500])


def test_a_fingerprint_holds_nothing_of_the_log() -> None:
    encoded = msgspec.msgpack.encode(KNOWN)
    assert b"PostgreSQL" not in encoded
    assert msgspec.msgpack.decode(encoded, type=Position) == KNOWN


def test_a_fingerprint_takes_no_more_than_the_first_bytes() -> None:
    assert Fingerprint.of(HEAD) == Fingerprint.of(HEAD[:FINGERPRINT_BYTES])
    assert Fingerprint.of(HEAD).matches(HEAD[:FINGERPRINT_BYTES] + b"x")
    assert not Fingerprint.of(HEAD).matches(HEAD[: FINGERPRINT_BYTES - 1])


@pytest.mark.parametrize(
    "name",
    [
        "postgresql.log",
        "postgresql.csv",
        "postgresql.json",
        "postgresql-2026-11-22_000000.log",
        "postgresql-Mon.log",
        "postgresql-18-main.log",
        "postgresql.log.2026-11-22-01",
        "postgresql.log.2026-11-22-0100.csv",
        "logfile",
        "server.20261122",
    ],
)
def test_a_name_that_a_server_may_be_writing_is_followed(name: str) -> None:
    assert is_log_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "postgresql.log.1",
        "postgresql.json.12",
        "postgresql.log-20261122",
        "postgresql.csv-20261122-030000",
        "postgresql.log.1.gz",
        "postgresql.log.gz",
        "postgresql.json.zst",
        "postgresql.log.xz",
        "postgresql.log.bz2",
        ".postgresql.log.swp",
        ".hidden",
    ],
)
def test_a_name_that_was_rotated_away_or_compressed_is_not(name: str) -> None:
    assert not is_log_name(name)


@pytest.mark.parametrize(
    ("paths", "kept"),
    [
        (["a.log", "a.csv", "a.json"], ["a.json"]),
        (["a.log", "a.csv"], ["a.csv"]),
        (["a.log"], ["a.log"]),
        (["a", "a.json"], ["a.json"]),
        (["a", "a.csv"], ["a.csv"]),
        (["a", "b"], ["a", "b"]),
        (["a.log", "b.csv", "c.json", "b.log"], ["a.log", "b.csv", "c.json"]),
        (["x/a.log", "y/a.json"], ["x/a.log", "y/a.json"]),
        (["a.log.1", "a.json"], ["a.log.1", "a.json"]),
        (["a.log.1", "a.json.1", "a.log", "a.json"], ["a.json.1", "a.json"]),
        (["a.log-20261122", "a.csv-20261122"], ["a.csv-20261122"]),
        (["a.log.2026-11-22-01", "a.log.2026-11-22-01.csv"], ["a.log.2026-11-22-01.csv"]),
        (["-"], ["-"]),
        ([], []),
    ],
)
def test_of_one_base_name_only_the_richest_is_read(paths: list[str], kept: list[str]) -> None:
    assert richest(paths) == kept


@pytest.mark.parametrize(("path", "poor"), [("a.json", False), ("a.csv", True), ("a.log", True), ("a", True)])
def test_beside_what_a_richer_file_may_appear(path: str, poor: bool) -> None:
    assert is_poor(path) is poor


@pytest.mark.parametrize(
    ("path", "original"),
    [
        ("/log/postgresql.log.1", "/log/postgresql.log"),
        ("/log/postgresql.log.12", "/log/postgresql.log"),
        ("/log/postgresql.log-20261122", "/log/postgresql.log"),
        ("/log/postgresql.json.old", "/log/postgresql.json"),
        ("/log/logfile.1", "/log/logfile"),
        ("/log/postgresql.log", None),
        ("/log/logfile", None),
        ("/log/logfile-other", None),
        ("/log/postgresql-2026-11-22.log", None),
        ("/log/postgresql.log.gz", None),
    ],
)
def test_what_rotation_adds_to_a_name_can_be_taken_off(path: str, original: str | None) -> None:
    assert original_name(path) == original


N, SEEN = "/log/a.json", 50.0


@pytest.mark.parametrize(
    ("rest", "path", "modified", "changed", "newer"),
    [
        # where the known file is not found any more, its time is all there is
        (None, f"{N}.1", SEEN + 1, 99, True),
        (None, f"{N}.1", SEEN, 99, False),
        # each rotation renames .2 before .1
        ((f"{N}.2", 99.0), f"{N}.1", SEEN + 1, 99, True),
        ((f"{N}.2", 99.0), f"{N}.1", SEEN, 99, True),
        ((f"{N}.2", 99.0), f"{N}.1", SEEN - 3600, 99.1, True),
        ((f"{N}.2", 99.0), f"{N}.3", SEEN - 1, 99, False),
        ((f"{N}.2", 99.0), f"{N}.3", SEEN, 98.9, False),
        ((f"{N}.2", 99.0), f"{N}.3", SEEN + 3600, 98.9, False),  # the clock was set back since
        ((f"{N}.10", 99.0), f"{N}.9", SEEN, 99, True),
        # dates, and numbers that go up: each file is renamed once
        ((f"{N}-20261121", 90.0), f"{N}-20261122", SEEN, 99, True),
        ((f"{N}-20261121", 90.0), f"{N}-20261120", SEEN + 3600, 80, False),
        ((f"{N}.2", 90.0), f"{N}.1", SEEN - 1, 80, False),
        ((f"{N}.2", 90.0), f"{N}.3", SEEN + 1, 99, True),
        # names that tell nothing of each other
        ((f"{N}.old", 90.0), f"{N}.1", SEEN + 1, 99, True),
        ((f"{N}.old", 90.0), f"{N}.1", SEEN - 1, 99, False),
    ],
)
def test_which_rotated_files_came_after_another(
    rest: tuple[str, float] | None, path: str, modified: float, changed: float, newer: bool
) -> None:
    known = msgspec.structs.replace(KNOWN, path=N, modified=SEEN)
    found = (rest[0], FileFacts(8, 100, 5000, SEEN, rest[1])) if rest is not None else None
    assert came_after(known, found, path, FileFacts(8, 300, 10, modified, changed)) is newer


def test_each_poorer_file_knows_its_richer_ones() -> None:
    assert richer_than(["a.log", "a.csv", "a.json", "b.log", "c"]) == {
        "a.log": ["a.csv", "a.json"],
        "a.csv": ["a.json"],
    }
