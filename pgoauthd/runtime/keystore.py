"""Holds the signing keys of every issuer, fetched in good time; never judges a token, never gives up good keys for bad.

- One flight at a time per issuer: whoever needs keys that are not there waits for the fetch that is under way.
- Keys are refreshed in the background at 80 % of their life. A refresh that fails leaves the keys that were there,
  which serve on for `keys_max_stale_seconds` past their life.
- A kid that the keys do not have causes one fetch per `unknown_kid_interval_seconds`, whoever asks.
- After a failure nobody asks the issuer again before a delay that doubles from 1 to 30 seconds; who needs it is refused
  at once meanwhile, with what went wrong.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from structlog.typing import FilteringBoundLogger

from pgoauthd.config import Issuer
from pgoauthd.runtime.clock import Clock
from pgoauthd.runtime.fetch import Fetcher
from pgoauthd.runtime.keysource import KeySource
from pgoauthd.telemetry.metrics import Metrics
from pgoauthd.tokens.keys import KeySet
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import Refusal

REFRESH_AT = 0.8
"""Of keys_ttl_seconds."""
JITTER = 0.1
"""Of keys_ttl_seconds, up to so much earlier, at random: many daemons shall not ask at the same moment."""
FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 30.0


class KeyStore:
    """The keys of all issuers, by the issuer's label; an asynchronous context manager that owns the connections."""

    def __init__(
        self,
        issuers: tuple[Issuer, ...],
        *,
        metrics: Metrics,
        log: FilteringBoundLogger,
        clock: Clock,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`jitter` gives numbers from 0 to 1. ConfigError where an issuer's ca_file cannot be used."""
        self._fetchers = [Fetcher(issuer) for issuer in issuers]
        self._keys = {
            issuer.label: IssuerKeys(
                issuer, KeySource(issuer, fetcher, metrics), metrics=metrics, log=log, clock=clock, jitter=jitter
            )
            for issuer, fetcher in zip(issuers, self._fetchers, strict=True)
        }
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for fetcher in self._fetchers:
            await self._open.enter_async_context(fetcher)
        for keys in self._keys.values():
            self._open.push_async_callback(keys.close)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    def held(self, issuer: str, kid: str | None) -> KeySet | None:
        """The keys of the issuer with this label, where they are at hand, not too old, and have the kid."""
        return self._keys[issuer].held(kid)

    async def keys_for(self, issuer: str, kid: str | None) -> KeySet | Refusal:
        """The keys of the issuer with this label, fetched where `held` has none; without the kid, where nothing has it.

        Refused with an idp_ reason where the keys cannot be had. Cancelling the caller does not cancel the fetch.
        """
        return await self._keys[issuer].keys_for(kid)

    async def run(self) -> None:
        """Fetch all keys and keep them fresh, for ever."""
        async with asyncio.TaskGroup() as tasks:
            for keys in self._keys.values():
                tasks.create_task(keys.keep_fresh())


class IssuerKeys:
    """The keys of one issuer. All times are monotonic seconds."""

    def __init__(
        self,
        issuer: Issuer,
        source: KeySource,
        *,
        metrics: Metrics,
        log: FilteringBoundLogger,
        clock: Clock,
        jitter: Callable[[], float],
    ) -> None:
        self._issuer = issuer
        self._source = source
        self._metrics = metrics
        self._log = log.bind(issuer=issuer.label)
        self._clock = clock
        self._jitter = jitter
        self._keys: KeySet | None = None
        self._usable_until = -math.inf
        self._refresh_at = -math.inf
        self._failure: Refusal | None = None
        """Of the last fetch, where it failed."""
        self._retry_at = -math.inf
        self._retry_delay = 0.0
        self._asked_for_kid = -math.inf
        self._flight: asyncio.Task[KeySet | Refusal] | None = None

    def held(self, kid: str | None) -> KeySet | None:
        """The keys, where they are usable and have the kid."""
        keys = self._keys
        if keys is None or not keys.knows(kid) or self._clock.monotonic() > self._usable_until:
            return None
        return keys

    async def keys_for(self, kid: str | None) -> KeySet | Refusal:
        """See KeyStore.keys_for."""
        if (held := self.held(kid)) is not None:
            return held
        if self._flight is None and (refused := self._not_now()) is not None:
            return refused
        return await self._join_flight()

    def _not_now(self) -> KeySet | Refusal | None:
        """What to answer without a fetch, because one was made or failed a moment ago; None where a fetch is due."""
        now = self._clock.monotonic()
        if self._failure is not None and now < self._retry_at:
            again = f"it is asked again in {math.ceil(self._retry_at - now)} s"
            return Refusal(self._failure.reason, f"{self._failure.message}; {again}")
        if self._keys is None or now > self._usable_until:
            return None
        if now - self._asked_for_kid < self._issuer.unknown_kid_interval_seconds:
            self._metrics.unknown_kid_limited.labels(self._issuer.label).inc()
            return self._failure or self._keys
        self._asked_for_kid = now
        return None

    async def keep_fresh(self) -> None:
        """Fetch the keys, and again whenever their time has come, for ever."""
        while True:
            if (seconds := self._due_in()) > 0:
                await self._clock.sleep(seconds)
            else:
                await self._join_flight()

    def _due_in(self) -> float:
        return max(self._refresh_at, self._retry_at) - self._clock.monotonic()

    async def close(self) -> None:
        """Give up a fetch that is under way."""
        if self._flight is not None:
            self._flight.cancel()
            await asyncio.wait([self._flight])

    async def _join_flight(self) -> KeySet | Refusal:
        if self._flight is None:
            self._flight = asyncio.get_running_loop().create_task(self._fly())
        return await asyncio.shield(self._flight)

    async def _fly(self) -> KeySet | Refusal:
        """Fetch once and keep the result. Never raises, as nobody may be there to see it."""
        try:
            result = await self._source.read_keys()
        except Exception as error:  # noqa: BLE001 - the boundary of a task that many may wait for
            self._log.exception("key_fetch_failed_unforeseen")
            result = Refusal(Reason.INTERNAL_ERROR, f"fetching the keys failed unforeseen: {type(error).__name__}")
        finally:
            self._flight = None
        if isinstance(result, Refusal):
            self._note_failure(result)
        else:
            self._keep(result)
        return result

    def _keep(self, keys: KeySet) -> None:
        now, life = self._clock.monotonic(), self._issuer.keys_ttl_seconds
        if self._failure is not None or self._keys is None or keys.kids != self._keys.kids:
            self._log.info("keys_fetched", keys=len(keys), skipped=keys.skipped)
        self._keys = keys
        self._usable_until = now + life + self._issuer.keys_max_stale_seconds
        self._refresh_at = now + max(FIRST_RETRY_SECONDS, life * (REFRESH_AT - JITTER * self._jitter()))
        self._failure, self._retry_at, self._retry_delay = None, -math.inf, 0.0
        self._metrics.jwks_refreshed.labels(self._issuer.label).set(self._clock.time())
        self._metrics.jwks_keys.labels(self._issuer.label).set(len(keys))

    def _note_failure(self, failure: Refusal) -> None:
        self._failure = failure
        self._retry_delay = min(max(FIRST_RETRY_SECONDS, 2 * self._retry_delay), LONGEST_RETRY_SECONDS)
        self._retry_at = self._clock.monotonic() + self._retry_delay
        self._log.warning(
            "keys_not_fetched",
            reason=failure.reason,
            message=failure.message,
            keys_held=len(self._keys) if self._keys is not None else 0,
            retry_seconds=self._retry_delay,
        )
