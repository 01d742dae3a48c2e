"""Every way to log in or to fail, on a real PostgreSQL 18 with the real shim, a real daemon process and real log files.

The attempts and what must become of them are those of the demo's scripted day.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pgoauthd.demo.attempts import Attempt, Condition, perform
from pgoauthd.demo.cluster import SUPERUSER, LogDestination
from pgoauthd.demo.scenarios import scripted_day
from pgoauthd.demo.scene import Issuers, daemon_config
from pgoauthd.demo.stage import Stage, stage
from pgoauthd.runtime.pgclient import LoginResult, login
from tests.fix_daemon import DaemonProcess, free_port

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "outcome.schema.json").read_text(encoding="utf-8"))

SETUPS = {
    "jsonlog": (LogDestination.JSONLOG, "%m [%p] "),
    "csvlog": (LogDestination.CSVLOG, "%m [%p] "),
    "stderr without session ids": (LogDestination.STDERR, "%m [%p] %q%u@%d "),
    "stderr with session ids": (LogDestination.STDERR, "<%n %c %l> [%p] %e user=%u,db=%d,app=%a,client=%h "),
}

BURST = 200
SHORTEST_PIECE = 20
"""Characters of a token that nobody writes by chance."""


@dataclass
class Play:
    """A stage with a daemon, what was tried on it and the tokens that were used."""

    stage: Stage
    daemon: DaemonProcess
    tokens: list[str] = field(default_factory=list)

    async def perform(self, attempt: Attempt) -> LoginResult:
        if attempt.token is not None:
            attempt = dataclasses.replace(attempt, token=self._remembering(attempt))
        return await perform(attempt, self.stage.cluster, self.stage.issuers, deadline_seconds=30)

    def _remembering(self, attempt: Attempt) -> Any:  # noqa: ANN401 - a token factory
        make = attempt.token
        assert make is not None

        def remember(issuers: Issuers) -> str:
            self.tokens.append(make(issuers))
            return self.tokens[-1]

        return remember

    async def outcomes(self, count: int) -> list[dict[str, Any]]:
        """Of the attempts, without those of the superuser who set the server up."""
        return await self.daemon.wait_for_outcomes(count, not_of=SUPERUSER)


@asynccontextmanager
async def playing(destination: LogDestination, prefix: str, **settings: Any) -> AsyncIterator[Play]:  # noqa: ANN401
    async with stage(log_destinations=(destination,), log_line_prefix=prefix, **settings) as scene:
        directory = scene.cluster.directory
        listen = f"127.0.0.1:{free_port()}"
        outcomes = directory / "outcomes.jsonl"
        config = daemon_config(
            scene.cluster, scene.issuers, state=directory / "state.db", listen=listen, outcomes=outcomes
        )
        async with DaemonProcess(config, directory, listen) as daemon:
            yield Play(scene, daemon)


def joined(
    made: Sequence[tuple[Attempt, LoginResult]], outcomes: Sequence[dict[str, Any]]
) -> list[tuple[Attempt, LoginResult, dict[str, Any]]]:
    """Each attempt with its own outcome, by the client's port or, over the Unix socket, by the name it gave."""
    by_port = {outcome["client_port"]: outcome for outcome in outcomes if outcome["client_port"] is not None}
    by_name = {outcome["application_name"]: outcome for outcome in outcomes}
    lost = [a.name for a, result in made if result.local_port not in {None, *by_port}]
    assert not lost, f"no outcome has the client's port of {lost}; there are {outcomes}"
    return [
        (attempt, result, by_port[result.local_port] if result.local_port is not None else by_name[attempt.name])
        for attempt, result in made
    ]


def assert_as_scripted(attempt: Attempt, result: LoginResult, outcome: dict[str, Any]) -> None:
    told = f"{attempt.name}: {outcome}"
    assert (outcome["result"], outcome["reason"]) == (attempt.result, attempt.reason), told
    assert (outcome["stage"], outcome["fault"]) == (attempt.reason.stage, attempt.reason.fault), told
    assert outcome["identity"] == attempt.identity, told
    assert result.sqlstate == attempt.sqlstate, told
    assert result.ok == (outcome["result"] == "success"), told
    jsonschema.validate(outcome, SCHEMA)


async def make_the_day(play: Play) -> list[tuple[Attempt, LoginResult]]:
    """All attempts that need the daemon, in order, those that stall beside the others."""
    made = []
    stalling = []
    for attempt in scripted_day():
        if attempt.slow:
            stalling.append((attempt, asyncio.create_task(play.perform(attempt))))
        elif attempt.condition is not Condition.DAEMON_DOWN:
            made.append((attempt, await play.perform(attempt)))
    made += [(attempt, await task) for attempt, task in stalling]
    return made


def pieces(token: str) -> set[str]:
    return {
        part[at : at + SHORTEST_PIECE]
        for part in token.split(".")
        for at in range(0, len(part) - SHORTEST_PIECE + 1, 7)
    }


def assert_no_token(play: Play, exposition: str) -> None:
    """Neither in what the daemon wrote, nor in the server's log and files, nor in the metrics."""
    assert len(play.tokens) > 30
    wanted = set().union(*(pieces(token) for token in play.tokens))
    written = [exposition, *(read(path) for path in play.stage.cluster.directory.rglob("*") if path.is_file())]
    assert sum("connection received" in text for text in written) >= 1, "the server's log was not looked at"
    found = [piece for text in written for piece in windows_of(text) & wanted]
    assert not found, f"{len(found)} pieces of tokens were written"


def read(path: Path) -> str:
    return path.read_bytes().decode("latin-1")


def windows_of(text: str) -> set[str]:
    """All pieces of token-like runs in a text."""
    runs = (run for run in "".join(c if c.isalnum() or c in "-_" else " " for c in text).split())
    return {run[at : at + SHORTEST_PIECE] for run in runs for at in range(len(run) - SHORTEST_PIECE + 1)}


@pytest.mark.parametrize("setup", SETUPS)
async def test_every_attempt_of_the_day_has_exactly_the_scripted_outcome(setup: str) -> None:
    destination, prefix = SETUPS[setup]
    async with playing(destination, prefix) as play:
        made = await make_the_day(play)
        outcomes = await play.outcomes(len(made))
        assert len(outcomes) == len(made)
        for attempt, result, outcome in joined(made, outcomes):
            assert_as_scripted(attempt, result, outcome)
        await assert_metrics(play, [attempt for attempt, _ in made])
        assert_no_token(play, await play.daemon.exposition())

        assert await play.daemon.stop() == 0
        down = [attempt for attempt in scripted_day() if attempt.condition is Condition.DAEMON_DOWN]
        assert down
        made_without = [(attempt, await play.perform(attempt)) for attempt in down]
        await play.daemon.start()
        outcomes = await play.outcomes(len(made) + len(down))
        assert len(outcomes) == len(made) + len(down), "an outcome was counted again after the restart"
        for attempt, result, outcome in joined(made_without, outcomes):
            assert_as_scripted(attempt, result, outcome)


async def assert_metrics(play: Play, attempts: Sequence[Attempt]) -> None:
    counted = await play.daemon.samples("pgoauthd_login_attempts_total")
    by_reason: Counter[tuple[str, str]] = Counter()
    for (cluster, method, reason, result, _stage), value in counted.items():
        assert cluster == "demo"
        if method != "trust":
            by_reason[result, reason] += int(value)
    assert by_reason == Counter((attempt.result.value, attempt.reason.value) for attempt in attempts)
    unmatched = await play.daemon.samples("pgoauthd_correlation_unmatched_total")
    assert unmatched == {}
    judged = await play.daemon.samples("pgoauthd_validations_total")
    matched = await play.daemon.samples("pgoauthd_correlation_matched_total")
    assert matched == {("demo",): sum(judged.values())}
    assert (await play.daemon.samples("pgoauthd_log_parse_failures_total")) == {}
    mapped = sum(attempt.role in ("reporting", "etl") for attempt in attempts)
    assert await play.daemon.samples("pgoauthd_usermap_predictions_total") == {("demo", "agreed"): mapped}


@pytest.mark.parametrize("setup", ["jsonlog", "stderr without session ids"])
async def test_two_hundred_logins_at_once_have_each_their_own_outcome(setup: str) -> None:
    destination, prefix = SETUPS[setup]
    mixed = [a for a in scripted_day() if a.condition is Condition.NONE and not a.slow and not a.over_unix]
    attempts = list(itertools.islice(itertools.cycle(mixed), BURST))
    async with playing(destination, prefix, authentication_timeout_seconds=10) as play:
        results = await asyncio.gather(*(play.perform(attempt) for attempt in attempts))
        outcomes = await play.outcomes(BURST)
        assert len(outcomes) == BURST
        for attempt, result, outcome in joined(list(zip(attempts, results, strict=True)), outcomes):
            assert_as_scripted(attempt, result, outcome)


async def test_a_server_that_logs_no_ready_line_gives_the_same_outcomes() -> None:
    async with playing(LogDestination.JSONLOG, "%m [%p] ", log_connections="on") as play:
        made = await make_the_day(play)
        outcomes = await play.outcomes(len(made))
        assert len(outcomes) == len(made)
        for attempt, result, outcome in joined(made, outcomes):
            assert_as_scripted(attempt, result, outcome)


async def test_a_session_that_is_ended_at_once_was_a_success_all_the_same() -> None:
    async with playing(LogDestination.JSONLOG, "%m [%p] ", log_connections="on") as play:
        token = play.stage.issuers.main.mint("alice")
        with contextlib.suppress(OSError):
            await login(
                play.stage.cluster.tcp,
                role="alice",
                database="app",
                token=token,
                query="SELECT pg_terminate_backend(pg_backend_pid())",
            )
        outcomes = await play.outcomes(1)
        assert [(outcome["result"], outcome["reason"]) for outcome in outcomes] == [("success", "ok")]


HALF = b"p\x00\x00\x01\x00OAUTHBEARER\x00\x00\x00\x01\x00n,,\x01auth=Bearer "


async def test_half_a_message_is_one_refusal_and_no_discovery() -> None:
    async with playing(LogDestination.JSONLOG, "%m [%p] ") as play:
        address = play.stage.cluster.tcp
        reader, writer = await asyncio.open_connection(address.host, address.port)
        startup = b"\x00\x03\x00\x00user\x00alice\x00database\x00app\x00\x00"
        writer.write((len(startup) + 4).to_bytes(4, "big") + startup)
        await reader.readexactly(1)
        writer.write(HALF)
        writer.write_eof()
        await reader.read()
        writer.close()
        outcomes = await play.outcomes(1)
        assert [(outcome["result"], outcome["reason"]) for outcome in outcomes] == [("refused", "sasl_malformed")]
