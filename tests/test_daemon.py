"""The daemon as a whole, in this process: what fails in one part and what that does to the others."""

from __future__ import annotations

import asyncio
import io
import json
import socket
from pathlib import Path

import aiohttp
import pytest

from pgoauthd.config.reader import parse
from pgoauthd.config.values import Config
from pgoauthd.correlation.outcome import Outcome
from pgoauthd.daemon import running
from pgoauthd.demo.issuer import AUDIENCE, DEFAULT_SCOPE, DemoIssuer
from pgoauthd.errors import StateError
from pgoauthd.runtime.history import History, Wanted
from pgoauthd.telemetry.metrics import Metrics
from tests.fix_daemon import until
from tests.fix_log import logging_to

CORPUS = Path(__file__).parent / "data" / "pg-logs" / "18.6-default" / "postgresql.json"
DEADLINE = 20.0


def configured(directory: Path, issuer: str, *, start: str = "beginning") -> Config:
    (directory / "log").mkdir(exist_ok=True)
    return parse(f"""
[callout]
socket = "{directory}/run/pgoauthd.sock"
[web]
listen = "127.0.0.1:0"
[state]
path = "{directory}/state.db"
[[issuers]]
name = "main"
issuer = "{issuer}"
audiences = ["{AUDIENCE}"]
allow_loopback_http = true
[[clusters]]
name = "main"
logs = ["{directory}/log"]
start = "{start}"
""")


class Collector:
    """Outcomes as they come, and a way to wait for so many."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self._more = asyncio.Event()

    def __call__(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self._more.set()

    async def wait_for(self, count: int) -> list[Outcome]:
        async with asyncio.timeout(DEADLINE):
            while len(self.outcomes) < count:
                self._more.clear()
                await self._more.wait()
        return self.outcomes


def is_socket(path: str) -> bool:
    return Path(path).is_socket()


async def validate(path: str, token: str, issuer: str) -> dict[str, object]:
    request = {
        "token": token,
        "role": "alice",
        "session_id": "6b02415c.7701",
        "pid": 0x7701,
        "issuer": issuer,
        "scope": DEFAULT_SCOPE,
    }
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as session,
        session.post("http://localhost/v1/validate", json=request) as reply,
    ):
        return dict(await reply.json())


async def test_logs_are_followed_and_tokens_judged_side_by_side(tmp_path: Path) -> None:
    collector = Collector()
    with logging_to(io.StringIO()) as log:
        async with DemoIssuer() as issuer:
            config = configured(tmp_path, issuer.issuer)
            (tmp_path / "log" / "postgresql.json").write_bytes(CORPUS.read_bytes())
            async with running(config, log=log, publish=[collector]):
                reply = await validate(config.callout.socket, issuer.mint("alice"), issuer.issuer)
                assert reply["authorized"] is True
                assert len(await collector.wait_for(62)) == 62


async def test_a_restart_neither_repeats_nor_loses_an_outcome(tmp_path: Path) -> None:
    lines = CORPUS.read_bytes().splitlines(keepends=True)
    path = tmp_path / "log" / "postgresql.json"
    seen: list[Outcome] = []
    with logging_to(io.StringIO()) as log:
        config = configured(tmp_path, "http://127.0.0.1:9/none")
        for at in range(0, len(lines), 40):
            with path.open("ab") as out:
                out.writelines(lines[at : at + 40])
            collector = Collector()
            async with running(config, log=log, publish=[collector]) as metrics:

                async def all_read(metrics: Metrics = metrics, collector: Collector = collector) -> bool:
                    unread = metrics.registry.get_sample_value("pgoauthd_log_lag_bytes", {"cluster": "main"})
                    return bool(collector.outcomes) and unread == 0

                await until(all_read, "the log is read")
            seen += collector.outcomes
    sessions = [outcome.session_id for outcome in seen]
    assert len(sessions) == len(set(sessions)) == 62


def written(directory: Path) -> int:
    """Bytes in its files."""
    return sum(path.stat().st_size for path in directory.iterdir())


async def read_all(config: Config, output: io.StringIO, publish: Collector) -> Metrics:
    """Run a daemon until it has counted all of the log, and end it."""
    size = written(Path(config.clusters[0].logs[0]))
    with logging_to(output) as log:
        async with running(config, log=log, publish=[publish]) as metrics:

            async def counted() -> bool:
                return total(metrics, "log_read_bytes") == size

            await until(counted, "the log is read")
    return metrics


def total(metrics: Metrics, name: str) -> float:
    """A counter as it is shown, all its series together."""
    families = (family.samples for family in metrics.registry.collect())
    return sum(sample.value for samples in families for sample in samples if sample.name == f"pgoauthd_{name}_total")


async def test_counters_go_on_after_a_restart_and_the_history_has_each_outcome_once(tmp_path: Path) -> None:
    config, collector = configured(tmp_path, "http://127.0.0.1:9/none"), Collector()
    lines = CORPUS.read_bytes().splitlines(keepends=True)
    path, shown = tmp_path / "log" / "postgresql.json", []
    for part in (lines[: len(lines) // 2], lines[len(lines) // 2 :], []):
        with path.open("ab") as out:
            out.writelines(part)
        metrics = await read_all(config, io.StringIO(), collector)
        shown.append(total(metrics, "login_attempts"))
        assert shown[-1] == len(collector.outcomes)
    assert 0 < shown[0] < shown[1] == shown[2] == 62
    with History(Path(config.state.path)) as history:
        assert [json.loads(line)["id"] for line in history.outcomes(Wanted())] == [*range(1, 63)]


async def test_a_damaged_state_is_kept_aside_and_said_and_the_daemon_goes_on_without_it(tmp_path: Path) -> None:
    config, output = configured(tmp_path, "http://127.0.0.1:9/none"), io.StringIO()
    await read_all(config, output, Collector())
    (tmp_path / "state.db").write_bytes(b"no state any more" * 1_000)
    (tmp_path / "log" / "postgresql.json").write_bytes(CORPUS.read_bytes())
    collector = Collector()
    await read_all(config, output, collector)
    said = [json.loads(line) for line in output.getvalue().splitlines()]
    (kept,) = (one["path"] for one in said if one["event"] == "state_kept_aside")
    assert (tmp_path / kept).read_bytes() == b"no state any more" * 1_000
    await read_all(config, output, collector)
    assert len(collector.outcomes) == 62


async def test_a_sink_that_breaks_does_not_stop_the_validation_of_logins(tmp_path: Path) -> None:
    def broken(_: Outcome) -> None:
        raise RuntimeError("this sink is broken")

    async def has_broken() -> bool:
        return "outcome_not_told" in output.getvalue()

    output = io.StringIO()
    with logging_to(output) as log:
        async with DemoIssuer() as issuer:
            config = configured(tmp_path, issuer.issuer)
            (tmp_path / "log" / "postgresql.json").write_bytes(CORPUS.read_bytes())
            async with running(config, log=log, publish=[broken]):
                await until(has_broken, "the sink has broken")
                reply = await validate(config.callout.socket, issuer.mint("alice"), issuer.issuer)
                assert reply["authorized"] is True


async def test_a_second_daemon_on_the_same_state_stops_before_it_touches_the_socket(tmp_path: Path) -> None:
    with logging_to(io.StringIO()) as log:
        config = configured(tmp_path, "http://127.0.0.1:9/none")
        async with running(config, log=log):
            with pytest.raises(StateError, match="another pgoauthd"):
                async with running(config, log=log):
                    pass
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(config.callout.socket)


async def test_what_it_opened_is_closed_and_gone_afterwards(tmp_path: Path) -> None:
    with logging_to(io.StringIO()) as log:
        config = configured(tmp_path, "http://127.0.0.1:9/none")
        async with running(config, log=log):
            assert is_socket(config.callout.socket)
        assert not is_socket(config.callout.socket)
        async with running(config, log=log):
            pass
