"""What tests of sinks share: metrics, the daemon's log, and a sink that runs."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator, Callable
from typing import Protocol

import pytest
from structlog.typing import FilteringBoundLogger

from pgoauthd.runtime.outcomefile import OUTCOME_FILE
from pgoauthd.telemetry import log as telemetry_log
from pgoauthd.telemetry.metrics import Metrics

DEADLINE = 20.0
CANARY = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJlLW9mLXRoZS1jYW5hcnktd2hpY2gtbXVzdC1uZXZlci1zaG93"


@pytest.fixture
def metrics() -> Metrics:
    made = Metrics()
    made.declare(clusters=("main",), issuers=(), sinks=(OUTCOME_FILE, "ops"))
    return made


@pytest.fixture
def said() -> io.StringIO:
    """What the daemon's log says."""
    return io.StringIO()


@pytest.fixture
def log(said: io.StringIO) -> FilteringBoundLogger:
    return telemetry_log.configure("debug", "json", said)


def value(metrics: Metrics, name: str, **labels: str) -> float:
    found = metrics.registry.get_sample_value(f"pgoauthd_{name}_total", labels)
    assert found is not None, f"no series {name}{labels}"
    return found


class Sink(Protocol):
    async def run(self) -> None: ...


@contextlib.asynccontextmanager
async def running(sink: Sink) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(sink.run())
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def stop(task: asyncio.Task[None]) -> None:
    """What the daemon does at shutdown; the file sink then writes what still waits."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        async with asyncio.timeout(DEADLINE):
            await task


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until the condition holds; each turn handles what has arrived."""
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 - a counter has no event
            await asyncio.sleep(0.002)
