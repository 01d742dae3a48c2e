"""Asks identity providers about tokens (RFC 7662), each once for all who wait; remembers answers shortly, judges none.

- What a provider said about a token is held for a few seconds. A failure is never held, and nothing is held for longer
  because the provider fails.
- One request at a time per token: who asks about a token that is being asked about waits for that answer.
- At most `max_concurrent` requests at a time per issuer. QUEUE_FACTOR times as many wait for their turn, each until its
  deadline; who comes when that is full is refused at once.
- An endpoint that failed five times in a row is not asked for 1 s, then 2 s, up to 30 s; meanwhile who needs it is
  refused at once, with what went wrong. That it fails for tokens that people bring is not enough, as they choose them:
  it must fail for one of our own making, too.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

import msgspec
from structlog.typing import FilteringBoundLogger

from pgoauthd.config.values import Introspection, Issuer
from pgoauthd.runtime.clock import Clock
from pgoauthd.runtime.idp.answercache import AnswerCache
from pgoauthd.runtime.idp.breaker import Breaker
from pgoauthd.runtime.idp.clientauth import client_auth
from pgoauthd.runtime.idp.fetch import Fetcher
from pgoauthd.runtime.idp.flights import Flights, given_up
from pgoauthd.runtime.idp.introspectionclient import INTROSPECTION, Asked, IntrospectionClient, SigningKeys
from pgoauthd.runtime.idp.metadatasource import EndpointFinder, MetadataSource
from pgoauthd.runtime.tokenhash import TokenHash, keyed_hash
from pgoauthd.telemetry.log import frames_of
from pgoauthd.telemetry.metrics import CACHE_RESULTS, Metrics
from pgoauthd.tokens.bearer import BearerToken
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import Refusal

Answer = Mapping[str, Any] | Refusal
"""The members of an active answer, or why there is none: token_inactive, an idp_ reason, introspection_invalid."""

QUEUE_FACTOR = 4
"""So many times max_concurrent requests may wait for their turn."""
FAILURES_TO_OPEN = 5
"""In a row."""
ATTEMPTS = 2
"""So many times timeout_seconds may go by from asking to the answer, whatever it is spent on."""


class Introspectors:
    """One introspector for each issuer with `introspection`, by label; an asynchronous context manager."""

    def __init__(
        self,
        issuers: Sequence[Issuer],
        *,
        keys: SigningKeys,
        metrics: Metrics,
        log: FilteringBoundLogger,
        clock: Clock,
    ) -> None:
        """ConfigError where a secret, a key or a certificate cannot be used."""
        self._introspectors = {
            issuer.label: Introspector(issuer, asked, keys=keys, metrics=metrics, log=log, clock=clock)
            for issuer in issuers
            if (asked := issuer.introspection) is not None
        }
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for introspector in self._introspectors.values():
            await self._open.enter_async_context(introspector)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    def held(self, issuer: str, token: BearerToken) -> Answer | None:
        """What is remembered of an answer about this very token: members, or token_inactive; counted where it is."""
        return self._introspectors[issuer].held(token)

    async def ask(self, issuer: str, token: BearerToken) -> Answer:
        """The answer of the issuer with this label: `held`, or of a request that is under way, or of a new one.

        Cancelling the caller does not cancel the request: others may wait for it.
        """
        return await self._introspectors[issuer].ask(token)

    def hide(self) -> None:
        """Show no breaker from now on: others ask, and it is theirs that count."""
        for introspector in self._introspectors.values():
            introspector.hide()


class Introspector:
    """Asks one issuer; an asynchronous context manager that owns the connections."""

    def __init__(
        self,
        issuer: Issuer,
        introspection: Introspection,
        *,
        keys: SigningKeys,
        metrics: Metrics,
        log: FilteringBoundLogger,
        clock: Clock,
    ) -> None:
        label = issuer.label
        self._label = label
        self._log = log.bind(issuer=label)
        self._clock = clock
        self._fetcher = Fetcher(issuer)
        source = MetadataSource(issuer, self._fetcher, metrics)
        self._endpoint = EndpointFinder(issuer, introspection, source, clock)
        self._client = IntrospectionClient(
            issuer,
            introspection,
            posts=self._fetcher,
            endpoint=self._endpoint,
            auth=client_auth(issuer, introspection, log),
            keys=keys,
            metrics=metrics,
            clock=clock,
        )
        self._hash = keyed_hash()
        self._cache = AnswerCache(introspection)
        self._flights = Flights[TokenHash, Answer]()
        self._places = asyncio.Semaphore(introspection.max_concurrent)
        self._max_flights = introspection.max_concurrent * (1 + QUEUE_FACTOR)
        self._timeout_seconds = introspection.timeout_seconds
        self._patience_seconds = ATTEMPTS * self._timeout_seconds
        self._breaker = Breaker(FAILURES_TO_OPEN)
        self._breaker_open = metrics.issuer_breaker_open
        self._hidden = False
        self._results = {result: metrics.introspection_cache.labels(label, result) for result in CACHE_RESULTS}

    async def __aenter__(self) -> Self:
        await self._fetcher.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._flights.close()
        await self._endpoint.close()
        await self._fetcher.__aexit__(kind, error, trace)
        self.hide()

    def hide(self) -> None:
        """See Introspectors.hide."""
        if not self._hidden and self._breaker.is_open:
            self._show_breaker(is_open=False)
        self._hidden = True

    def held(self, token: BearerToken) -> Answer | None:
        """See Introspectors.held."""
        return self._find(self._hash(token))

    async def ask(self, token: BearerToken) -> Answer:
        """See Introspectors.ask."""
        key = self._hash(token)
        if key in self._flights:
            self._results["joined"].inc()
        elif (known := self._find(key) or self._not_now()) is not None:
            return known
        else:
            self._results["miss"].inc()
        return await self._flights.fly(key, lambda: self._fly(key, token)) or given_up("asking about the token")

    def _find(self, key: TokenHash) -> Answer | None:
        answer = self._cache.find(key, monotonic=self._clock.monotonic(), wall=self._clock.time())
        if answer is not None:
            self._results["negative_hit" if isinstance(answer, Refusal) else "hit"].inc()
        return answer

    def _not_now(self) -> Refusal | None:
        """Why no request is begun, or None."""
        if (refusal := self._breaker.refusal(self._clock.monotonic())) is not None:
            return refusal
        if len(self._flights) >= self._max_flights:
            text = f"{len(self._flights)} tokens wait for an answer of {self._label} already"
            return Refusal(Reason.IDP_QUEUE_FULL, text)
        return None

    async def _fly(self, key: TokenHash, token: BearerToken) -> Answer:
        """Wait for a turn and ask. Never raises, as nobody may be there to see it."""
        deadline = asyncio.get_running_loop().time() + self._patience_seconds
        try:
            async with asyncio.timeout_at(deadline):
                await self._places.acquire()
        except TimeoutError:
            return Refusal(Reason.IDP_TIMEOUT, f"{self._label} was busy for {self._patience_seconds:g} seconds")
        try:
            # It may have begun to fail while this one waited.
            return self._breaker.refusal(self._clock.monotonic()) or await self._ask_in_turn(key, token, deadline)
        finally:
            self._places.release()

    async def _ask_in_turn(self, key: TokenHash, token: BearerToken, deadline: float) -> Answer:
        probe, asked_at, noted = self._breaker.begin(), self._clock.monotonic(), None
        in_time = asyncio.get_running_loop().time() + self._timeout_seconds <= deadline
        try:
            asked = await self._ask_until(deadline, token)
            if in_time or _does_its_work(asked):  # else it may have failed for want of time, which tells nothing
                noted = await self._tried_again(asked, probe=probe, deadline=deadline)
        finally:
            if noted is None:
                self._breaker.give_up(probe=probe)
        if noted is not None:
            self._note(noted, probe=probe)
        self._cache.keep(key, asked.answer, size=asked.size, asked_at=asked_at)
        return asked.answer

    async def _tried_again(self, asked: Asked, *, probe: bool, deadline: float) -> Asked:
        """Before the breaker opens for a failure: whether the endpoint works for a token that nobody else chose."""
        if _does_its_work(asked) or not self._breaker.is_at_edge(probe=probe):
            return asked
        ours = await self._ask_until(deadline, BearerToken(secrets.token_urlsafe(32)))
        return msgspec.structs.replace(asked, working=_does_its_work(ours))

    async def _ask_until(self, deadline: float, token: BearerToken) -> Asked:
        try:
            async with asyncio.timeout_at(deadline):
                return await self._client.ask(token)
        except TimeoutError:
            text = f"{self._label} gave no answer about a token within {self._patience_seconds:g} seconds"
            return Asked(Refusal(Reason.IDP_TIMEOUT, text))
        except Exception as error:  # noqa: BLE001 - the boundary of a task that many may wait for
            self._log.error("introspection_failed_unforeseen", error=type(error).__name__, frames=frames_of(error))
            text = f"asking about the token failed unforeseen: {type(error).__name__}"
            return Asked(Refusal(Reason.INTERNAL_ERROR, text))

    def _note(self, asked: Asked, *, probe: bool) -> None:
        """Tell the breaker, and the operator where it opens or closes."""
        if _does_its_work(asked):
            if self._breaker.succeeded():
                self._log.info("introspection_works_again")
        elif isinstance(refusal := asked.answer, Refusal) and self._breaker.failed(
            refusal, self._clock.monotonic(), probe=probe
        ):
            self._log.warning(
                "introspection_stopped",
                reason=refusal.reason,
                message=refusal.message,
                retry_seconds=self._breaker.delay_seconds,
                remedy=refusal.reason.remedy,
            )
        self._show_breaker(is_open=self._breaker.is_open)

    def _show_breaker(self, *, is_open: bool) -> None:
        if not self._hidden:
            self._breaker_open.labels(self._label, INTROSPECTION).set(is_open)


def _does_its_work(asked: Asked) -> bool:
    return asked.working or not isinstance(asked.answer, Refusal)
