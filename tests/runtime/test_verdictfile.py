from __future__ import annotations

import os
import zlib
from pathlib import Path

import msgspec
import pytest

from pgoauthd.runtime.verdictfile import EMPTY_FROM_BYTES, MAX_BYTES, Numbered, VerdictFile
from tests.fix_events import verdict
from tests.runtime.fix_state import files_no_larger_than

VERDICTS = [Numbered(number, verdict(pid=number)) for number in range(1, 4)]


def written(path: Path, *numbered: Numbered) -> bytes:
    """What a file that has these holds."""
    file = VerdictFile(path)
    file.read()
    for one in numbered:
        file.append(one)
    file.close()
    return path.read_bytes()


def read(path: Path) -> list[Numbered]:
    file = VerdictFile(path)
    try:
        return file.read()
    finally:
        file.close()


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + zlib.crc32(body).to_bytes(4, "big") + body


def test_what_was_appended_is_read_after_a_restart_in_its_order(tmp_path: Path) -> None:
    written(tmp_path / "verdicts", *VERDICTS)
    assert read(tmp_path / "verdicts") == VERDICTS


def test_what_is_appended_after_a_restart_follows_what_was_there(tmp_path: Path) -> None:
    written(tmp_path / "verdicts", *VERDICTS[:2])
    written(tmp_path / "verdicts", VERDICTS[2])
    assert read(tmp_path / "verdicts") == VERDICTS


def test_a_last_verdict_that_is_torn_anywhere_is_cut_off_and_the_file_can_be_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "verdicts"
    two = len(written(path, *VERDICTS[:2]))
    whole = written(path, VERDICTS[2])
    for length in range(two, len(whole)):
        path.write_bytes(whole[:length])
        assert read(path) == VERDICTS[:2], length
        assert path.stat().st_size == two
    written(path, VERDICTS[2])
    assert read(path) == VERDICTS


def test_a_verdict_of_which_a_byte_is_wrong_ends_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "verdicts"
    first = len(written(path, VERDICTS[0]))
    whole = written(path, *VERDICTS[1:])
    for place in range(first, first + (len(whole) - first) // 2):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        assert read(path) == VERDICTS[:1], place


@pytest.mark.parametrize(
    "other",
    [framed(b"\xc1"), framed(msgspec.msgpack.encode([4, {"of": "another version"}])), framed(b""), bytes(64)],
    ids=["no msgpack", "other members", "nothing", "zeros"],
)
def test_what_is_no_verdict_of_this_version_ends_what_is_read(tmp_path: Path, other: bytes) -> None:
    path = tmp_path / "verdicts"
    content = written(path, *VERDICTS[:2])
    path.write_bytes(content + other)
    assert read(path) == VERDICTS[:2]
    assert path.read_bytes() == content


def test_a_file_is_emptied_only_when_it_is_large_and_the_state_has_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "verdicts"
    file = VerdictFile(path)
    file.append(VERDICTS[0])
    file.saved_up_to(1)
    assert path.stat().st_size > 0
    number = 1
    while path.stat().st_size < EMPTY_FROM_BYTES:
        number += 1
        file.append(Numbered(number, verdict()))
    file.saved_up_to(number - 1)
    assert path.stat().st_size >= EMPTY_FROM_BYTES
    file.saved_up_to(number)
    assert path.stat().st_size == 0
    file.append(Numbered(number + 1, verdict()))
    file.close()
    assert read(path) == [Numbered(number + 1, verdict())]


def test_what_a_former_run_has_appended_is_emptied_only_when_the_state_has_it(tmp_path: Path) -> None:
    path = tmp_path / "verdicts"
    large = msgspec.structs.replace(verdict(), role="r" * EMPTY_FROM_BYTES)
    written(path, Numbered(7, large))
    file = VerdictFile(path)
    assert file.read() == [Numbered(7, large)]
    file.saved_up_to(6)
    assert path.stat().st_size > EMPTY_FROM_BYTES
    file.saved_up_to(7)
    assert path.stat().st_size == 0
    file.close()


def test_no_more_is_appended_than_the_largest_size(tmp_path: Path) -> None:
    path = tmp_path / "verdicts"
    file = VerdictFile(path)
    large = msgspec.structs.replace(verdict(), role="r" * (MAX_BYTES // 2))
    file.append(Numbered(1, large))
    with pytest.raises(OSError, match="that the state does not have"):
        file.append(Numbered(2, large))
    file.append(Numbered(3, verdict()))
    file.close()
    assert [one.number for one in read(path)] == [1, 3]
    assert path.stat().st_size <= MAX_BYTES


def test_on_a_full_disk_only_whole_verdicts_are_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "verdicts"
    two = len(written(path, *VERDICTS[:2]))
    whole = len(written(path, VERDICTS[2]))
    for size in range(two, whole):
        path.unlink()
        file = VerdictFile(path)
        for one in VERDICTS[:2]:
            file.append(one)
        with files_no_larger_than(size), pytest.raises(OSError, match=r"no space|too large"):
            file.append(VERDICTS[2])
        assert path.stat().st_size == two, size
        file.append(VERDICTS[2])
        file.close()
        assert read(path) == VERDICTS


def test_it_says_whether_it_was_there_before(tmp_path: Path) -> None:
    for was_there in (False, True):
        file = VerdictFile(tmp_path / "verdicts")
        assert file.was_there is was_there
        file.close()


def test_it_is_nobody_elses_to_read(tmp_path: Path) -> None:
    written(tmp_path / "verdicts", *VERDICTS)
    assert (tmp_path / "verdicts").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kind", ["symlink", "pipe"])
def test_what_is_no_file_is_refused(tmp_path: Path, kind: str) -> None:
    path, elsewhere = tmp_path / "verdicts", tmp_path / "elsewhere"
    if kind == "symlink":
        elsewhere.write_bytes(b"of somebody else")
        path.symlink_to(elsewhere)
    else:
        os.mkfifo(path)
    with pytest.raises(OSError, match=r"symbolic links|is not a file"):
        VerdictFile(path)
    assert kind == "pipe" or elsewhere.read_bytes() == b"of somebody else"
