"""The composition root: builds every part from the configuration, runs them together, stops them in order.

What a reload builds anew is in `validating` and `observing`. Nothing else builds collaborators, and nothing is decided.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing
from functools import partial
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from pgoauthd import __version__
from pgoauthd.config.values import Config
from pgoauthd.correlation.outcome import Outcome, Result
from pgoauthd.errors import PgoauthdError
from pgoauthd.generation import InUse
from pgoauthd.observing import Sinks, Tails
from pgoauthd.reloader import Reloader
from pgoauthd.runtime.background import Background, stop
from pgoauthd.runtime.clock import Clock, SystemClock
from pgoauthd.runtime.hardening import forbid_core_dumps
from pgoauthd.runtime.house import House
from pgoauthd.runtime.identfiles import IdentFiles
from pgoauthd.runtime.observation import Observation, Publish
from pgoauthd.runtime.pace import Pace
from pgoauthd.runtime.systemd import Notifier, watchdog_seconds
from pgoauthd.runtime.web import Web
from pgoauthd.site import Site
from pgoauthd.telemetry.log import configure
from pgoauthd.telemetry.metrics import Metrics
from pgoauthd.validating import Validating


def serve(config: Config, path: Path) -> None:
    """Run the daemon until SIGTERM or SIGINT; what keeps it from starting goes up as PgoauthdError or OSError.

    `path` is the file that `config` was read from: it is read again on SIGHUP, and when it has changed.
    """
    log = configure(config.log.level, config.log.format, sys.stderr)
    if (complaint := forbid_core_dumps()) is not None:
        log.warning("limit_not_set", problem=complaint)
    try:
        asyncio.run(_until_told(config, path, log))
    except BaseExceptionGroup as group:
        expected, unforeseen = group.split((PgoauthdError, OSError))
        if expected is None or unforeseen is not None:
            raise
        raise _first(expected) from None


async def _until_told(config: Config, path: Path, log: FilteringBoundLogger) -> None:
    stop, hangup = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hangup.set)
    async with running(config, log=log, path=path, hangup=hangup):
        # What is there now stays: looking through it again and again would hold up logins for tens of milliseconds.
        gc.collect()
        gc.freeze()
        await stop.wait()
        log.info("stopping")


@asynccontextmanager
async def running(
    config: Config,
    *,
    log: FilteringBoundLogger,
    clock: Clock | None = None,
    publish: Sequence[Publish] = (),
    path: Path | None = None,
    hangup: asyncio.Event | None = None,
) -> AsyncIterator[Metrics]:
    """A daemon that runs inside the `async with`; `publish` gets every outcome besides the configured sinks.

    When the block is entered, socket, metrics and logs are served. When it is left, requests that run are finished,
    the state is saved and everything is closed. Where the configuration comes from `path`, it is reloaded when that
    changes, or when `hangup` is set.
    """
    clock = clock or SystemClock()
    site = Site(Metrics(), log, clock, Background(log, clock), Pace(clock))
    reloader = Reloader(path, config, site) if path is not None else None
    async with AsyncExitStack() as stack:
        stores = stack.enter_context(ExitStack())
        sinks, ident = Sinks(site), IdentFiles((), metrics=site.metrics, log=log, clock=clock)

        def decided(outcome: Outcome) -> None:
            site.metrics.count_outcome(outcome)
            house.offer(outcome)

        observation = Observation(publish=[decided], metrics=site.metrics, clock=clock, ident=ident, log=log)
        tails = Tails(site, observation, ident)
        tell = _to_all(sinks.offer, *publish, _log_outcomes(log))
        house = House(
            observation, tails.running, tell=tell, metrics=site.metrics, log=log, pace=site.pace, left=tails.left
        )
        validating = Validating(site, house.on_verdict)
        in_use = InUse(
            site, validating=validating, observation=observation, tails=tails, sinks=sinks, house=house, stores=stores
        )
        in_use.begin(config)
        notifier = stack.enter_context(closing(Notifier(os.environ)))
        web = Web(config.web, site.metrics)
        await web.start()
        stack.push_async_callback(web.stop)
        stack.callback(house.leave)
        background = await stack.enter_async_context(site.background)
        stack.push_async_callback(house.end)
        stack.push_async_callback(validating.close)
        await in_use.use(config)
        site.metrics.reloaded.set(clock.time())
        background.start(ident.run)
        background.start(partial(house.keep, clock, notifier, watchdog_seconds(os.environ)))
        notifier.ready(in_use.status)
        socket = config.callout.socket if config.issuers else "none: no issuers are configured"
        log.info("started", version=__version__, socket=socket, metrics=config.web.listen)
        if reloader is not None:
            # They end first: nothing new is built while what there is is closed.
            for reload in (partial(reloader.obey, hangup or asyncio.Event()), reloader.watch):
                stack.push_async_callback(stop, background.start(partial(reload, in_use, notifier)))
        yield site.metrics
        notifier.stopping()


def _to_all(*publish: Publish) -> Publish:
    def tell(outcome: Outcome) -> None:
        for one in publish:
            one(outcome)

    return tell


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
