"""The configuration in use with what is built from it, and the step from one to the next; decides nothing.

Whatever can fail of the next is built before anything of the one in use is touched, so it is used whole or not at all.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import ExitStack
from pathlib import Path

from pgoauthd.config.values import Config, History, State
from pgoauthd.observing import Sinks, Tails
from pgoauthd.probing.periodic import Probes
from pgoauthd.runtime.hardening import allow_open_files
from pgoauthd.runtime.house import House
from pgoauthd.runtime.observation import Observation
from pgoauthd.runtime.outcomefile import OUTCOME_FILE
from pgoauthd.runtime.retention import Retention
from pgoauthd.runtime.store import Store
from pgoauthd.site import Site
from pgoauthd.validating import Generation, Validating

SPARE_OPEN_FILES = 512
"""For everything but connections on the validation socket."""


class InUse:
    """What of the daemon a configuration decides."""

    def __init__(
        self,
        site: Site,
        *,
        validating: Validating,
        observation: Observation,
        tails: Tails,
        sinks: Sinks,
        house: House,
        stores: ExitStack,
    ) -> None:
        """`stores` closes the state that the first cluster needs."""
        self.config = Config()
        self._site = site
        self._validating = validating
        self._observation = observation
        self._tails = tails
        self._sinks = sinks
        self._house = house
        self._stores = stores
        self._probes = Probes(site)

    async def use(self, config: Config, *, files_changed: bool = False) -> None:
        """Use this configuration from now on; PgoauthdError or OSError where that cannot be, and nothing is changed.

        `files_changed`: what is in files that it names is not what it was.
        """
        with ExitStack() as opened:
            store = self._open_store(config, opened)
            probes = await asyncio.to_thread(self._probes.build, config, files_changed=files_changed)
            validation = await self._build_validation(config, files_changed=files_changed)
            self._stores.push(opened.pop_all())
        if store is not None:
            self._take_up(store)
        self._house.retain(_retention(config.history))
        self._declare(config)
        self._sinks.use(config)
        if (complaint := allow_open_files(config.callout.max_connections + SPARE_OPEN_FILES)) is not None:
            self._site.log.warning("limit_not_set", problem=complaint)
        if config.clusters != self.config.clusters or bool(config.issuers) != bool(self.config.issuers):
            await self._tails.use(config.clusters, validates=bool(config.issuers))
        # Last: the first verdict needs somebody who waits for its log lines.
        if validation is not None:
            await self._validating.use(validation)
        await self._probes.use(config, probes)
        self.config = config

    def begin(self, config: Config) -> None:
        """Open the state before anything else, as a second daemon must stop before it touches anything; StateError."""
        with ExitStack() as opened:
            if (store := self._open_store(config, opened)) is not None:
                self._take_up(store)
            self._stores.push(opened.pop_all())

    @property
    def status(self) -> str:
        """For the service manager."""
        return f"{len(self.config.issuers)} issuers, {len(self.config.clusters)} clusters"

    def refresh_keys(self) -> None:
        """Have the keys of all issuers fetched soon."""
        self._validating.refresh_keys()

    async def _build_validation(self, config: Config, *, files_changed: bool) -> Generation | None:
        """None where the one that serves is the right one, or none is wanted."""
        wanted = bool(config.issuers) or self._validating.serves
        same = (config.issuers, config.callout) == (self.config.issuers, self.config.callout)
        return await self._validating.build(config) if wanted and (files_changed or not same) else None

    def _open_store(self, config: Config, opened: ExitStack) -> Store | None:
        """The state file, where it is needed and not open yet."""
        if not config.clusters or self._house.store is not None:
            return None
        return opened.enter_context(Store(Path(config.state.path), _verdicts_path(config.state), pace=self._site.pace))

    def _take_up(self, store: Store) -> None:
        """Go on from what the last run has left."""
        saved, log = store.saved, self._site.log
        if store.kept_aside is not None:
            remedy = "the daemon goes on with an empty state; keep the file, or delete it"
            self._site.metrics.state_kept_aside.set(1)
            log.error("state_kept_aside", path=str(store.kept_aside), problem=store.why_kept_aside, remedy=remedy)
        if saved.verdicts_lost:
            log.warning(
                "verdicts_lost", remedy="none: as after a power failure, logins of its last seconds lack claims"
            )
        self._site.metrics.restore(saved.counters)
        self._observation.restore(saved)
        self._tails.left.update({name: state.positions for name, state in saved.clusters.items()})
        self._house.use(store)
        store.forget_saved()
        self._sinks.missed = None if saved.clean else store.outcomes_before

    def _declare(self, config: Config) -> None:
        """Start the series of new names at 0."""
        clusters, issuers, sinks = ([*names] for names in map(set.difference, _names(config), _names(self.config)))
        self._site.metrics.declare(clusters=clusters, issuers=issuers, sinks=sinks)


def _verdicts_path(state: State) -> Path:
    """As configured; else in the directory in memory that the service manager made for us; else beside the state."""
    if state.verdicts_path is not None:
        return Path(state.verdicts_path)
    runtime = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    return Path(runtime) / "verdicts" if runtime else Path(f"{state.path}-verdicts")


def _retention(history: History) -> Retention:
    return Retention(seconds=history.keep_days * 86_400, max_bytes=history.max_megabytes * 1_000_000)


def _names(config: Config) -> tuple[set[str], set[str], set[str]]:
    """Of clusters, issuers and sinks, as they are labels of metrics."""
    sinks = {notify.name for notify in config.notify} | ({OUTCOME_FILE} if config.outcomes.path else set())
    return {cluster.name for cluster in config.clusters}, {issuer.label for issuer in config.issuers}, sinks
