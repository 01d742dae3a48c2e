"""The probes of a daemon, with a clock that a test moves."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from pgoauthd.config.values import Config, Probe, State
from pgoauthd.errors import ConfigError
from pgoauthd.probing.periodic import FIRST_WITHIN_SECONDS, JITTER, Probes
from pgoauthd.probing.steps import Step
from pgoauthd.runtime.background import Background
from pgoauthd.runtime.pace import Pace
from pgoauthd.site import Site
from pgoauthd.telemetry.metrics import PROBE_STEPS, Metrics
from tests.fix_clock import SteppedClock
from tests.fix_issuer import LocalIssuer, running_issuer
from tests.fix_log import logging_to

INTERVAL = 60.0
ENDPOINT = "/realms/database/token"


class Running:
    """Probes inside a background, and what they say and count."""

    def __init__(self, site: Site, clock: SteppedClock, said: io.StringIO, secret: Path) -> None:
        self.probes = Probes(site)
        self.clock = clock
        self.secret = secret
        self._metrics = site.metrics
        self._said = said

    def table(self, issuer: LocalIssuer, **changes: Any) -> Probe:  # noqa: ANN401 - any field
        known: dict[str, Any] = {
            "name": "kong",
            "host": "127.0.0.1",
            "port": 1,
            "user": "kong",
            "database": "kong",
            "interval_seconds": INTERVAL,
            "allow_loopback_http": True,
            "oauth_client_id": "kong",
            "oauth_client_secret_file": str(self.secret),
            "oauth_token_endpoint": issuer.issuer + "/token",
        }
        return Probe(**(known | changes))

    async def use(self, *tables: Probe, files_changed: bool = False) -> None:
        config = Config(probes=tables, state=State(path=str(self.secret.with_name("no-state.db"))))
        await self.probes.use(config, self.probes.build(config, files_changed=files_changed))

    def value(self, name: str, **labels: str) -> float | None:
        known = {"probe": "kong", "server": "primary"}
        return self._metrics.registry.get_sample_value(f"pgoauthd_probe_{name}", known | labels)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._said.getvalue().splitlines()]


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    clock, said, secret = SteppedClock(), io.StringIO(), tmp_path / "secret"
    secret.write_text("a secret text\n", encoding="utf-8")
    secret.chmod(0o600)
    async with AsyncExitStack() as stack:
        log = stack.enter_context(logging_to(said))
        background = await stack.enter_async_context(Background(log, clock))
        yield Running(Site(Metrics(), log, clock, background, Pace(clock)), clock, said, secret)
        assert "a secret text" not in said.getvalue()


@pytest.fixture
async def issuer() -> AsyncIterator[LocalIssuer]:
    """One that has no token endpoint: probes fail at the first step."""
    async with running_issuer() as started:
        yield started


async def first_run(running: Running, issuer: LocalIssuer, times: int = 1) -> None:
    assert 0 <= await running.clock.asleep() <= FIRST_WITHIN_SECONDS
    running.clock.advance(FIRST_WITHIN_SECONDS)
    await issuer.wait_asked(ENDPOINT, times)


def test_the_label_of_each_step_is_known_to_the_metrics() -> None:
    assert tuple(Step) == PROBE_STEPS


def test_a_step_that_was_not_reached_has_no_time_from_before() -> None:
    metrics, probe = Metrics(), ("kong", "primary")
    metrics.count_probe(probe, failed_step=None, seconds=dict.fromkeys(PROBE_STEPS, 1.0), now=5.0)
    metrics.count_probe(probe, failed_step="connect", seconds={"token": 2.0, "connect": 3.0}, now=6.0)
    known = {"probe": "kong", "server": "primary"}
    value = metrics.registry.get_sample_value
    times = [value("pgoauthd_probe_step_duration_seconds", known | {"step": step}) for step in PROBE_STEPS]
    assert times == [2.0, 3.0, None, None, None]
    assert value("pgoauthd_probe_last_success_timestamp_seconds", known) == 5.0
    assert value("pgoauthd_probe_success", known) == 0.0


async def test_a_probe_runs_soon_and_then_again_and_again(running: Running, issuer: LocalIssuer) -> None:
    await running.use(running.table(issuer))
    await first_run(running, issuer)
    for times in (2, 3):
        pause = await running.clock.asleep()
        assert INTERVAL * (1 - JITTER) <= pause <= INTERVAL * (1 + JITTER)
        running.clock.advance(pause)
        await issuer.wait_asked(ENDPOINT, times)


async def test_before_the_first_result_only_the_counters_are_there(running: Running, issuer: LocalIssuer) -> None:
    await running.use(running.table(issuer))
    assert [running.value("failures_total", step=step) for step in Step] == [0.0] * len(Step)
    assert running.value("success") is None


async def test_a_probe_that_fails_is_counted_and_said_once(running: Running, issuer: LocalIssuer) -> None:
    await running.use(running.table(issuer))
    await first_run(running, issuer)
    running.clock.advance(await running.clock.asleep())
    await issuer.wait_asked(ENDPOINT, 2)
    await running.clock.asleep()
    assert running.value("success") == 0.0
    assert running.value("failures_total", step="token") == 2.0
    assert running.value("step_duration_seconds", step="token") is not None
    assert running.value("step_duration_seconds", step="connect") is None
    assert running.value("last_success_timestamp_seconds") is None
    (line,) = [line for line in running.lines() if line["event"] == "probe_failed"]
    assert (line["probe"], line["step"], "status 404" in line["problem"]) == ("kong", "token", True)


async def test_another_failure_is_said_again(running: Running, issuer: LocalIssuer) -> None:
    await running.use(running.table(issuer))
    await first_run(running, issuer)
    pause = await running.clock.asleep()
    issuer.hold()
    running.clock.advance(pause)
    await issuer.wait_asked(ENDPOINT, 2)
    issuer.keys = {}
    issuer.script[ENDPOINT] = issuer.hang
    issuer.release()
    issuer.closing.set()
    await running.clock.asleep()
    assert len([line for line in running.lines() if line["event"] == "probe_failed"]) == 2


async def test_a_probe_never_overlaps_itself(running: Running, issuer: LocalIssuer) -> None:
    issuer.hold()
    await running.use(running.table(issuer))
    await first_run(running, issuer)
    running.clock.advance(10 * INTERVAL)
    assert issuer.asked[ENDPOINT] == 1
    issuer.release()
    assert await running.clock.asleep() == 0.0  # late, and so at once
    running.clock.advance(0)
    await issuer.wait_asked(ENDPOINT, 2)


async def test_a_probe_that_is_the_same_goes_on(running: Running, issuer: LocalIssuer) -> None:
    await running.use(running.table(issuer))
    await first_run(running, issuer)
    await running.clock.asleep()
    await running.use(running.table(issuer))
    assert running.value("success") == 0.0
    assert issuer.asked[ENDPOINT] == 1
    assert await running.clock.asleep() > FIRST_WITHIN_SECONDS


async def test_a_probe_with_a_new_secret_begins_anew(running: Running, issuer: LocalIssuer) -> None:
    await running.use(running.table(issuer))
    await first_run(running, issuer)
    await running.clock.asleep()
    await running.use(running.table(issuer), files_changed=True)
    await first_run(running, issuer, 2)


async def test_a_probe_that_is_gone_leaves_no_gauge(running: Running, issuer: LocalIssuer) -> None:
    await running.use(running.table(issuer))
    await first_run(running, issuer)
    await running.clock.asleep()
    await running.use()
    assert running.value("success") is None
    assert running.value("step_duration_seconds", step="token") is None
    assert running.value("failures_total", step="token") == 1.0


async def test_a_secret_that_cannot_be_read_changes_nothing(running: Running, issuer: LocalIssuer) -> None:
    config = Config(probes=(running.table(issuer, oauth_client_secret_file="/nowhere"),))
    with pytest.raises(ConfigError, match=r"probes \(kong\)\.oauth_client_secret_file"):
        running.probes.build(config, files_changed=False)
