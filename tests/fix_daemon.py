"""The daemon as a process of its own, as an operator runs it: configuration in, outcomes, metrics and log out."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

SAMPLE = re.compile(r"(?P<name>\w+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def until(fact: Callable[[], Awaitable[bool]], what: str, seconds: float = 30.0) -> None:
    """Wait for a fact about another process; a failure says which."""
    try:
        async with asyncio.timeout(seconds):
            while not await fact():  # noqa: ASYNC110 - another process has no events for us
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within {seconds:g} s: {what}") from None


class DaemonProcess:
    """`pgoauthd run` with its files in `directory`; an asynchronous context manager, or start and stop."""

    def __init__(self, config: str, directory: Path, listen: str) -> None:
        self.config_path = directory / "pgoauthd.toml"
        self.config_path.write_text(config, encoding="utf-8")
        self.log_path = directory / "daemon.log"
        self.outcomes_path = directory / "outcomes.jsonl"
        self._listen = listen
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self.log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "pgoauthd", "run", "--config", str(self.config_path), stderr=log
            )
        await until(self._is_healthy, "the daemon serves /healthz")

    async def stop(self) -> int:
        """End it as systemd would; its exit status."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self._process.wait(), 20)

    def hang_up(self) -> None:
        """Have it read its configuration again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _is_healthy(self) -> bool:
        assert self._process is not None
        assert self._process.returncode is None, self.log_path.read_text(encoding="utf-8")
        try:
            async with aiohttp.ClientSession() as session, session.get(f"http://{self._listen}/healthz") as reply:
                return reply.status == 200
        except aiohttp.ClientError:
            return False

    def outcomes(self) -> list[dict[str, Any]]:
        """All whole lines of the outcome file."""
        if not self.outcomes_path.exists():
            return []
        *whole, _ = self.outcomes_path.read_bytes().split(b"\n")
        return [json.loads(line) for line in whole]

    async def wait_for_outcomes(
        self, count: int, seconds: float = 60.0, *, not_of: str | None = None
    ) -> list[dict[str, Any]]:
        """The outcomes once there are so many, without those of the role `not_of`."""

        def found() -> list[dict[str, Any]]:
            return [outcome for outcome in self.outcomes() if not_of is None or outcome["role"] != not_of]

        async def enough() -> bool:
            return len(found()) >= count

        try:
            await until(enough, f"{count} outcomes", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}, but {len(found())}") from None
        return found()

    async def exposition(self) -> str:
        async with aiohttp.ClientSession() as session, session.get(f"http://{self._listen}/metrics") as reply:
            return await reply.text()

    async def samples(self, name: str) -> dict[tuple[str, ...], float]:
        """Samples of one series, by the values of its labels in alphabetical order; zeros left out."""
        found = {}
        for line in (await self.exposition()).splitlines():
            sample = SAMPLE.fullmatch(line)
            if sample is not None and sample["name"] == name and float(sample["value"]):
                found[tuple(value for _, value in LABEL.findall(sample["labels"] or ""))] = float(sample["value"])
        return found
