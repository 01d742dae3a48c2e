"""A daemon in this process whose configuration is a file that tests write, and who they are that ask it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pgoauthd.config.reader import load
from pgoauthd.config.values import Config
from pgoauthd.correlation.outcome import Outcome
from pgoauthd.daemon import running
from pgoauthd.telemetry.metrics import Metrics
from tests.fix_callout import exchange, http, validate_body
from tests.fix_daemon import until
from tests.fix_issuer import LocalIssuer
from tests.fix_log import logging_to
from tests.fix_tokens import AUDIENCE


def issuer_table(provider: LocalIssuer, name: str = "main", **settings: object) -> str:
    return table("issuers", name=name, issuer=provider.issuer, allow_loopback_http=True, **settings)


def cluster_table(directory: Path, name: str = "main", **settings: object) -> str:
    (directory / name).mkdir(exist_ok=True)
    return table("clusters", name=name, logs=[str(directory / name)], start="beginning", **settings)


def table(kind: str, **settings: object) -> str:
    """A TOML table; JSON has the same strings, numbers, booleans and lists."""
    known = {"audiences": [AUDIENCE]} if kind == "issuers" else {}
    return f"[[{kind}]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in (known | settings).items())


@dataclass
class Reloading:
    """A running daemon, what it said and whom it told of outcomes."""

    directory: Path
    hangup: asyncio.Event = field(default_factory=asyncio.Event)
    outcomes: list[Outcome] = field(default_factory=list)
    said: io.StringIO = field(default_factory=io.StringIO)
    metrics: Metrics = field(default_factory=Metrics)

    @property
    def config_path(self) -> Path:
        return self.directory / "pgoauthd.toml"

    @property
    def socket(self) -> str:
        return str(self.directory / "run" / "pgoauthd.sock")

    def write(self, *tables: str, watch: bool = False, callout: str = "", state: str = "state.db") -> str:
        """A configuration of these tables, as the file now has it."""
        text = "\n".join(
            [
                f'[callout]\nsocket = "{self.socket}"\n{callout}',
                '[web]\nlisten = "127.0.0.1:0"',
                f'[state]\npath = "{self.directory / state}"',
                f"[reload]\nwatch = {str(watch).lower()}",
                *tables,
            ]
        )
        self.config_path.write_text(text, encoding="utf-8")
        return text

    @contextlib.asynccontextmanager
    async def running(self, config: Config | None = None) -> AsyncIterator[None]:
        """As the file has it, or as it had it before."""
        config = config or load(self.config_path)
        with logging_to(self.said) as log:
            async with running(
                config, log=log, publish=[self.outcomes.append], path=self.config_path, hangup=self.hangup
            ) as self.metrics:
                yield

    async def hang_up(self) -> str:
        """Reload as on SIGHUP, and wait; what became of it."""
        before = self.reloads()
        self.hangup.set()
        return await self.reloaded(before)

    async def reloaded(self, before: Counter[str]) -> str:
        """Wait for the next reload; what became of it."""

        async def over() -> bool:
            return self.reloads() != before

        await until(over, "a reload")
        (outcome,) = (self.reloads() - before).elements()
        return outcome

    def reloads(self) -> Counter[str]:
        (metric,) = self.metrics.reloads.collect()
        return Counter({sample.labels["outcome"]: int(sample.value) for sample in metric.samples})

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"pgoauthd_{name}", labels)

    def log(self, event: str) -> list[dict[str, Any]]:
        """All that was said about this, in order."""
        lines = (json.loads(line) for line in self.said.getvalue().splitlines())
        return [line for line in lines if line["event"] == event]

    async def judge(self, token: str, provider: LocalIssuer, **members: object) -> str:
        """The reason of the verdict on a token."""
        body = validate_body(token, provider.issuer, **members)
        return (await exchange(self.socket, http("POST", "/v1/validate", body))).reason
