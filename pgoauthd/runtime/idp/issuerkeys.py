"""Holds the signing keys of one issuer, fetched in good time; never judges a token, never gives up good keys for bad.

- One flight at a time: whoever needs keys that are not there waits for the fetch that is under way.
- Keys are refreshed in the background at 80 % of their life. A refresh that fails leaves the keys that were there,
  which serve on for `keys_max_stale_seconds` past their life. One that brings the same keys leaves the very KeySet
  that was there, so that tokens verified with it need not be verified anew; any change makes a new one.
- A kid that the keys do not have causes one fetch per `unknown_kid_interval_seconds`, whoever asks.
- After a failure nobody asks the issuer again before the delay of `breaker`; who needs it is refused at once meanwhile,
  with what went wrong.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from structlog.typing import FilteringBoundLogger

from pgoauthd.config.values import Issuer
from pgoauthd.runtime.clock import Clock
from pgoauthd.runtime.idp.breaker import Breaker
from pgoauthd.runtime.idp.flights import Flights, given_up
from pgoauthd.runtime.idp.keysource import JWKS, KeySource
from pgoauthd.telemetry.log import frames_of
from pgoauthd.telemetry.metrics import Metrics
from pgoauthd.tokens import rotation
from pgoauthd.tokens.issuers import Mode
from pgoauthd.tokens.keys import KeySet
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import Refusal

REFRESH_AT = 0.8
"""Of keys_ttl_seconds."""
JITTER = 0.1
"""Of keys_ttl_seconds, up to so much earlier, at random: many daemons shall not ask at the same moment."""
SHORTEST_LIFE_SECONDS = 1.0


class IssuerKeys:
    """The keys of one issuer. All times are monotonic seconds, but for what metrics show as a timestamp."""

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
        self._fetched_at = self._stale_at = self._usable_until = -math.inf
        self._fetched_time = 0.0
        """By the wall clock, for the metric alone."""
        self._refresh_at = -math.inf
        self._breaker = Breaker(failures_to_open=1)
        """Of metadata and keys, which are fetched one after the other and fail together."""
        self._asked_for_kid = -math.inf
        self._flights = Flights[None, KeySet | Refusal]()
        self._nap: asyncio.Task[None] | None = None
        self._successor: IssuerKeys | None = None
        self._hidden = False

    @property
    def wanted_ahead(self) -> bool:
        """Whether keys are kept at hand: not where nothing is signed, and perhaps no keys are published."""
        asked = self._issuer.introspection
        return self._issuer.mode != Mode.INTROSPECT or (asked is not None and asked.signed_answers)

    @property
    def asked_how(self) -> tuple[object, ...]:
        """The settings that say whom to ask for keys and whom to believe: where they differ, nothing is taken over."""
        issuer = self._issuer
        return (
            *(issuer.issuer, issuer.metadata_url, issuer.jwks_uri, issuer.allow_loopback_http),
            *(issuer.ca_file, issuer.tls_certificate_file, issuer.tls_key_file, issuer.proxy),
        )

    def take_over(self, previous: IssuerKeys) -> None:
        """Go on from what `previous` knows, with the lifetimes of our own settings."""
        self._keys, self._asked_for_kid = previous._keys, previous._asked_for_kid
        self._fetched_at, self._fetched_time = previous._fetched_at, previous._fetched_time
        self._breaker.take_over(previous._breaker)
        previous._successor = self
        self._set_lifetimes()
        self._refresh_at = min(self._refresh_at, previous._refresh_at)  # one may have been asked for
        self.tell()

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
        if not self._flights and (refused := self._not_now()) is not None:
            return refused
        if (fetched := await self._flights.fly(None, self._fly)) is not None:
            return fetched
        return await self._successor.keys_for(kid) if self._successor is not None else given_up("fetching the keys")

    def _not_now(self) -> KeySet | Refusal | None:
        """What to answer without a fetch, because one was made or failed a moment ago; None where a fetch is due."""
        now = self._clock.monotonic()
        if (refusal := self._breaker.refusal(now)) is not None:
            return refusal
        if self._keys is None or now > self._usable_until:
            return None
        if now - self._asked_for_kid < self._issuer.unknown_kid_interval_seconds:
            self._metrics.unknown_kid_limited.labels(self._issuer.label).inc()
            return self._breaker.last_failure or self._keys
        self._asked_for_kid = now
        return None

    def refresh_soon(self) -> None:
        """Have `keep_fresh` fetch now, or when the limit for unknown kids allows the next fetch, which this then is."""
        now = self._clock.monotonic()
        due = max(now, self._asked_for_kid + self._issuer.unknown_kid_interval_seconds)
        if due < self._refresh_at:
            self._refresh_at = self._asked_for_kid = due
            if self._nap is not None:
                self._nap.cancel()

    async def keep_fresh(self) -> None:
        """Fetch the keys, and again whenever their time has come, until closed."""
        while not self._flights.closed:
            self.tell()
            now = self._clock.monotonic()
            due = max(self._refresh_at, self._breaker.open_until)
            if due <= now:
                await self._flights.fly(None, self._fly)
            else:
                await self._rest(min(due, self._next_turn(now)) - now)

    def _next_turn(self, now: float) -> float:
        """When keys become stale, or a moment after they have become too old: for the metrics to say so."""
        return min((turn for turn in (self._stale_at, self._usable_until + 1.0) if turn > now), default=math.inf)

    async def _rest(self, seconds: float) -> None:
        """Sleep, unless `refresh_soon` ends it."""
        self._nap = asyncio.get_running_loop().create_task(self._clock.sleep(seconds))
        try:
            await asyncio.wait([self._nap])
        finally:
            self._nap.cancel()
            self._nap = None

    async def close(self) -> None:
        """Give up a fetch that is under way; who waits for it is refused, or waits for the successor's."""
        await self._flights.close()

    async def _fly(self) -> KeySet | Refusal:
        """Fetch once and keep the result. Never raises, as nobody may be there to see it."""
        probe = self._breaker.begin()
        try:
            result = await self._source.read_keys()
        except Exception as error:  # noqa: BLE001 - the boundary of a task that many may wait for
            self._log.error("key_fetch_failed_unforeseen", error=type(error).__name__, frames=frames_of(error))
            result = Refusal(Reason.INTERNAL_ERROR, f"fetching the keys failed unforeseen: {type(error).__name__}")
        if isinstance(result, Refusal):
            self._note_failure(result, probe=probe)
            return result
        return self._keep(result)

    def _keep(self, fetched: KeySet) -> KeySet:
        """Note a success; the keys to use from now on, which are those held already if nothing changed."""
        held = self._keys
        if self._breaker.succeeded() or held is None:
            self._log.info("keys_fetched", keys=len(fetched), skipped=fetched.skipped)
        if held is not None:
            self._note_changes(rotation.compare(held, fetched))
        self._keys = keys = held if held is not None and fetched.says_the_same(held) else fetched
        self._fetched_at, self._fetched_time = self._clock.monotonic(), self._clock.time()
        self._set_lifetimes()
        self.tell()
        return keys

    def _note_changes(self, changes: rotation.KeyChanges) -> None:
        counter, label = self._metrics.jwks_changes, self._issuer.label
        counter.labels(label, "added").inc(len(changes.added))
        counter.labels(label, "removed").inc(len(changes.removed))
        if changes.added or changes.removed:
            self._log.info("keys_changed", added=rotation.shown(changes.added), removed=rotation.shown(changes.removed))
        if changes.replaced:
            remedy = "ask the issuer's operators: a rotation gives a new key a new kid"
            self._log.warning("key_replaced", kids=rotation.shown(changes.replaced), remedy=remedy)

    def _set_lifetimes(self) -> None:
        life = self._issuer.keys_ttl_seconds
        self._stale_at = self._fetched_at + life
        self._usable_until = self._stale_at + self._issuer.keys_max_stale_seconds
        earlier = JITTER * self._jitter()
        self._refresh_at = self._fetched_at + max(SHORTEST_LIFE_SECONDS, life * (REFRESH_AT - earlier))

    def _note_failure(self, failure: Refusal, *, probe: bool) -> None:
        self._breaker.failed(failure, self._clock.monotonic(), probe=probe)
        self._log.warning(
            "keys_not_fetched",
            reason=failure.reason,
            message=failure.message,
            keys_held=len(self._keys) if self._keys is not None else 0,
            retry_seconds=self._breaker.delay_seconds,
            remedy=failure.reason.remedy,
        )
        self.tell()

    def hide(self) -> None:
        """Set no gauge from now on: another store shows how things stand with the issuer."""
        self._hidden = True

    def tell(self) -> None:
        """Set the gauges to what is so now."""
        if self._hidden:
            return
        now, label, metrics = self._clock.monotonic(), self._issuer.label, self._metrics
        usable = self._keys if now <= self._usable_until else None
        metrics.jwks_keys.labels(label).set(len(usable) if usable is not None else 0)
        metrics.jwks_stale.labels(label).set(usable is not None and now >= self._stale_at)
        metrics.issuer_breaker_open.labels(label, JWKS).set(self._breaker.is_open)
        if self._keys is not None:
            metrics.jwks_refreshed.labels(label).set(self._fetched_time)
