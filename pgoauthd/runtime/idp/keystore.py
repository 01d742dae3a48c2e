"""Holds the signing keys of every issuer, one IssuerKeys each, and the connections that they are fetched with."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from structlog.typing import FilteringBoundLogger

from pgoauthd.config.values import Issuer
from pgoauthd.runtime.clock import Clock
from pgoauthd.runtime.idp.fetch import Fetcher
from pgoauthd.runtime.idp.issuerkeys import IssuerKeys
from pgoauthd.runtime.idp.keysource import KeySource
from pgoauthd.telemetry.metrics import Metrics
from pgoauthd.tokens.keys import KeySet
from pgoauthd.tokens.verdict import Refusal


class KeyStore:
    """The keys of all issuers, by the issuer's label; an asynchronous context manager that owns the connections."""

    def __init__(
        self,
        issuers: tuple[Issuer, ...],
        *,
        metrics: Metrics,
        log: FilteringBoundLogger,
        clock: Clock,
        previous: KeyStore | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`jitter` gives numbers from 0 to 1. ConfigError where an issuer's ca_file cannot be used.

        When entered, the store takes over what `previous` knows of issuers that are still asked in the same way: keys,
        their age, and failures. Until `previous` is left, it serves on; whoever still waits there then waits here.
        """
        self._fetchers = [Fetcher(issuer) for issuer in issuers]
        self._keys = {
            issuer.label: IssuerKeys(
                issuer, KeySource(issuer, fetcher, metrics), metrics=metrics, log=log, clock=clock, jitter=jitter
            )
            for issuer, fetcher in zip(issuers, self._fetchers, strict=True)
        }
        self._previous = previous
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for fetcher in self._fetchers:
            await self._open.enter_async_context(fetcher)
        for keys in self._keys.values():
            self._open.push_async_callback(keys.close)
        if self._previous is not None:
            self._take_over(self._previous)
            self._previous = None  # or every store of the past would be kept
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    def _take_over(self, previous: KeyStore) -> None:
        known = {keys.asked_how: keys for keys in previous._keys.values()}
        for keys in self._keys.values():
            if keys.wanted_ahead and (same := known.get(keys.asked_how)) is not None:
                keys.take_over(same)

    def held(self, issuer: str, kid: str | None) -> KeySet | None:
        """The keys of the issuer with this label, where they are at hand, not too old, and have the kid."""
        return self._keys[issuer].held(kid)

    async def keys_for(self, issuer: str, kid: str | None) -> KeySet | Refusal:
        """The keys of the issuer with this label, fetched where `held` has none; without the kid, where nothing has it.

        Refused with an idp_ reason where the keys cannot be had. Cancelling the caller does not cancel the fetch.
        """
        return await self._keys[issuer].keys_for(kid)

    def refresh_soon(self) -> None:
        """Have `run` fetch all keys anew, each issuer's as soon as its limit for unknown kids and its backoff allow."""
        for keys in self._keys.values():
            keys.refresh_soon()

    def hide(self) -> None:
        """Set no gauge from now on: another store shows how things stand."""
        for keys in self._keys.values():
            keys.hide()

    async def run(self) -> None:
        """Fetch all keys and keep them fresh, until the store is left."""
        for keys in self._keys.values():
            keys.tell()
        async with asyncio.TaskGroup() as tasks:
            for keys in self._keys.values():
                if keys.wanted_ahead:
                    tasks.create_task(keys.keep_fresh())
