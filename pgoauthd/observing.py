"""The observation of logins as one configuration wants it, and its hand-over to the next; never reads a line itself."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from pgoauthd.config.values import Cluster, Config, Notify, Outcomes
from pgoauthd.correlation import outcome_json
from pgoauthd.correlation.outcome import Outcome
from pgoauthd.logs.position import Position
from pgoauthd.runtime.alertposter import AlertPoster
from pgoauthd.runtime.background import stop
from pgoauthd.runtime.identfiles import IdentFiles, Loaded
from pgoauthd.runtime.observation import Observation
from pgoauthd.runtime.outcomefile import Missed, OutcomeFile
from pgoauthd.runtime.tailing.tail import LogTail
from pgoauthd.site import Site

T = TypeVar("T")


class Sinks:
    """Who is told of outcomes beside the metrics, by the table that asks for it."""

    def __init__(self, site: Site) -> None:
        self.missed: Missed | None = None
        """The outcomes of a last run that was killed, for a file that lacks them."""
        self._site = site
        self._running: dict[Notify | Outcomes, tuple[AlertPoster | OutcomeFile, asyncio.Task[None]]] = {}

    def offer(self, outcome: Outcome) -> None:
        """Have it posted and written."""
        for sink, _ in self._running.values():
            sink.offer(outcome)

    def use(self, config: Config) -> None:
        """Tell these from now on: those that were told already go on; what waits for others is written, not posted."""
        wanted: list[Notify | Outcomes] = [*config.notify]
        if config.outcomes.path is not None:
            wanted.append(config.outcomes)
        before, self._running = self._running, {}
        for table in wanted:
            self._running[table] = before.pop(table) if table in before else self._start(table, config)
        for _, task in before.values():
            task.cancel()

    def _start(self, table: Notify | Outcomes, config: Config) -> tuple[AlertPoster | OutcomeFile, asyncio.Task[None]]:
        metrics, log = self._site.metrics, self._site.log
        sink: AlertPoster | OutcomeFile
        if isinstance(table, Notify):
            sink = AlertPoster(table, metrics=metrics, log=log, generator_url=f"http://{config.web.listen}/metrics")
        else:
            path = Path(table.path or "")
            sink = OutcomeFile(
                path, outcome_json.encode, metrics=metrics, log=log, pace=self._site.pace, missed=self.missed
            )
        return sink, self._site.background.start(sink.run)


class Tails:
    """The tails of all clusters; one goes on untouched unless what it reads, or how, is configured otherwise."""

    def __init__(self, site: Site, observation: Observation, ident: IdentFiles) -> None:
        self._site = site
        self._observation = observation
        self._ident = ident
        self._clusters: dict[str, Cluster] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.running: dict[str, LogTail] = {}
        """By cluster; always this very dictionary."""
        self.left: dict[str, tuple[Position, ...]] = {}
        """How far clusters had come that are not followed (yet), in the last run, too; always this very dictionary."""

    async def use(self, clusters: tuple[Cluster, ...], *, validates: bool) -> None:
        """Follow these from now on; what was open and read of a log is handed over between two lines."""
        wanted = {cluster.name: cluster for cluster in clusters}
        maps = await asyncio.to_thread(self._ident.read_new, clusters)
        for name in [name for name, cluster in self._clusters.items() if not _reads_as(cluster, wanted.get(name))]:
            await stop(self._tasks.pop(name))
        try:
            # Nothing else runs until this is done: saves and other tails find the old or the new, never both.
            self._hand_over(wanted, maps, validates=validates)
        finally:
            for name, tail in self.running.items():
                if name not in self._tasks:
                    self._tasks[name] = self._site.background.start(tail.run)

    def _hand_over(self, wanted: Mapping[str, Cluster], maps: Mapping[str, Loaded], *, validates: bool) -> None:
        positions = self.left | {name: tail.positions() for name, tail in self.running.items()}
        tails = {
            name: self.running[name] if name in self._tasks else self._tail(cluster, positions.get(name, ()))
            for name, cluster in wanted.items()
        }
        clusters = tuple(wanted.values())
        self._ident.use(clusters, maps)
        self._observation.use(clusters, validates=validates)
        gone = self._clusters.keys() - wanted.keys()
        self._clusters = dict(wanted)
        _replace(self.running, tails)
        _replace(self.left, {name: it for name, it in positions.items() if name not in wanted})
        self._site.metrics.forget(clusters=gone)

    def _tail(self, cluster: Cluster, positions: tuple[Position, ...]) -> LogTail:
        return LogTail(
            cluster,
            positions,
            sink=self._observation,
            metrics=self._site.metrics,
            log=self._site.log,
            pace=self._site.pace,
        )


def _reads_as(one: Cluster, other: Cluster | None) -> bool:
    """Whether a tail of the one would do for the other."""
    if other is None:
        return False
    keys = ("logs", "log_line_prefix", "log_timezone", "start", "max_line_bytes")
    return all(getattr(one, key) == getattr(other, key) for key in keys)


def _replace(all_of: dict[str, T], by: Mapping[str, T]) -> None:
    all_of.clear()
    all_of.update(by)
