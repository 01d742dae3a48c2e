from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pgoauthd.runtime import reloadwatch
from pgoauthd.runtime.clock import SystemClock
from pgoauthd.runtime.reloadwatch import ReloadWatch, look_at

DEADLINE = 20.0


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reloadwatch, "QUIET_SECONDS", 0.05)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "pgoauthd.toml"
    path.write_text("old")
    return path


def write(file: Path, text: str) -> None:
    file.write_text(text)


async def notice(change: Callable[[], object], *paths: Path) -> None:
    """Fail unless the change of one of the files is noticed."""
    known = look_at(map(str, paths))
    with ReloadWatch(SystemClock()) as watch:
        assert not await watch.changed(known), "nothing has changed yet"
        change()
        async with asyncio.timeout(DEADLINE):
            while not await watch.changed(known):
                pass


async def test_a_file_that_is_written_in_place_is_noticed(file: Path) -> None:
    await notice(lambda: file.write_text("new"), file)


async def test_a_file_that_is_replaced_by_a_rename_is_noticed(file: Path) -> None:
    def replace() -> None:
        beside = file.with_suffix(".swp")
        beside.write_text("new")
        beside.rename(file)

    await notice(replace, file)


async def test_a_link_that_is_turned_is_noticed(tmp_path: Path) -> None:
    """As Kubernetes does it with a ConfigMap."""
    for version in ("1", "2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "pgoauthd.toml").write_text(version)
    (tmp_path / "..data").symlink_to("1")
    (tmp_path / "pgoauthd.toml").symlink_to("..data/pgoauthd.toml")

    def turn() -> None:
        (tmp_path / "..data_tmp").symlink_to("2")
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")

    await notice(turn, tmp_path / "pgoauthd.toml")


async def test_a_file_that_goes_and_one_that_comes_are_noticed(file: Path) -> None:
    await notice(file.unlink, file)
    await notice(lambda: file.write_text("old"), file)


async def test_a_file_in_a_directory_that_is_made_later_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reloadwatch, "POLL_SECONDS", 0.05)
    secret = tmp_path / "later" / "secret"

    def make() -> None:
        secret.parent.mkdir()
        secret.write_text("new")

    await notice(make, secret)


async def test_a_half_written_file_is_not_looked_at_before_it_is_whole(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reloadwatch, "QUIET_SECONDS", 0.4)
    known = look_at([str(file)])
    with ReloadWatch(SystemClock()) as watch:
        assert not await watch.changed(known)
        changed = asyncio.create_task(watch.changed(known))
        with file.open("wb", buffering=0) as out:
            for byte in b"a file that is written slowly, byte by byte, through":
                out.write(bytes([byte]))
                await asyncio.sleep(0.01)
                assert not changed.done()
        assert await changed


async def test_a_file_that_never_rests_is_looked_at_all_the_same(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reloadwatch, "RESTLESS_SECONDS", 0.3)
    known = look_at([str(file)])
    with ReloadWatch(SystemClock()) as watch:
        assert not await watch.changed(known)
        changed = asyncio.create_task(watch.changed(known))
        number = 0
        async with asyncio.timeout(DEADLINE):
            while not changed.done():
                write(file, str(number := number + 1))
                await asyncio.sleep(0.005)
        assert await changed


async def test_what_is_written_again_as_it_was_has_not_changed(file: Path) -> None:
    known = look_at([str(file)])
    with ReloadWatch(SystemClock()) as watch:
        await watch.changed(known)
        write(file, "new")
        write(file, "old")
        assert not await watch.changed(known)


async def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert look_at([str(tmp_path / "pipe")]) == {str(tmp_path / "pipe"): "is not a regular file"}


def test_a_directory_in_the_place_of_a_file_costs_no_descriptor(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert set(look_at([str(tmp_path)] * 5).values()) == {"is not a regular file"}
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_what_is_known_of_a_secret_does_not_show_it(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2")
    assert "hunter2" not in repr(look_at([str(tmp_path / "secret")]))
