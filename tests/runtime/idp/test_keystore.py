from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from pgoauthd.config.values import Introspection, Issuer
from pgoauthd.runtime.idp.keysource import KeySource
from pgoauthd.runtime.idp.keystore import KeyStore
from pgoauthd.telemetry.metrics import Metrics
from pgoauthd.tokens.issuers import Mode
from pgoauthd.tokens.keys import KeySet
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import Refusal
from tests.fix_clock import SteppedClock
from tests.fix_issuer import (
    JWKS,
    OPENID,
    REALM,
    Answer,
    LocalIssuer,
    endless,
    resets,
    running_issuer,
    says,
)
from tests.fix_log import logging_to
from tests.fix_tokens import signing_key

NAME = "id"
TTL = 3600.0
STALE = 86_400.0
KID = "rsa-1"


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def metrics() -> Metrics:
    made = Metrics()
    made.declare(clusters=(), issuers=(NAME,), sinks=())
    return made


@pytest.fixture
def said() -> io.StringIO:
    """What the log says."""
    return io.StringIO()


Open = Callable[..., contextlib.AbstractAsyncContextManager[KeyStore]]


@pytest.fixture
def opened(provider: LocalIssuer, clock: SteppedClock, metrics: Metrics, said: io.StringIO) -> Open:
    """Opens a store for the provider, with changes to its settings."""

    @contextlib.asynccontextmanager
    async def open_store(
        *,
        jitter: float = 0.0,
        previous: KeyStore | None = None,
        **changes: Any,  # noqa: ANN401 - any field
    ) -> AsyncIterator[KeyStore]:
        with logging_to(said) as log:
            store = KeyStore(
                (settings(provider, **changes),),
                metrics=metrics,
                log=log,
                clock=clock,
                previous=previous,
                jitter=lambda: jitter,
            )
            async with store:
                yield store

    return open_store


def settings(provider: LocalIssuer, **changes: Any) -> Issuer:  # noqa: ANN401 - any field
    known: dict[str, Any] = {"issuer": provider.issuer, "name": NAME, "allow_loopback_http": True}
    return Issuer(audiences=("a",), **(known | changes))


@contextlib.asynccontextmanager
async def kept_fresh(store: KeyStore) -> AsyncIterator[None]:
    task = asyncio.create_task(store.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def keys_of(store: KeyStore, kid: str | None = KID) -> KeySet:
    keys = await store.keys_for(NAME, kid)
    assert isinstance(keys, KeySet), keys
    return keys


async def refusal_of(store: KeyStore, kid: str | None = KID) -> Refusal:
    refusal = await store.keys_for(NAME, kid)
    assert isinstance(refusal, Refusal)
    return refusal


def fetches(metrics: Metrics, endpoint: str, outcome: str) -> float:
    labels = {"issuer": NAME, "endpoint": endpoint, "outcome": outcome}
    return metrics.registry.get_sample_value("pgoauthd_issuer_fetches_total", labels) or 0.0


def limited(metrics: Metrics) -> float:
    return metrics.registry.get_sample_value("pgoauthd_jwks_unknown_kid_limited_total", {"issuer": NAME}) or 0.0


def changes(metrics: Metrics, change: str) -> float:
    return metrics.registry.get_sample_value("pgoauthd_jwks_changes_total", {"issuer": NAME, "change": change}) or 0.0


def gauge(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"pgoauthd_{name}", {"issuer": NAME, **labels})


def told(said: io.StringIO, event: str) -> list[dict[str, Any]]:
    """The lines of the log with this event."""
    return [line for line in map(json.loads, said.getvalue().splitlines()) if line["event"] == event]


# the first fetch


async def test_nothing_is_held_before_the_first_fetch(opened: Open) -> None:
    async with opened() as store:
        assert store.held(NAME, KID) is None
        assert store.held(NAME, None) is None


async def test_fetched_keys_are_held_without_waiting(opened: Open, provider: LocalIssuer) -> None:
    async with opened() as store:
        keys = await keys_of(store)
        assert store.held(NAME, KID) is keys
        assert store.held(NAME, None) is keys
        assert await keys_of(store) is keys
    assert provider.asked[JWKS] == 1


async def test_a_hundred_cold_callers_cause_one_fetch_and_get_its_keys(opened: Open, provider: LocalIssuer) -> None:
    provider.hold()
    async with opened() as store:
        callers = [asyncio.create_task(keys_of(store)) for _ in range(100)]
        await provider.wait_asked(OPENID, 1)
        assert not any(caller.done() for caller in callers)
        provider.release()
        keys = await asyncio.gather(*callers)
    assert len(set(map(id, keys))) == 1
    assert provider.asked == {OPENID: 1, JWKS: 1}


async def test_a_hundred_cold_callers_share_one_failure(opened: Open, provider: LocalIssuer) -> None:
    provider.hold()
    provider.script[JWKS] = says(503)
    async with opened() as store:
        callers = [asyncio.create_task(refusal_of(store)) for _ in range(100)]
        await provider.wait_asked(OPENID, 1)
        provider.release()
        assert {refusal.reason for refusal in await asyncio.gather(*callers)} == {Reason.IDP_ERROR}
    assert provider.asked[JWKS] == 1


@pytest.mark.parametrize("quitter", [0, 1])
async def test_a_caller_that_gives_up_takes_nobody_with_it(opened: Open, provider: LocalIssuer, quitter: int) -> None:
    provider.hold()
    async with opened() as store:
        callers = [asyncio.create_task(keys_of(store)) for _ in range(3)]
        await provider.wait_asked(OPENID, 1)
        callers[quitter].cancel()
        with pytest.raises(asyncio.CancelledError):
            await callers[quitter]
        provider.release()
        for caller in callers[:quitter] + callers[quitter + 1 :]:
            assert (await caller).kids == (KID,)
    assert provider.asked[JWKS] == 1


async def test_a_fetch_that_everybody_gave_up_on_still_brings_the_keys(opened: Open, provider: LocalIssuer) -> None:
    provider.hold()
    async with opened() as store:
        caller = asyncio.create_task(keys_of(store))
        await provider.wait_asked(OPENID, 1)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        follower = asyncio.create_task(keys_of(store))
        provider.release()
        await follower
    assert provider.asked == {OPENID: 1, JWKS: 1}


async def test_closing_the_store_ends_a_fetch_that_hangs_and_refuses_who_waits(
    opened: Open, provider: LocalIssuer
) -> None:
    provider.hold()
    async with opened() as store:
        caller = asyncio.create_task(refusal_of(store))
        await provider.wait_asked(OPENID, 1)
    assert (await caller).reason is Reason.IDP_UNREACHABLE


async def test_who_gives_up_while_the_store_closes_has_given_up(opened: Open, provider: LocalIssuer) -> None:
    provider.hold()
    async with opened() as store:
        caller = asyncio.create_task(refusal_of(store))
        await provider.wait_asked(OPENID, 1)
        caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller


async def test_a_closed_store_asks_nobody(opened: Open, provider: LocalIssuer) -> None:
    async with opened() as store:
        pass
    assert (await refusal_of(store)).reason is Reason.IDP_UNREACHABLE
    await store.run()
    assert provider.asked == {}


# after a failure


async def test_a_cold_issuer_that_failed_is_refused_at_once_for_a_moment(
    opened: Open, provider: LocalIssuer, clock: SteppedClock
) -> None:
    provider.script[JWKS] = says(503)
    async with opened() as store:
        first = await refusal_of(store)
        clock.advance(0.9)
        again = await refusal_of(store)
        assert again.reason is first.reason
        assert again.message == f"{first.message}; it is asked again in 1 s"
        assert provider.asked[JWKS] == 1
        del provider.script[JWKS]
        clock.advance(0.1)
        await keys_of(store)
    assert provider.asked[JWKS] == 2


async def test_the_delay_after_failures_doubles_up_to_half_a_minute(
    opened: Open, provider: LocalIssuer, clock: SteppedClock
) -> None:
    provider.script[JWKS] = says(503)
    delays = []
    async with opened() as store, kept_fresh(store):
        for _ in range(8):
            delays.append(await clock.asleep())
            clock.advance(delays[-1])
    assert delays == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


async def test_a_success_forgets_earlier_failures(opened: Open, provider: LocalIssuer, clock: SteppedClock) -> None:
    provider.script[JWKS] = says(503)
    async with opened() as store, kept_fresh(store):
        clock.advance(await clock.asleep())
        assert await clock.asleep() == 2.0
        provider.script = {}
        clock.advance(2.0)
        refresh = await clock.asleep()
        provider.script[JWKS] = says(503)
        clock.advance(refresh)
        assert await clock.asleep() == 1.0


# unknown kids


async def test_a_new_key_is_found_when_a_token_names_it(opened: Open, provider: LocalIssuer) -> None:
    async with opened() as store:
        await keys_of(store)
        provider.rotate(KID, "rsa-2")
        assert store.held(NAME, "rsa-2") is None
        assert (await keys_of(store, "rsa-2")).kids == (KID, "rsa-2")
    assert provider.asked[JWKS] == 2


async def test_a_kid_that_nobody_has_gets_the_keys_as_they_are(opened: Open, provider: LocalIssuer) -> None:
    async with opened() as store:
        assert (await keys_of(store, "forged")).kids == (KID,)
        assert provider.asked[JWKS] == 1
        assert (await keys_of(store, "forged")).kids == (KID,)
        assert provider.asked[JWKS] == 2


async def test_unknown_kids_share_one_fetch_an_interval(
    opened: Open, provider: LocalIssuer, clock: SteppedClock, metrics: Metrics
) -> None:
    async with opened(unknown_kid_interval_seconds=30.0) as store:
        await keys_of(store)
        for number in range(20):
            await keys_of(store, f"forged-{number}")
        assert (provider.asked[JWKS], limited(metrics)) == (2, 19)
        clock.advance(29.0)
        await keys_of(store, "forged")
        assert provider.asked[JWKS] == 2
        clock.advance(1.0)
        await keys_of(store, "forged")
    assert (provider.asked[JWKS], limited(metrics)) == (3, 20)


async def test_fifty_callers_with_an_unknown_kid_cause_one_fetch(opened: Open, provider: LocalIssuer) -> None:
    async with opened() as store:
        await keys_of(store)
        provider.rotate("rsa-2")
        provider.hold()
        callers = [asyncio.create_task(keys_of(store, "rsa-2")) for _ in range(50)]
        await provider.wait_asked(OPENID, 2)
        provider.release()
        assert {keys.kids for keys in await asyncio.gather(*callers)} == {("rsa-2",)}
    assert provider.asked[JWKS] == 2


async def test_known_kids_are_served_while_an_unknown_one_waits(opened: Open, provider: LocalIssuer) -> None:
    async with opened() as store:
        keys = await keys_of(store)
        provider.hold()
        waiting = asyncio.create_task(keys_of(store, "rsa-2"))
        await provider.wait_asked(OPENID, 2)
        assert store.held(NAME, KID) is keys
        provider.release()
        await waiting


async def test_an_unknown_kid_in_an_outage_is_refused_with_the_outage(
    opened: Open, provider: LocalIssuer, clock: SteppedClock
) -> None:
    async with opened() as store:
        keys = await keys_of(store)
        provider.script[OPENID] = resets
        assert (await refusal_of(store, "rsa-2")).reason is Reason.IDP_UNREACHABLE
        assert store.held(NAME, KID) is keys
        asked = provider.asked[OPENID]
        clock.advance(5.0)
        assert (await refusal_of(store, "rsa-3")).reason is Reason.IDP_UNREACHABLE
    assert provider.asked[OPENID] == asked


async def test_a_key_that_was_retired_is_no_longer_held_after_the_fetch(opened: Open, provider: LocalIssuer) -> None:
    async with opened() as store:
        await keys_of(store)
        provider.rotate("rsa-2")
        await keys_of(store, "rsa-2")
        assert store.held(NAME, KID) is None


# time


@pytest.mark.parametrize(("jitter", "seconds"), [(0.0, 2880.0), (0.5, 2700.0), (1.0, 2520.0)])
async def test_keys_are_refreshed_in_the_background_at_four_fifths_of_their_life(
    opened: Open, provider: LocalIssuer, clock: SteppedClock, jitter: float, seconds: float
) -> None:
    async with opened(jitter=jitter, keys_ttl_seconds=TTL) as store, kept_fresh(store):
        due = await clock.asleep()
        assert due == pytest.approx(seconds)
        assert provider.asked[JWKS] == 1
        provider.rotate("rsa-2")
        clock.advance(due)
        await provider.wait_asked(JWKS, 2)
        await clock.asleep()
        assert store.held(NAME, "rsa-2") is not None


async def test_nobody_waits_for_a_background_refresh(opened: Open, provider: LocalIssuer, clock: SteppedClock) -> None:
    async with opened() as store, kept_fresh(store):
        seconds = await clock.asleep()
        keys = store.held(NAME, KID)
        provider.hold()
        clock.advance(seconds)
        await provider.wait_asked(OPENID, 2)
        assert store.held(NAME, KID) is keys is not None
        provider.release()
        await clock.asleep()


async def test_a_jwks_uri_that_moved_is_followed_at_the_next_refresh(
    opened: Open, provider: LocalIssuer, clock: SteppedClock
) -> None:
    async with opened() as store, kept_fresh(store):
        seconds = await clock.asleep()
        provider.metadata["jwks_uri"] = f"{provider.issuer}/new-keys"
        provider.script["/realms/database/new-keys"] = says(200, json.dumps(provider.keys).encode())
        clock.advance(seconds)
        await provider.wait_asked("/realms/database/new-keys", 1)
    assert provider.asked[JWKS] == 1


@pytest.mark.parametrize("answer", [resets, says(500), says(200, b'{"keys": []}'), says(200, b"garbage"), endless()])
async def test_a_failed_refresh_leaves_the_keys_that_were_there(
    opened: Open, provider: LocalIssuer, clock: SteppedClock, answer: Answer
) -> None:
    async with opened() as store, kept_fresh(store):
        seconds = await clock.asleep()
        keys = store.held(NAME, KID)
        provider.script[JWKS] = answer
        clock.advance(seconds)
        await provider.wait_asked(JWKS, 2)
        assert await clock.asleep() == 1.0
        assert store.held(NAME, KID) is keys is not None


async def test_stale_keys_serve_until_their_limit_and_not_longer(
    opened: Open, provider: LocalIssuer, clock: SteppedClock
) -> None:
    async with opened(keys_ttl_seconds=TTL, keys_max_stale_seconds=STALE) as store:
        keys = await keys_of(store)
        provider.script[OPENID] = resets
        clock.advance(TTL + STALE)
        assert await keys_of(store) is keys
        clock.advance(0.001)
        assert store.held(NAME, KID) is None
        assert (await refusal_of(store)).reason is Reason.IDP_UNREACHABLE


async def test_keys_that_are_too_old_are_fetched_anew(opened: Open, provider: LocalIssuer, clock: SteppedClock) -> None:
    async with opened(keys_ttl_seconds=TTL, keys_max_stale_seconds=0.0) as store:
        old = await keys_of(store)
        clock.advance(TTL + 1.0)
        assert store.held(NAME, KID) is None
        assert await keys_of(store) is old
        assert store.held(NAME, KID) is old
    assert provider.asked[JWKS] == 2


@pytest.mark.parametrize("seconds", [-1e9, 1e9])
async def test_a_jump_of_the_wall_clock_changes_nothing(opened: Open, clock: SteppedClock, seconds: float) -> None:
    async with opened() as store:
        keys = await keys_of(store)
        clock.jump(seconds)
        assert store.held(NAME, KID) is keys


# what a fetch changed


async def test_a_refresh_that_brings_the_same_keys_leaves_the_very_set_that_was_there(
    opened: Open, provider: LocalIssuer, clock: SteppedClock, said: io.StringIO
) -> None:
    provider.rotate("rsa-1", "rsa-2")
    async with opened() as store, kept_fresh(store):
        seconds = await clock.asleep()
        keys = store.held(NAME, KID)
        provider.rotate("rsa-2", "rsa-1")
        clock.advance(seconds)
        await provider.wait_asked(JWKS, 2)
        assert await clock.asleep() > 1.0
        assert store.held(NAME, KID) is keys is not None
    assert told(said, "keys_changed") == []


@pytest.mark.parametrize("then", [("rsa-1", "rsa-2"), ("rsa-2",)], ids=["one more", "another"])
async def test_a_fetch_that_changes_anything_makes_a_new_set(
    opened: Open, provider: LocalIssuer, then: tuple[str, ...]
) -> None:
    async with opened() as store:
        old = await keys_of(store)
        provider.rotate(*then)
        assert await keys_of(store, "rsa-2") is not old
        assert store.held(NAME, None) is not old


async def test_keys_that_come_and_go_are_counted_and_told_in_one_line(
    opened: Open, provider: LocalIssuer, metrics: Metrics, said: io.StringIO
) -> None:
    provider.rotate("rsa-1", "rsa-2")
    async with opened() as store:
        await keys_of(store)
        assert (changes(metrics, "added"), changes(metrics, "removed")) == (0, 0)
        provider.rotate("rsa-2", "rsa-3")
        await keys_of(store, "rsa-3")
    assert (changes(metrics, "added"), changes(metrics, "removed")) == (1, 1)
    (line,) = told(said, "keys_changed")
    assert (line["level"], line["issuer"], line["added"], line["removed"]) == ("info", NAME, ["rsa-3"], ["rsa-1"])
    assert told(said, "key_replaced") == []


async def test_another_key_under_the_same_kid_is_a_warning(
    opened: Open, provider: LocalIssuer, metrics: Metrics, said: io.StringIO
) -> None:
    async with opened() as store:
        old = await keys_of(store)
        provider.keys = {"keys": [signing_key("impostor").jwk(kid=KID)]}
        assert await keys_of(store, "anything") is not old
    assert (changes(metrics, "added"), changes(metrics, "removed")) == (1, 1)
    (line,) = told(said, "key_replaced")
    assert (line["level"], line["issuer"], line["kids"]) == ("warning", NAME, [KID])
    assert len(told(said, "keys_changed")) == 1


async def test_of_many_changed_keys_ten_are_named(opened: Open, provider: LocalIssuer, said: io.StringIO) -> None:
    async with opened() as store:
        await keys_of(store)
        jwk = signing_key("ec", "ES256").jwk
        provider.keys = {"keys": [jwk(kid=f"kid-{number:02}") for number in range(50)]}
        await keys_of(store, "kid-07")
    (line,) = told(said, "keys_changed")
    assert line["added"] == [*(f"kid-{number:02}" for number in range(10)), "and 40 more"]


async def test_a_failed_fetch_is_no_change(
    opened: Open, provider: LocalIssuer, metrics: Metrics, said: io.StringIO
) -> None:
    async with opened() as store:
        await keys_of(store)
        provider.script[JWKS] = says(200, b'{"keys": []}')
        await refusal_of(store, "rsa-2")
    assert (changes(metrics, "added"), changes(metrics, "removed")) == (0, 0)
    assert told(said, "keys_changed") == []


# what the gauges say of keys that cannot be refreshed


async def test_stale_keys_are_told_as_such_as_soon_as_they_are_though_nobody_asks(
    opened: Open, provider: LocalIssuer, clock: SteppedClock, metrics: Metrics
) -> None:
    async with opened(keys_ttl_seconds=TTL) as store, kept_fresh(store):
        due = await clock.asleep()
        provider.script[OPENID] = resets
        clock.advance(due)
        stale_in = TTL - due
        while stale_in > 0:
            assert gauge(metrics, "jwks_stale") == 0
            step = await clock.asleep()
            stale_in -= step
            clock.advance(step)
        await clock.asleep()
        assert stale_in == 0
        assert gauge(metrics, "jwks_stale") == 1
        assert gauge(metrics, "jwks_keys") == 1
        provider.script = {}
        clock.advance(await clock.asleep())
        await provider.wait_asked(JWKS, 2)
        await clock.asleep()
        assert gauge(metrics, "jwks_stale") == 0


async def test_keys_past_their_limit_are_neither_stale_nor_there(
    opened: Open, provider: LocalIssuer, clock: SteppedClock, metrics: Metrics
) -> None:
    async with opened(keys_ttl_seconds=TTL, keys_max_stale_seconds=10.0) as store, kept_fresh(store):
        await clock.asleep()
        provider.script[OPENID] = resets
        clock.advance(TTL + 5.0)
        await clock.asleep()
        assert (gauge(metrics, "jwks_stale"), gauge(metrics, "jwks_keys")) == (1, 1)
        clock.advance(6.0)
        await clock.asleep()
        assert (gauge(metrics, "jwks_stale"), gauge(metrics, "jwks_keys")) == (0, 0)


async def test_an_issuer_that_never_answered_has_no_stale_keys(
    opened: Open, provider: LocalIssuer, metrics: Metrics
) -> None:
    provider.script[OPENID] = resets
    async with opened() as store:
        await refusal_of(store)
    assert (gauge(metrics, "jwks_stale"), gauge(metrics, "jwks_keys")) == (0, 0)


async def test_the_breaker_is_open_from_a_failure_to_the_next_success(
    opened: Open, provider: LocalIssuer, clock: SteppedClock, metrics: Metrics
) -> None:
    provider.script[JWKS] = says(503)
    async with opened() as store:
        assert gauge(metrics, "issuer_breaker_open", endpoint="jwks") == 0
        await refusal_of(store)
        assert gauge(metrics, "issuer_breaker_open", endpoint="jwks") == 1
        assert gauge(metrics, "issuer_breaker_open", endpoint="metadata") == 0
        provider.script = {}
        clock.advance(1.0)
        await keys_of(store)
        assert gauge(metrics, "issuer_breaker_open", endpoint="jwks") == 0


# asked to refresh


async def test_a_refresh_that_is_asked_for_happens_at_once(
    opened: Open, provider: LocalIssuer, clock: SteppedClock
) -> None:
    async with opened() as store, kept_fresh(store):
        await clock.asleep()
        store.refresh_soon()
        await provider.wait_asked(JWKS, 2)
        assert await clock.asleep() == pytest.approx(2880.0)


async def test_refreshes_that_are_asked_for_keep_to_the_limit_of_unknown_kids(
    opened: Open, provider: LocalIssuer, clock: SteppedClock
) -> None:
    async with opened(unknown_kid_interval_seconds=30.0) as store, kept_fresh(store):
        await clock.asleep()
        store.refresh_soon()
        await provider.wait_asked(JWKS, 2)
        await clock.asleep()
        clock.advance(10.0)
        await asyncio.sleep(0)
        for _ in range(5):
            store.refresh_soon()
        for _ in range(10):  # turns of the loop in which the sleeper wakes and lies down again
            await asyncio.sleep(0)
        assert (await clock.asleep(), provider.asked[JWKS]) == (20.0, 2)
        clock.advance(20.0)
        await provider.wait_asked(JWKS, 3)


async def test_an_unknown_kid_after_a_refresh_that_was_asked_for_waits_for_the_limit(
    opened: Open, provider: LocalIssuer, clock: SteppedClock, metrics: Metrics
) -> None:
    async with opened() as store, kept_fresh(store):
        await clock.asleep()
        store.refresh_soon()
        await provider.wait_asked(JWKS, 2)
        await clock.asleep()
        await keys_of(store, "forged")
    assert (provider.asked[JWKS], limited(metrics)) == (2, 1)


async def test_a_refresh_that_is_asked_for_keeps_to_the_delay_after_a_failure(
    opened: Open, provider: LocalIssuer, clock: SteppedClock
) -> None:
    provider.script[JWKS] = says(503)
    async with opened() as store, kept_fresh(store):
        assert await clock.asleep() == 1.0
        store.refresh_soon()
        assert await clock.asleep() == 1.0
    assert provider.asked[JWKS] == 1


# issuers whose tokens are not judged by keys


async def test_keys_that_nothing_is_judged_by_are_not_fetched_ahead(opened: Open, provider: LocalIssuer) -> None:
    async with opened(mode="introspect", introspection=Introspection(client_id="c")) as store:
        await store.run()
        assert provider.asked == {}
        await keys_of(store)


@pytest.mark.parametrize(("mode", "signed"), [("introspect", True), ("jwt_then_introspect", False)])
async def test_keys_of_signed_answers_or_signed_tokens_are_fetched_ahead(
    opened: Open, provider: LocalIssuer, clock: SteppedClock, mode: str, *, signed: bool
) -> None:
    asked = Introspection(client_id="c", signed_answers=signed)
    async with opened(mode=mode, introspection=asked) as store, kept_fresh(store):
        await clock.asleep()
        assert provider.asked[JWKS] == 1


# a store that follows another


async def test_a_store_takes_over_keys_and_asks_nobody(
    opened: Open, provider: LocalIssuer, clock: SteppedClock
) -> None:
    async with opened() as old:
        keys = await keys_of(old)
        async with opened(previous=old) as store, kept_fresh(store):
            assert store.held(NAME, KID) is keys
            assert await clock.asleep() == pytest.approx(2880.0)
    assert provider.asked[JWKS] == 1


async def test_a_refresh_that_was_asked_for_and_is_not_due_yet_is_taken_over(
    opened: Open, provider: LocalIssuer, clock: SteppedClock
) -> None:
    async with opened() as old:
        await keys_of(old)
        old.refresh_soon()
        async with opened(previous=old) as store, kept_fresh(store):
            await provider.wait_asked(JWKS, 2)
            assert await clock.asleep() == pytest.approx(2880.0)


async def test_keys_taken_over_are_as_old_as_they_were(
    opened: Open, provider: LocalIssuer, clock: SteppedClock, metrics: Metrics
) -> None:
    async with opened() as old:
        await keys_of(old)
        provider.script[OPENID] = resets
        clock.advance(TTL)
        async with opened(previous=old, keys_ttl_seconds=TTL, keys_max_stale_seconds=60.0) as store:
            assert gauge(metrics, "jwks_stale") == 1
            clock.advance(60.0)
            assert store.held(NAME, KID) is not None
            clock.advance(1.0)
            assert store.held(NAME, KID) is None


async def test_a_store_that_takes_over_in_an_outage_keeps_to_the_delay(
    opened: Open, provider: LocalIssuer, clock: SteppedClock, metrics: Metrics
) -> None:
    async with opened() as old:
        keys = await keys_of(old)
        provider.script[OPENID] = resets
        await refusal_of(old, "rsa-2")
        asked = provider.asked[OPENID]
        async with opened(previous=old) as store:
            assert store.held(NAME, KID) is keys
            assert gauge(metrics, "issuer_breaker_open", endpoint="jwks") == 1
            assert (await refusal_of(store, "rsa-2")).reason is Reason.IDP_UNREACHABLE
            assert provider.asked[OPENID] == asked
            provider.script = {}
            provider.rotate("rsa-2")
            clock.advance(30.0)
            assert (await keys_of(store, "rsa-2")).kids == ("rsa-2",)


async def test_a_store_that_takes_over_keeps_to_the_limit_of_unknown_kids(opened: Open, provider: LocalIssuer) -> None:
    async with opened() as old:
        await keys_of(old)
        await keys_of(old, "forged")
        async with opened(previous=old) as store:
            await keys_of(store, "forged")
    assert provider.asked[JWKS] == 2


async def test_an_issuer_by_another_name_keeps_its_keys(opened: Open, clock: SteppedClock, metrics: Metrics) -> None:
    async with opened() as old:
        keys = await keys_of(old)
        since = clock.time()
        clock.advance(5.0)
        async with opened(previous=old, name="renamed") as store:
            assert store.held("renamed", KID) is keys
    value = metrics.registry.get_sample_value
    assert value("pgoauthd_jwks_last_refresh_timestamp_seconds", {"issuer": "renamed"}) == since


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "http://127.0.0.1:1/other"},
        {"jwks_uri": "http://127.0.0.1:1/keys"},
        {"metadata_url": "http://127.0.0.1:1/metadata"},
        {"allow_loopback_http": False},
        {"proxy": "http://127.0.0.1:1"},
    ],
    ids=lambda changes: next(iter(changes)),
)
async def test_nothing_is_taken_over_for_an_issuer_that_is_asked_otherwise(
    opened: Open, changes: dict[str, Any]
) -> None:
    async with opened() as old:
        await keys_of(old)
        async with opened(previous=old, **changes) as store:
            assert store.held(NAME, KID) is None


async def test_the_old_store_serves_until_it_is_closed(opened: Open) -> None:
    async with contextlib.AsyncExitStack() as first:
        old = await first.enter_async_context(opened())
        async with opened(previous=old) as store:
            keys = await keys_of(old)
            assert store.held(NAME, KID) is None
            await first.aclose()
            assert old.held(NAME, KID) is keys


async def test_who_waits_in_a_store_that_closes_is_served_by_the_one_that_took_over(
    opened: Open, provider: LocalIssuer
) -> None:
    provider.hold()
    async with contextlib.AsyncExitStack() as first:
        old = await first.enter_async_context(opened())
        callers = [asyncio.create_task(keys_of(old)) for _ in range(20)]
        await provider.wait_asked(OPENID, 1)
        async with opened(previous=old) as store:
            await first.aclose()
            await provider.wait_asked(OPENID, 2)
            provider.release()
            assert {id(keys) for keys in await asyncio.gather(*callers)} == {id(store.held(NAME, KID))}
    assert provider.asked[JWKS] == 1


async def test_a_store_that_is_never_entered_takes_nothing(
    opened: Open, provider: LocalIssuer, metrics: Metrics, clock: SteppedClock, said: io.StringIO
) -> None:
    async with contextlib.AsyncExitStack() as first:
        old = await first.enter_async_context(opened())
        with logging_to(said) as log:
            KeyStore((settings(provider),), metrics=metrics, log=log, clock=clock, previous=old)
        provider.hold()
        caller = asyncio.create_task(refusal_of(old))
        await provider.wait_asked(OPENID, 1)
        await first.aclose()
        assert (await caller).reason is Reason.IDP_UNREACHABLE


async def test_a_store_that_is_hidden_shows_no_failure_of_its_own(
    opened: Open, provider: LocalIssuer, metrics: Metrics
) -> None:
    """As when an issuer that does not answer is replaced while a login waits for it."""
    corrected = asyncio.Event()

    async def fails_later(request: web.BaseRequest) -> web.StreamResponse:
        await corrected.wait()
        return await says(503)(request)

    provider.script[f"{REALM}/nowhere"] = fails_later
    async with opened(jwks_uri=f"{provider.issuer}/nowhere") as old:
        caller = asyncio.create_task(refusal_of(old))
        await provider.wait_asked(f"{REALM}/nowhere", 1)
        async with opened(previous=old) as store:
            old.hide()
            keys = await keys_of(store)
            corrected.set()
            assert (await caller).reason is Reason.IDP_ERROR
            assert gauge(metrics, "issuer_breaker_open", endpoint="jwks") == 0
            assert gauge(metrics, "jwks_keys") == len(keys)


async def test_an_issuer_that_needs_no_keys_any_more_shows_no_failure_to_fetch_them(
    opened: Open, provider: LocalIssuer, metrics: Metrics
) -> None:
    asked = Introspection(client_id="me", client_secret_file="/none")
    provider.script[OPENID] = resets
    async with opened() as old:
        await refusal_of(old)
        assert gauge(metrics, "issuer_breaker_open", endpoint="jwks") == 1
        async with opened(previous=old, mode=Mode.INTROSPECT, introspection=asked) as store:
            old.hide()
            await store.run()
            assert gauge(metrics, "issuer_breaker_open", endpoint="jwks") == 0


async def test_what_nobody_foresaw_is_logged_without_its_text(
    opened: Open, monkeypatch: pytest.MonkeyPatch, said: io.StringIO
) -> None:
    async def fails(_self: KeySource) -> KeySet | Refusal:
        raise RuntimeError("a secret")

    monkeypatch.setattr(KeySource, "read_keys", fails)
    async with opened() as store:
        assert (await refusal_of(store)).reason is Reason.INTERNAL_ERROR
    (line,) = told(said, "key_fetch_failed_unforeseen")
    assert line["error"] == "RuntimeError"
    assert "a secret" not in said.getvalue()


async def test_a_store_forgets_the_one_before_it(opened: Open) -> None:
    async with opened() as old, opened(previous=old) as store:
        assert old not in gc.get_referents(vars(store))


# several issuers, and what is told


async def test_an_outage_of_one_issuer_leaves_the_other_alone(
    provider: LocalIssuer, clock: SteppedClock, metrics: Metrics, said: io.StringIO
) -> None:
    async with running_issuer() as other:
        other.script[OPENID] = resets
        issuers = (settings(provider), settings(other, name="other"))
        with logging_to(said) as log:
            store = KeyStore(issuers, metrics=metrics, log=log, clock=clock)
        async with store:
            refused = await store.keys_for("other", KID)
            assert isinstance(refused, Refusal)
            await keys_of(store)
            assert store.held("other", KID) is None


async def test_the_metrics_tell_how_many_keys_there_are_and_since_when(
    opened: Open, provider: LocalIssuer, clock: SteppedClock, metrics: Metrics
) -> None:
    provider.rotate("rsa-1", "rsa-2")
    async with opened() as store:
        await keys_of(store)
    value = metrics.registry.get_sample_value
    assert value("pgoauthd_jwks_keys", {"issuer": NAME}) == 2
    assert value("pgoauthd_jwks_last_refresh_timestamp_seconds", {"issuer": NAME}) == clock.time()


async def test_the_log_tells_of_a_failure_and_of_the_end_of_it(
    opened: Open, provider: LocalIssuer, clock: SteppedClock, said: io.StringIO
) -> None:
    provider.script[JWKS] = says(503)
    async with opened() as store:
        await refusal_of(store)
        provider.script = {}
        clock.advance(1.0)
        await keys_of(store)
    lines = [json.loads(line) for line in said.getvalue().splitlines()]
    told = [(line["level"], line["event"], line["issuer"]) for line in lines if "issuer" in line]
    assert told == [("warning", "keys_not_fetched", NAME), ("info", "keys_fetched", NAME)]
    assert lines[0]["reason"] == "idp_error"
    assert lines[0]["message"].endswith("answered with status 503")
