"""The daemon's metrics as a Prometheus sees them that asks all the time: nothing that is kept may ever fall."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import aiohttp

from pgoauthd.telemetry.metrics import Metrics

INTERVAL_SECONDS = 0.05
PATIENCE = aiohttp.ClientTimeout(total=5)
SUFFIXES = {"counter": ("",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ()}


def kept_names() -> frozenset[str]:
    """The names of all series of kept counters and histograms."""
    return frozenset(it.name + suffix for it in Metrics().declarations if it.kept for suffix in SUFFIXES[it.kind])


class Scrapes:
    """All scrapes of one daemon over all of its lives."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._kept = kept_names()
        self._highest: dict[str, float] = {}
        self.falls: list[str] = []
        self.count = 0
        """Of scrapes that were answered."""
        self.last: dict[str, float] = {}
        """The samples of the last one, by series."""

    async def run(self) -> None:
        """Ask again and again, until cancelled."""
        async with aiohttp.ClientSession(timeout=PATIENCE) as session:
            while True:
                await self.once(session)
                await asyncio.sleep(INTERVAL_SECONDS)

    async def once(self, session: aiohttp.ClientSession) -> None:
        """Ask, and compare with all answers before; a daemon that is away gives none."""
        try:
            async with session.get(f"{self._url}/metrics") as reply:
                text = await reply.text()
        except (aiohttp.ClientError, TimeoutError):
            return
        self.count += 1
        self.last = dict(_samples(text))
        for series, value in self.last.items():
            if series.partition("{")[0] not in self._kept:
                continue
            before = self._highest.get(series, 0.0)
            # A sum of seconds is put together of parts in another order after a restart.
            if value < before - 1e-9 * before:
                self.falls.append(f"{series}: {before} -> {value} (scrape {self.count})")
            self._highest[series] = max(value, before)

    def total(self, name: str, *having: str) -> float:
        """All series of a name together, as last scraped, whose labels have these parts."""
        return sum(
            value
            for series, value in self.last.items()
            if series.partition("{")[0] == f"pgoauthd_{name}" and all(part in series for part in having)
        )


def _samples(text: str) -> Iterator[tuple[str, float]]:
    for line in text.splitlines():
        if not line.startswith("#"):
            series, _, value = line.rpartition(" ")
            yield series, float(value)
