"""The composition root: builds every part from the configuration, runs them together, stops them in order.

Nothing else builds collaborators, and nothing is decided here.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

from structlog.typing import FilteringBoundLogger

from pgoauthd import __version__
from pgoauthd.config import Config
from pgoauthd.correlation import outcome_json
from pgoauthd.correlation.outcome import Outcome, Result
from pgoauthd.errors import PgoauthdError
from pgoauthd.logs.position import Position
from pgoauthd.runtime.callout import Callout
from pgoauthd.runtime.clock import Clock, SystemClock
from pgoauthd.runtime.hardening import allow_open_files, forbid_core_dumps
from pgoauthd.runtime.house import House
from pgoauthd.runtime.keystore import KeyStore
from pgoauthd.runtime.listener import inherited_listener, open_listener
from pgoauthd.runtime.observation import Observation, Publish
from pgoauthd.runtime.peer import look_up_users
from pgoauthd.runtime.sinks import OUTCOME_FILE, AlertPoster, OutcomeFile
from pgoauthd.runtime.store import Store
from pgoauthd.runtime.systemd import Notifier, inherited_sockets, watchdog_seconds
from pgoauthd.runtime.tail import LogTail
from pgoauthd.runtime.validation import Validator
from pgoauthd.runtime.web import Web
from pgoauthd.telemetry.log import configure
from pgoauthd.telemetry.metrics import Metrics

SPARE_OPEN_FILES = 512
"""For everything but connections on the validation socket."""
FIRST_RESTART_SECONDS = 1.0
LONGEST_RESTART_SECONDS = 60.0
"""A part that fails is started again after 1, 2, 4 … seconds."""

Work = Callable[[], Awaitable[None]]


class _Site(NamedTuple):
    """What every part is built from."""

    config: Config
    metrics: Metrics
    log: FilteringBoundLogger
    clock: Clock


def serve(config: Config) -> None:
    """Run the daemon until SIGTERM or SIGINT; what keeps it from starting goes up as PgoauthdError or OSError."""
    log = configure(config.log.level, config.log.format, sys.stderr)
    for complaint in (forbid_core_dumps(), allow_open_files(config.callout.max_connections + SPARE_OPEN_FILES)):
        if complaint is not None:
            log.warning("limit_not_set", problem=complaint)
    try:
        asyncio.run(_until_told(config, log))
    except BaseExceptionGroup as group:
        expected, unforeseen = group.split((PgoauthdError, OSError))
        if expected is None or unforeseen is not None:
            raise
        raise _first(expected) from None


async def _until_told(config: Config, log: FilteringBoundLogger) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    # A hang-up must not be the end of all logins.
    remedy = "the configuration is read at the start only: restart; rotated files are noticed without a signal"
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, lambda: log.warning("sighup_ignored", remedy=remedy))
    async with running(config, log=log):
        await stop.wait()
        log.info("stopping")


@asynccontextmanager
async def running(
    config: Config, *, log: FilteringBoundLogger, clock: Clock | None = None, publish: Sequence[Publish] = ()
) -> AsyncIterator[Metrics]:
    """A daemon that runs inside the `async with`; `publish` gets every outcome besides the configured sinks.

    When the block is entered, socket, metrics and logs are served. When it is left, requests that run are finished,
    the state is saved and everything is closed.
    """
    site = _Site(config, _declared_metrics(config), log, clock or SystemClock())
    async with AsyncExitStack() as stack:
        # The state is opened first: a second daemon must stop before it touches anything else.
        store = stack.enter_context(Store(Path(config.state.path))) if config.clusters else None
        states, verdicts = store.load() if store is not None else ({}, ())
        sinks = _sinks(site)
        observation = Observation(
            config.clusters,
            states={name: state.engine for name, state in states.items()},
            verdicts=verdicts,
            validates=bool(config.issuers),
            publish=[site.metrics.count_outcome, *(sink.offer for sink in sinks), *publish, _log_outcomes(log)],
            metrics=site.metrics,
            clock=site.clock,
        )
        tails = _tails(site, observation, {name: state.positions for name, state in states.items()})
        house = House(observation, tails, store, log=log)
        stack.callback(house.save)
        notifier = stack.enter_context(closing(Notifier(os.environ)))
        web = Web(config.web, site.metrics)
        await web.start()
        stack.push_async_callback(web.stop)
        start = await stack.enter_async_context(_background(log, site.clock))
        for part in (*sinks, *tails.values()):
            start(part.run)
        if config.issuers:
            await stack.enter_async_context(_validating(site, observation))
        start(partial(house.keep, site.clock, notifier, watchdog_seconds(os.environ)))
        notifier.ready(f"{len(config.issuers)} issuers, {len(config.clusters)} clusters")
        socket = config.callout.socket if config.issuers else "none: no issuers are configured"
        log.info("started", version=__version__, socket=socket, metrics=config.web.listen)
        yield site.metrics
        notifier.stopping()


def _declared_metrics(config: Config) -> Metrics:
    metrics = Metrics()
    metrics.declare(
        clusters=[cluster.name for cluster in config.clusters],
        issuers=[issuer.label for issuer in config.issuers],
        sinks=[*(notify.name for notify in config.notify), *([OUTCOME_FILE] if config.outcomes.path else [])],
    )
    return metrics


def _sinks(site: _Site) -> list[OutcomeFile | AlertPoster]:
    config, metrics, log = site.config, site.metrics, site.log
    metrics_url = f"http://{config.web.listen}/metrics"
    sinks: list[OutcomeFile | AlertPoster] = [
        AlertPoster(notify, metrics=metrics, log=log, generator_url=metrics_url) for notify in config.notify
    ]
    if config.outcomes.path is not None:
        sinks.append(OutcomeFile(Path(config.outcomes.path), outcome_json.encode, metrics=metrics, log=log))
    return sinks


def _tails(site: _Site, observation: Observation, positions: Mapping[str, Sequence[Position]]) -> dict[str, LogTail]:
    return {
        cluster.name: LogTail(
            cluster, positions.get(cluster.name, ()), sink=observation, metrics=site.metrics, log=site.log
        )
        for cluster in site.config.clusters
    }


@asynccontextmanager
async def _background(log: FilteringBoundLogger, clock: Clock) -> AsyncIterator[Callable[[Work], None]]:
    """Start work that runs beside the block, again whenever it fails, and is cancelled at the block's end."""
    async with asyncio.TaskGroup() as group:
        started: list[asyncio.Task[None]] = []
        try:
            yield lambda work: started.append(group.create_task(_again_and_again(work, log, clock)))
        finally:
            for task in started:
                task.cancel()


async def _again_and_again(work: Work, log: FilteringBoundLogger, clock: Clock) -> None:
    """Whatever goes wrong in one part, a log line or a receiver of alerts, must not end the validation of logins."""
    delay = FIRST_RESTART_SECONDS
    while True:
        started = clock.monotonic()
        try:
            await work()
        except Exception:
            log.exception("part_failed_unforeseen", part=getattr(work, "__qualname__", str(work)), again_in=delay)
        delay = FIRST_RESTART_SECONDS if clock.monotonic() - started > LONGEST_RESTART_SECONDS else delay
        await clock.sleep(delay)
        delay = min(2 * delay, LONGEST_RESTART_SECONDS)


@asynccontextmanager
async def _validating(site: _Site, observation: Observation) -> AsyncIterator[None]:
    """Serve the validation socket, systemd's or one of our own, with keys that are kept fresh."""
    config, metrics, log, clock = site.config, site.metrics, site.log, site.clock
    users = look_up_users(config.callout.allowed_users)
    for name in users.unknown:
        log.warning("no_such_user", user=name, remedy="correct callout.allowed_users")
    policies = tuple(issuer.policy for issuer in config.issuers)
    async with (
        KeyStore(config.issuers, metrics=metrics, log=log, clock=clock) as keys,
        _background(log, clock) as start,
    ):
        validator = Validator(policies, keys, max_token_bytes=config.callout.max_token_bytes, clock=clock)
        callout = Callout(
            config.callout,
            validator,
            users=users,
            on_verdict=observation.on_verdict,
            metrics=metrics,
            log=log,
            clock=clock,
        )
        inherited = inherited_listener(inherited_sockets(os.environ))
        with inherited or open_listener(config.callout.socket, group=users.group) as listener:
            await callout.start(listener)
            start(keys.run)
            try:
                yield
            finally:
                await callout.stop()


def _log_outcomes(log: FilteringBoundLogger) -> Publish:
    """Each refusal is a line of the daemon's own log; the rest is there for who looks closer."""

    def tell(outcome: Outcome) -> None:
        say = log.info if outcome.result is Result.REFUSED else log.debug
        about = {
            "reason": outcome.reason.value,
            "message": outcome.message,
            "remedy": outcome.remedy,
            "role": outcome.role,
            "database": outcome.database,
            "identity": outcome.identity,
            "client": outcome.client_addr,
            "session_id": outcome.session_id,
            "cluster": outcome.cluster,
        }
        say(f"login_{outcome.result}", **{name: value for name, value in about.items() if value is not None})

    return tell


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first single exception of a group of groups."""
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
