from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pgoauthd.config.values import Introspection, Issuer
from pgoauthd.runtime.idp.introspector import Introspectors
from pgoauthd.runtime.idp.keystore import KeyStore
from pgoauthd.runtime.validation import Validator
from pgoauthd.telemetry.metrics import Metrics
from pgoauthd.tokens.reasons import Reason, Stage
from pgoauthd.tokens.verdict import LoginRequest, Verdict
from tests.fix_callout import issuer_settings
from tests.fix_client import CLIENT, SECRET
from tests.fix_clock import SteppedClock
from tests.fix_issuer import INTROSPECTION, JWKS, OAUTH, OPENID, LocalIssuer, resets, running_issuer
from tests.fix_log import logging_to
from tests.fix_tokens import good_claims, mint, signing_key

HOUR = 3_600.0
LIFE = HOUR
STALE = HOUR
AGE = 2_400.0
"""Of the keys when the outage begins; they would have been refreshed soon."""
RETRY_AT_LATEST = 30.0
BELIEVED = 10.0
"""How long an answer of introspection is."""
OPAQUE = "2YotnFZFEjr1zCsicMWpAA"
WARM, COLD, OPAQUE_ONLY = "warm", "cold", "opaque"
SIGNING = 2
"""Of the three issuers; their keys are kept fresh."""


@dataclass
class World:
    """A validator with three issuers that share one fate: known, never reached, and of opaque tokens."""

    issuers: dict[str, LocalIssuer]
    validator: Validator
    metrics: Metrics
    clock: SteppedClock
    said: io.StringIO

    async def log_in(self, token: str, issuer: str = WARM) -> Verdict:
        request = LoginRequest(role="alice", issuer=self.issuers[issuer].issuer)
        begun = self.validator.begin(token, request)
        return begun if isinstance(begun, Verdict) else await self.validator.finish(begun)

    def token(self, issuer: str = WARM, kid: str = "rsa-1", **claims: Any) -> str:  # noqa: ANN401 - any claim
        now = self.clock.time()
        return mint(now, key=signing_key(kid), iss=self.issuers[issuer].issuer, **({"exp": now + 8 * HOUR} | claims))

    def go_down(self) -> None:
        for issuer in self.issuers.values():
            issuer.script = dict.fromkeys((OPENID, OAUTH, JWKS, INTROSPECTION), resets)

    def come_back(self) -> None:
        for issuer in self.issuers.values():
            issuer.script = {}

    async def pass_time(self, seconds: float, each: Callable[[], Awaitable[None]] | None = None) -> None:
        """Let so much time go by, one step of the background's waiting after the other."""
        until = self.clock.monotonic() + seconds
        while (left := until - self.clock.monotonic()) > 0:
            self.clock.advance(min(left, await self.clock.asleep(SIGNING)))
            for _ in range(5):
                await asyncio.sleep(0)  # turns of the loop in which a sleeper wakes
            await self.clock.asleep(SIGNING)
            if each is not None:
                await each()

    def value(self, name: str, issuer: str = WARM, **labels: str) -> float:
        found = self.metrics.registry.get_sample_value(f"pgoauthd_{name}", {"issuer": issuer, **labels})
        assert found is not None
        return found


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """All is well and the warm issuer's keys are of AGE; the cold one was down from the beginning."""
    secret = tmp_path / "secret"
    secret.write_text(SECRET, encoding="utf-8")
    secret.chmod(0o600)
    clock, metrics, said = SteppedClock(), Metrics(), io.StringIO()
    async with contextlib.AsyncExitStack() as stack:
        issuers = {name: await stack.enter_async_context(running_issuer()) for name in (WARM, COLD, OPAQUE_ONLY)}
        settings = tuple(settings_of(issuer, name, secret) for name, issuer in issuers.items())
        metrics.declare(clusters=(), issuers=issuers, sinks=())
        log = stack.enter_context(logging_to(said))
        known: dict[str, Any] = {"metrics": metrics, "log": log, "clock": clock}
        keys = await stack.enter_async_context(KeyStore(settings, jitter=lambda: 0.0, **known))
        introspection = await stack.enter_async_context(Introspectors(settings, keys=keys, **known))
        policies = tuple(issuer.policy for issuer in settings)
        validator = Validator(
            policies, keys, introspection=introspection, max_token_bytes=16_384, metrics=metrics, clock=clock
        )
        made = World(issuers, validator, metrics, clock, said)
        made.issuers[COLD].script = dict.fromkeys((OPENID, OAUTH, JWKS), resets)
        background = asyncio.create_task(keys.run())
        await clock.asleep(SIGNING)
        await made.pass_time(AGE)
        opaque = made.issuers[OPAQUE_ONLY]
        opaque.tokens[OPAQUE] = good_claims(clock.time(), iss=opaque.issuer, exp=clock.time() + 8 * HOUR)
        yield made
        background.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await background


def settings_of(issuer: LocalIssuer, name: str, secret: Path) -> Issuer:
    known: dict[str, Any] = {"name": name, "keys_ttl_seconds": LIFE, "keys_max_stale_seconds": STALE}
    if name == OPAQUE_ONLY:
        asked = Introspection(client_id=CLIENT, client_secret_file=str(secret), cache_seconds=BELIEVED)
        known |= {"mode": "introspect", "introspection": asked}
    return issuer_settings(issuer, **known)


def refused_for_the_outage(verdict: Verdict) -> None:
    assert not verdict.authorized
    assert (verdict.reason, verdict.reason.stage) == (Reason.IDP_UNREACHABLE, Stage.IDP)


# an hour


async def test_logins_with_a_known_key_go_on_for_an_hour(world: World) -> None:
    pool = world.token()
    assert (await world.log_in(pool)).authorized
    world.go_down()

    async def log_in() -> None:
        assert (await world.log_in(pool)).authorized
        assert (await world.log_in(world.token(jti=str(world.clock.time())))).authorized

    await world.pass_time(HOUR, each=log_in)
    assert world.value("jwks_keys") == 1


async def test_an_hour_is_no_reason_to_verify_a_pools_token_more_often(world: World) -> None:
    pool = world.token()
    await world.log_in(pool)
    world.go_down()
    await world.pass_time(HOUR)
    await world.log_in(pool)
    for _ in range(10):
        assert (await world.log_in(pool)).authorized
    hits = world.metrics.registry.get_sample_value("pgoauthd_verified_cache_total", {"result": "hit"})
    assert hits == 10


async def test_the_metrics_tell_of_the_outage_before_the_keys_are_too_old(world: World) -> None:
    told: list[tuple[float, float]] = []
    began = world.clock.monotonic()
    world.go_down()

    async def look() -> None:
        told.append((world.clock.monotonic() - began, world.value("jwks_stale")))

    await world.pass_time(HOUR, each=look)
    assert {stale for at, stale in told if at < LIFE - AGE} == {0}
    assert {stale for at, stale in told if at >= LIFE - AGE} == {1}
    assert world.value("issuer_breaker_open", endpoint="jwks") == 1
    failures = world.value("issuer_fetches_total", endpoint="metadata", outcome="unreachable")
    asked_for_seconds = HOUR - (0.8 * LIFE - AGE)  # from the time on at which the keys would have been refreshed
    assert asked_for_seconds / RETRY_AT_LATEST <= failures <= asked_for_seconds / RETRY_AT_LATEST + 5


async def test_the_log_tells_of_the_outage_in_no_more_than_two_lines_a_minute(world: World) -> None:
    world.go_down()
    await world.pass_time(HOUR)
    lines = [json.loads(line) for line in world.said.getvalue().splitlines()]
    about = [line for line in lines if line.get("issuer") == WARM and line["level"] == "warning"]
    assert {line["event"] for line in about} == {"keys_not_fetched"}
    assert {line["keys_held"] for line in about} == {1}
    assert len(about) <= 2 * HOUR / 60 + 10


async def test_a_token_with_a_new_key_is_refused_for_the_outage(world: World) -> None:
    world.go_down()
    await world.pass_time(HOUR)
    refused_for_the_outage(await world.log_in(world.token(kid="rsa-2")))


async def test_a_token_of_an_issuer_never_reached_is_refused_for_the_outage(world: World) -> None:
    world.go_down()
    await world.pass_time(HOUR)
    refused_for_the_outage(await world.log_in(world.token(COLD), COLD))
    assert world.value("jwks_keys", COLD) == 0
    assert world.value("jwks_stale", COLD) == 0


async def test_a_forged_token_is_no_better_off_in_an_outage(world: World) -> None:
    world.go_down()
    await world.pass_time(HOUR)
    forged = mint(world.clock.time(), key=signing_key("rsa-2"), header={"kid": "rsa-1"}, iss=world.issuers[WARM].issuer)
    assert (await world.log_in(forged)).reason is Reason.SIGNATURE_INVALID


async def test_tokens_expire_in_an_outage_as_ever(world: World) -> None:
    token = world.token(exp=world.clock.time() + 600.0)
    assert (await world.log_in(token)).authorized
    world.go_down()
    await world.pass_time(HOUR)
    assert (await world.log_in(token)).reason is Reason.EXPIRED


# opaque tokens


async def test_an_answer_about_a_token_is_believed_for_its_seconds_and_not_longer(world: World) -> None:
    assert (await world.log_in(OPAQUE, OPAQUE_ONLY)).authorized
    world.go_down()
    world.clock.advance(BELIEVED - 0.1)
    assert (await world.log_in(OPAQUE, OPAQUE_ONLY)).authorized
    world.clock.advance(0.2)
    refused_for_the_outage(await world.log_in(OPAQUE, OPAQUE_ONLY))


async def test_opaque_tokens_are_refused_for_all_of_the_hour_and_not_a_moment_longer(world: World) -> None:
    assert (await world.log_in(OPAQUE, OPAQUE_ONLY)).authorized
    world.go_down()
    world.clock.advance(BELIEVED)

    async def log_in() -> None:
        refused_for_the_outage(await world.log_in(OPAQUE, OPAQUE_ONLY))

    await world.pass_time(HOUR, each=log_in)
    world.come_back()
    world.clock.advance(RETRY_AT_LATEST)
    assert (await world.log_in(OPAQUE, OPAQUE_ONLY)).authorized


# longer than the limit


async def test_keys_past_their_limit_let_nobody_in_not_even_with_a_token_just_verified(world: World) -> None:
    pool = world.token()
    world.go_down()
    await world.pass_time(LIFE - AGE + STALE - 60.0)
    assert (await world.log_in(pool)).authorized
    await world.pass_time(61.0)
    refused_for_the_outage(await world.log_in(pool))
    refused_for_the_outage(await world.log_in(world.token()))
    assert (world.value("jwks_stale"), world.value("jwks_keys")) == (0, 0)
    assert world.value("issuer_breaker_open", endpoint="jwks") == 1


# and back


@pytest.mark.parametrize("hours", [1.0, 1.5], ids=["within the limit", "past the limit"])
async def test_all_heals_within_half_a_minute_without_a_login(world: World, hours: float) -> None:
    world.go_down()
    await world.pass_time(hours * HOUR)
    world.issuers[WARM].rotate("rsa-1", "rsa-2")
    world.come_back()
    await world.pass_time(RETRY_AT_LATEST)
    for issuer in (WARM, COLD):
        assert world.value("jwks_stale", issuer) == 0
        assert world.value("issuer_breaker_open", issuer, endpoint="jwks") == 0
    assert world.value("jwks_keys") == 2
    for kid in ("rsa-1", "rsa-2"):
        assert (await world.log_in(world.token(kid=kid))).authorized
    assert (await world.log_in(world.token(COLD), COLD)).authorized


async def test_a_key_that_was_retired_in_the_outage_is_gone_when_it_ends(world: World) -> None:
    pool = world.token()
    world.go_down()
    await world.pass_time(HOUR)
    assert (await world.log_in(pool)).authorized
    world.issuers[WARM].rotate("rsa-2")
    world.come_back()
    await world.pass_time(RETRY_AT_LATEST)
    assert (await world.log_in(pool)).reason is Reason.KEY_UNKNOWN
