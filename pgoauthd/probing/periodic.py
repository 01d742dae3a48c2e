"""The probes of the daemon's configuration, each again and again, one run of it at a time; never judges a token.

At most MAX_AT_ONCE run beside each other. Each step has a deadline, so a run ends, and a probe that takes longer
than its interval begins late instead of twice.
"""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from random import SystemRandom

import msgspec

from pgoauthd.config.values import Config, Probe
from pgoauthd.probing.configured import configured
from pgoauthd.probing.prober import Prober
from pgoauthd.probing.steps import Probed, Step
from pgoauthd.runtime.background import stop
from pgoauthd.site import Site

MAX_AT_ONCE = 4
FIRST_WITHIN_SECONDS = 5.0
"""The first run, so that not all begin with the daemon."""
JITTER = 0.1
"""Of the interval, earlier or later: probes of many daemons must not keep step."""

_random = SystemRandom()


class _Ready(msgspec.Struct, frozen=True):
    """One probe, its files read."""

    table: Probe
    prober: Prober


class Probes:
    """The probes of one daemon; one goes on untouched unless its table or a file that it names has changed."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._at_once = asyncio.Semaphore(MAX_AT_ONCE)
        self._running: dict[Probe, asyncio.Task[None]] = {}

    def build(self, config: Config, *, files_changed: bool) -> tuple[_Ready, ...]:
        """Those of a configuration that do not run yet, ready to; ConfigError, and nothing is changed."""
        return tuple(
            _Ready(table, Prober(configured(table, self._site.log), self._site.clock, Path(config.state.path)))
            for table in config.probes
            if files_changed or table not in self._running
        )

    async def use(self, config: Config, built: tuple[_Ready, ...]) -> None:
        """Run those of this configuration from now on, and no others."""
        renewed = {ready.table for ready in built}
        gone = [table for table in self._running if table in renewed or table not in config.probes]
        for table in gone:
            await stop(self._running.pop(table))
        labels = {(table.name, table.server) for table in config.probes}
        self._site.metrics.forget_probes({(table.name, table.server) for table in gone} - labels)
        self._site.metrics.declare_probes(labels)
        for ready in built:
            self._running[ready.table] = self._site.background.start(partial(self._run, ready))

    async def _run(self, ready: _Ready) -> None:
        clock, table = self._site.clock, ready.table
        failing: object = None
        await clock.sleep(_random.uniform(0, min(FIRST_WITHIN_SECONDS, table.interval_seconds)))
        while True:
            begun = clock.monotonic()
            async with self._at_once:
                probed = await ready.prober.probe()
            self._count(table, probed)
            failing = self._tell(table, probed, failing)
            pause = table.interval_seconds * _random.uniform(1 - JITTER, 1 + JITTER)
            await clock.sleep(max(0.0, pause - (clock.monotonic() - begun)))

    def _count(self, table: Probe, probed: Probed) -> None:
        self._site.metrics.count_probe(
            (table.name, table.server),
            failed_step=probed.failed,
            seconds={one.step: one.seconds for one in probed.steps},
            now=self._site.clock.time(),
        )

    def _tell(self, table: Probe, probed: Probed, before: object) -> object:
        """Say it where it is something new; what is failing, or None."""
        failure = probed.failure
        if failure is None:
            if before is not None:
                self._site.log.info("probe_succeeds_again", probe=table.name, server=table.server)
            return None
        now: tuple[Step | None, str] = probed.failed, failure.message
        if now != before:
            outcome = probed.outcome or {}
            about = {
                "probe": table.name,
                "server": table.server,
                "step": probed.failed,
                "problem": failure.message,
                "reason": outcome.get("reason"),
                "message": outcome.get("message"),
                "remedy": outcome.get("remedy") or failure.remedy,
                "hints": probed.hints or None,
            }
            self._site.log.error("probe_failed", **{name: it for name, it in about.items() if it is not None})
        return now
