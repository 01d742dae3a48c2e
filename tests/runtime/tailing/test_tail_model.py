"""Random histories of writing, rotating, truncating, deleting and restarting, against a model of what must be read."""

from __future__ import annotations

import asyncio
import io
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgoauthd.logs.follow import MIN_COPY_BYTES
from pgoauthd.logs.readers import LogFormat
from tests.logs.fix_corpus import EXTENSIONS
from tests.runtime.tailing.fix_tail import Rig, append, copy_and_truncate, lines, touch

ACTIONS = ("write", "write", "half", "step", "step", "rename", "copytruncate", "delete", "restart")


class History:
    """A server and an administrator at work on one log, and what a tail owes them."""

    def __init__(self, rig: Rig, log_format: LogFormat, logs: str) -> None:
        self.rig = rig
        self.log_format = log_format
        extension = EXTENSIONS.get(log_format, "json")
        self.path = rig.directory / f"postgresql.{extension}"
        self.logs = logs.format(extension=extension)
        self.tail = rig.tail(self.logs)
        self.written = 0
        self.rotated = 0
        self.half = b""

    def write(self) -> None:
        self.written += 1
        append(self.path, self.half + lines(self.written, log_format=self.log_format))
        self.half = b""

    def write_half(self) -> None:
        self.complete()
        self.written += 1
        line = lines(self.written, log_format=self.log_format)
        append(self.path, line[:60])
        self.half = line[60:]

    def complete(self) -> None:
        """A server does not leave a line unfinished when it turns to another file."""
        if self.half:
            append(self.path, self.half)
            self.half = b""

    def rename(self) -> None:
        """logrotate without copytruncate: .1 becomes .2 and so on."""
        self.complete()
        self._shift()
        if self.path.exists():
            self.path.rename(f"{self.path}.1")
        self._make()

    def copytruncate(self) -> None:
        self._shift()
        if self.path.exists():
            copy_and_truncate(self.path, Path(f"{self.path}.1"))

    def delete(self) -> None:
        """The server makes the file again at once: what comes and goes under a free name is seen by nobody."""
        self.path.unlink(missing_ok=True)
        self._make()

    def _make(self) -> None:
        self.path.touch()
        touch(self.path)

    def _shift(self) -> None:
        for number in range(9, 0, -1):
            older = Path(f"{self.path}.{number}")
            if older.exists():
                older.rename(f"{self.path}.{number + 1}")

    def restart(self) -> None:
        """With nothing saved, `start` would say where to begin, as on the first day."""
        if positions := self.tail.positions():
            self.tail.close()
            self.tail = self.rig.tail(self.logs, saved=positions, start="end")

    async def step(self) -> None:
        await self.tail.step()

    async def look_well(self) -> None:
        """What is gone before it was opened leaves no trace, and a new file may have to wait for a second look."""
        await self.step()
        await self.step()

    async def play(self, actions: list[str]) -> None:
        self._make()
        await self.step()
        for action in actions:
            match action:
                case "write":
                    self.write()
                case "half":
                    self.write_half()
                case "step":
                    await self.step()
                case "rename":
                    self.rename()
                case "copytruncate":
                    self.complete()
                    await self.look_well()
                    if self.path.exists() and self.path.stat().st_size >= MIN_COPY_BYTES:
                        self.write()
                    self.copytruncate()
                    await self.step()
                case "delete":
                    # of an empty file nothing is known by which to tell it from the next one with its inode
                    self.write()
                    await self.look_well()
                    self.delete()
                case _:
                    self.restart()
        self.complete()
        for _ in range(4):
            await self.step()


def check(actions: list[str], log_format: LogFormat, logs: str) -> None:
    directory = Path(tempfile.mkdtemp()) / "log"
    directory.mkdir()
    rig = Rig(directory, io.StringIO())
    try:
        history = History(rig, log_format, logs)
        asyncio.run(history.play(actions))
        assert Counter(rig.numbers) == Counter(range(1, history.written + 1)), actions
        assert rig.count("log_lost_lines_total") == 0 or "delete" in actions
        assert history.tail.caught_up
    finally:
        rig.close()
        shutil.rmtree(directory.parent)


@pytest.mark.parametrize("logs", ["postgresql.{extension}", ".", "postgresql.{extension}*"])
@given(actions=st.lists(st.sampled_from(ACTIONS), max_size=14), log_format=st.sampled_from(LogFormat))
@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
def test_every_line_comes_exactly_once(logs: str, actions: list[str], log_format: LogFormat) -> None:
    check(actions, log_format, logs)
