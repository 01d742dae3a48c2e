from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pgoauthd.tokens.reasons import Reason, Stage
from tests.fix_callout import (
    DEADLINE,
    Answer,
    Running,
    connected,
    issuer_settings,
    refused,
    running_callout,
    validate_body,
)
from tests.fix_certificates import Authority
from tests.fix_clock import SteppedClock
from tests.fix_issuer import JWKS, OPENID, LocalIssuer, running_issuer, says
from tests.fix_tokens import mint, signing_key
from tests.runtime.idp.fix_misbehaviour import (
    HANGING_SECONDS,
    MISBEHAVIOURS,
    Misbehaviour,
    forged,
    forget_peak_memory,
    holdings,
    peak_memory,
    silent,
)

ROUNDS = 2
AFTER_ANY_DELAY = 60.0
"""Longer than any backoff and the interval of refetches for unknown kids."""
SPARE_BYTES = 30_000_000
SPARE_OBJECTS = 150


@dataclass
class Two:
    """A callout with two issuers, one of which behaves."""

    running: Running
    good: LocalIssuer
    bad: LocalIssuer
    clock: SteppedClock

    def token(self, issuer: LocalIssuer, kid: str = "rsa-1", **claims: Any) -> str:  # noqa: ANN401 - any claim
        return mint(self.clock.time(), key=signing_key(kid), iss=issuer.issuer, **claims)

    async def log_in(self, issuer: LocalIssuer, kid: str = "rsa-1", **claims: Any) -> Answer:  # noqa: ANN401 - any claim
        return await self.running.validate(self.token(issuer, kid, **claims), issuer.issuer)

    async def good_login(self) -> None:
        """A login with a token never seen, of the issuer that behaves."""
        answer = await self.log_in(self.good, jti=str(time.monotonic_ns()))
        assert answer.json["authorized"] is True, answer


Start = Callable[..., contextlib.AbstractAsyncContextManager[Two]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts both issuers and the callout; the settings are of the bad one."""

    @contextlib.asynccontextmanager
    async def started(**settings: Any) -> AsyncIterator[Two]:  # noqa: ANN401 - any field
        clock = SteppedClock()
        async with running_issuer() as good, running_issuer() as bad:
            issuers = issuer_settings(good, name="good"), issuer_settings(bad, **({"name": "bad"} | settings))
            # verdicts are dropped, so that they do not count as what is left behind
            async with running_callout(tmp_path, *issuers, clock=clock, on_verdict=lambda _: None) as running:
                yield Two(running, good, bad, clock)

    return started


each_misbehaviour = pytest.mark.parametrize("bad", MISBEHAVIOURS, ids=lambda bad: bad.name)


# one misbehaviour after the other


@each_misbehaviour
async def test_tokens_of_a_misbehaving_issuer_are_refused_and_those_of_another_are_not(
    start: Start, bad: Misbehaviour
) -> None:
    async with start(fetch_timeout_seconds=bad.deadline) as two:
        bad.begin(two.bad)
        waiting = asyncio.create_task(two.log_in(two.bad))
        await two.bad.wait_asked(bad.where, 1)
        await two.good_login()
        answer = await waiting
        assert answer.json["stage"] == Stage.IDP
        refused(answer, 200, bad.reason)


@each_misbehaviour
async def test_keys_that_were_good_outlive_any_misbehaviour(start: Start, bad: Misbehaviour) -> None:
    async with start(fetch_timeout_seconds=bad.deadline) as two:
        assert (await two.log_in(two.bad)).reason == "ok"
        bad.begin(two.bad)
        refused(await two.log_in(two.bad, "rsa-2"), 200, bad.reason)
        assert (await two.log_in(two.bad, jti="another")).reason == "ok"


# metadata and keys are fetched in the same way, so what is left of one is left of the other
@pytest.mark.parametrize("bad", [bad for bad in MISBEHAVIOURS if bad.where == JWKS], ids=lambda bad: bad.name)
async def test_nothing_is_left_of_a_misbehaving_issuer(start: Start, bad: Misbehaviour) -> None:
    async with start(fetch_timeout_seconds=bad.deadline) as two:
        bad.begin(two.bad)

        async def log_in() -> None:
            two.clock.advance(AFTER_ANY_DELAY)
            asked = two.bad.asked[bad.where]
            refused(await two.log_in(two.bad), 200, bad.reason)
            assert two.bad.asked[bad.where] > asked
            two.bad.headers.clear()

        await log_in()
        before, memory = await holdings(), forget_peak_memory()
        for _ in range(ROUNDS):
            await log_in()
        after = await holdings()
        assert not after.grown_from(before, spare_objects=SPARE_OBJECTS), (before, after)
        assert peak_memory() - memory < SPARE_BYTES


async def test_a_certificate_that_nobody_vouches_for_is_no_issuer(start: Start, tmp_path: Path) -> None:
    async with running_issuer(Authority(tmp_path).server("127.0.0.1")) as stranger:
        async with start(issuer=stranger.issuer) as two:
            answer = await two.running.validate(two.token(stranger), stranger.issuer)
            refused(answer, 200, Reason.IDP_UNREACHABLE)
            assert "certificate is not trusted" in answer.json["message"]
            await two.good_login()
        assert stranger.asked == {}


async def test_an_issuer_that_does_not_speak_tls_where_it_should_is_unreachable(start: Start) -> None:
    async with running_issuer() as plain:
        issuer = plain.issuer.replace("http:", "https:")
        async with start(issuer=issuer) as two:
            token = mint(two.clock.time(), iss=issuer)
            refused(await two.running.validate(token, issuer), 200, Reason.IDP_UNREACHABLE)
            await two.good_login()


async def test_an_issuer_that_failed_is_left_alone_for_a_while_and_its_tokens_refused_at_once(start: Start) -> None:
    async with start() as two:
        two.bad.script[JWKS] = says(500)
        refused(await two.log_in(two.bad), 200, Reason.IDP_ERROR)
        asked = two.bad.asked[JWKS]
        for answer in await asyncio.gather(*(two.log_in(two.bad, jti=str(number)) for number in range(50))):
            refused(answer, 200, Reason.IDP_ERROR)
            assert "asked again in 1 s" in answer.json["message"]
        assert two.bad.asked[JWKS] == asked


async def test_a_hundred_logins_with_an_issuer_that_hangs_cost_one_request_and_leave_nothing(start: Start) -> None:
    async with start(fetch_timeout_seconds=HANGING_SECONDS) as two:
        two.bad.script[OPENID] = silent(two.bad)
        refused(await two.log_in(two.bad), 200, Reason.IDP_TIMEOUT)
        await two.good_login()
        two.clock.advance(AFTER_ANY_DELAY)
        before = await holdings()
        storming = asyncio.create_task(reasons(two.log_in(two.bad, jti=str(number)) for number in range(100)))
        await two.bad.wait_asked(OPENID, 2)
        await two.good_login()
        assert await storming == {"idp_timeout"}
        assert two.bad.asked[OPENID] == 2
        after = await holdings()
        assert not after.grown_from(before, spare_objects=SPARE_OBJECTS), (before, after)


# metadata that changes its mind


async def test_metadata_that_turns_to_another_issuer_brings_no_keys_of_it(start: Start) -> None:
    async with start() as two:
        assert (await two.log_in(two.bad)).reason == "ok"
        evil = "/realms/database/evil"
        two.bad.script[evil] = says(200, json.dumps({"keys": [signing_key("evil").jwk()]}).encode())
        two.bad.metadata |= {"issuer": "https://evil.example", "jwks_uri": f"{two.bad.issuer}/evil"}
        for _ in range(3):
            refused(await two.log_in(two.bad, "evil"), 200, Reason.IDP_METADATA_INVALID)
            two.clock.advance(AFTER_ANY_DELAY)
        assert two.bad.asked[evil] == 0
        assert (await two.log_in(two.bad, jti="another")).reason == "ok"


async def test_metadata_that_turns_back_is_believed_again(start: Start) -> None:
    async with start() as two:
        truth = dict(two.bad.metadata)
        for _ in range(3):
            two.bad.metadata = {**truth, "issuer": "https://evil.example"}
            refused(await two.log_in(two.bad, "rsa-2"), 200, Reason.IDP_METADATA_INVALID)
            two.clock.advance(AFTER_ANY_DELAY)
            two.bad.metadata = truth
            assert (await two.log_in(two.bad)).reason == "ok"
            two.clock.advance(AFTER_ANY_DELAY)
            assert (await two.log_in(two.bad, "rsa-2")).reason == "key_unknown"
            two.clock.advance(AFTER_ANY_DELAY)


# keys that change under load


async def test_no_login_is_lost_while_a_second_key_is_published(start: Start) -> None:
    async with start() as two:
        assert (await two.log_in(two.bad)).reason == "ok"
        two.bad.rotate("rsa-1", "rsa-2")
        kids = ["rsa-1", "rsa-2"] * 100
        assert await reasons(two.log_in(two.bad, kid, jti=str(at)) for at, kid in enumerate(kids)) == {"ok"}
        assert two.bad.asked[JWKS] == 2
        assert two.running.value("jwks_changes_total", issuer="bad", change="added") == 1
        assert two.running.value("jwks_changes_total", issuer="bad", change="removed") == 0


async def test_the_first_key_goes_in_mid_load_and_only_its_tokens_with_it(start: Start) -> None:
    async with start() as two:
        two.bad.rotate("rsa-1", "rsa-2")
        assert (await two.log_in(two.bad, "rsa-2")).reason == "ok"
        two.bad.rotate("rsa-2", "rsa-3")
        kids = ["rsa-1", "rsa-2", "rsa-2", "rsa-3"] * 50
        answers = await asyncio.gather(*(two.log_in(two.bad, kid, jti=str(at)) for at, kid in enumerate(kids)))
        by_kid = {kid: {answer.reason for answer, of in zip(answers, kids, strict=True) if of == kid} for kid in kids}
        assert by_kid["rsa-2"] == by_kid["rsa-3"] == {"ok"}
        assert by_kid["rsa-1"] <= {"ok", "key_unknown"}
        refused(await two.log_in(two.bad, "rsa-1"), 200, Reason.KEY_UNKNOWN)


async def test_a_token_that_was_verified_a_moment_ago_is_refused_once_its_key_is_gone(start: Start) -> None:
    async with start() as two:
        token = two.token(two.bad)
        for _ in range(2):
            assert (await two.running.validate(token, two.bad.issuer)).reason == "ok"
        assert two.running.value("verified_cache_total", result="hit") == 1
        two.bad.rotate("rsa-2")
        assert (await two.log_in(two.bad, "rsa-2")).reason == "ok"
        refused(await two.running.validate(token, two.bad.issuer), 200, Reason.KEY_UNKNOWN)


async def test_a_token_that_was_verified_is_refused_once_its_kid_stands_for_another_key(start: Start) -> None:
    async with start() as two:
        token = two.token(two.bad)
        assert (await two.running.validate(token, two.bad.issuer)).reason == "ok"
        two.bad.keys = {"keys": [signing_key("impostor").jwk(kid="rsa-1"), signing_key("rsa-2").jwk()]}
        assert (await two.log_in(two.bad, "rsa-2")).reason == "ok"
        refused(await two.running.validate(token, two.bad.issuer), 200, Reason.SIGNATURE_INVALID)
        assert "key_replaced" in two.running.log.getvalue()


async def test_a_fetch_that_finds_the_same_keys_costs_no_token_its_second_sight(start: Start) -> None:
    async with start() as two:
        token = two.token(two.bad)
        assert (await two.running.validate(token, two.bad.issuer)).reason == "ok"
        refused(await two.log_in(two.bad, "rsa-9"), 200, Reason.KEY_UNKNOWN)
        assert two.bad.asked[JWKS] == 2
        assert (await two.running.validate(token, two.bad.issuer)).reason == "ok"
        assert two.running.value("verified_cache_total", result="hit") == 1


# storms of kids that nobody has


async def test_ten_thousand_forged_kids_cost_one_fetch_an_interval_and_leave_nothing(start: Start) -> None:
    async with start(unknown_kid_interval_seconds=30.0) as two:
        token = two.token(two.bad)
        assert (await two.running.validate(token, two.bad.issuer)).reason == "ok"
        await storm(two, token, range(100))
        assert two.bad.asked[JWKS] == 2
        await two.good_login()
        before = await holdings()
        two.clock.advance(30.0)
        storming = asyncio.gather(*(storm(two, token, range(at, 10_000, 10)) for at in range(10)))
        await two.bad.wait_asked(JWKS, 3)
        await two.good_login()
        await storming
        assert two.bad.asked[JWKS] == 3
        assert two.running.value("jwks_unknown_kid_limited_total", issuer="bad") >= 10_000 - 100
        after = await holdings()
        assert not after.grown_from(before, spare_objects=SPARE_OBJECTS), (before, after)
        assert (await two.running.validate(token, two.bad.issuer)).reason == "ok"


async def reasons(logins: Iterable[Awaitable[Answer]]) -> set[str]:
    return {answer.reason for answer in await asyncio.gather(*logins)}


async def storm(two: Two, token: str, numbers: range) -> None:
    """Ask with forged kids, one after the other on one connection; all of them must be unknown."""
    async with asyncio.timeout(2 * DEADLINE), connected(two.running.path) as (reader, writer):
        for number in numbers:
            body = validate_body(forged(token, f"forged-{number}"), two.bad.issuer)
            writer.write(b"POST /v1/validate HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split()[0])
            answer = json.loads(await reader.readexactly(length))
            assert (answer["authorized"], answer["reason"]) == (False, "key_unknown")
