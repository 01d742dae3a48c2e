from __future__ import annotations

import asyncio
import contextlib
import resource
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pgoauthd.config import values as config
from pgoauthd.runtime.web import Web
from tests.fix_callout import Running, http, issuer_settings, parse, read_all, running_callout, token_for, validate_body
from tests.fix_issuer import OPENID, LocalIssuer, running_issuer
from tests.runtime.fix_callers import Replies, as_root, call, let_everybody_reach
from tests.runtime.idp.fix_misbehaviour import Holdings, forget_peak_memory, holdings, peak_memory, silent

CALLERS = 2_000
OPEN_FILES = 6_000
SEATS = 1_024
CALLER = 54_321
REQUEST_SECONDS = 3.0
SLACK_SECONDS = 20.0
"""For machines with other work; the kernel, not the daemon, keeps callers waiting meanwhile."""
SPARE_BYTES = 60_000_000
SPARE_OBJECTS = CALLERS


@dataclass
class Watch:
    """Asks again and again, and notes how long each answer took."""

    ask: Callable[[], Awaitable[None]]
    seconds: list[float] = field(default_factory=list)

    async def run(self) -> None:
        while True:
            started = time.monotonic()
            await self.ask()
            self.seconds.append(time.monotonic() - started)
            await asyncio.sleep(0.02)


@dataclass
class Storm:
    """What came of two thousand callers of one user, and of those who asked meanwhile."""

    replies: Replies
    others: tuple[Watch, ...]
    before: Holdings
    after: Holdings
    bytes: int


@dataclass
class Place:
    """A callout with an issuer that answers and one that hangs, and the address of the operators' web server."""

    running: Running
    good: LocalIssuer
    hanging: LocalIssuer
    web: tuple[str, int]

    async def ask_socket(self) -> None:
        assert (await self.running.get("/v1/healthz")).status == 200

    async def ask_web(self) -> None:
        reader, writer = await asyncio.open_connection(*self.web)
        writer.write(http("GET", "/healthz"))
        assert parse(await read_all(reader)).status == 200
        writer.close()

    async def log_in(self) -> None:
        answer = await self.running.validate(token_for(self.good, jti=str(time.monotonic_ns())), self.good.issuer)
        assert answer.reason == "ok"

    async def storm(self, request: bytes) -> Storm:
        """Two thousand callers of one user with this request, while we, another user, ask all the while."""
        watches = Watch(self.ask_socket), Watch(self.ask_web), Watch(self.log_in)
        for watch in watches:
            await watch.ask()
        before, memory = await holdings(), forget_peak_memory()
        async with asyncio.TaskGroup() as tasks:
            watching = [tasks.create_task(watch.run()) for watch in watches]
            replies = await call(self.running.path, request, uid=CALLER, count=CALLERS)
            for task in watching:
                task.cancel()
        peak = peak_memory() - memory
        return Storm(replies, watches, before, await holdings(), peak)


@pytest.fixture
def many_files() -> Iterator[None]:
    """Descriptors for both ends of thousands of connections; a child process gets as many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if hard != unlimited and hard < OPEN_FILES:
        pytest.skip(f"{OPEN_FILES} open files are needed; the hard limit of this host is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft if soft == unlimited else max(soft, OPEN_FILES), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
async def place(tmp_path: Path, many_files: None) -> AsyncIterator[Place]:
    del many_files
    async with running_issuer() as good, running_issuer() as hanging, contextlib.AsyncExitStack() as stack:
        hanging.script[OPENID] = silent(hanging)
        running = await stack.enter_async_context(
            running_callout(
                tmp_path,
                issuer_settings(good, name="good"),
                issuer_settings(hanging, name="hanging", fetch_timeout_seconds=REQUEST_SECONDS / 2),
                users=frozenset({CALLER}),
                max_connections=SEATS,
                request_timeout_seconds=REQUEST_SECONDS,
                on_verdict=lambda _: None,
            )
        )
        let_everybody_reach(running.path)
        web = Web(config.Web(listen="127.0.0.1:0"), running.metrics)
        address = await web.start()
        stack.push_async_callback(web.stop)
        yield Place(running, good, hanging, address)


def everybody_was_answered(storm: Storm) -> None:
    """Fail unless each caller was refused in time, the others were served meanwhile, and nothing is left of it."""
    replies = storm.replies
    assert (replies.authorized, replies.unanswered) == (0, 0)
    assert replies.slowest_seconds < REQUEST_SECONDS + SLACK_SECONDS
    for watch in storm.others:
        assert len(watch.seconds) >= 3
        assert max(watch.seconds) < SLACK_SECONDS
    assert not storm.after.grown_from(storm.before, spare_objects=SPARE_OBJECTS), (storm.before, storm.after)
    assert storm.bytes < SPARE_BYTES


@as_root
async def test_two_thousand_logins_with_an_issuer_that_hangs_hold_up_nobody_else(place: Place) -> None:
    body = validate_body(token_for(place.hanging), place.hanging.issuer, session_id="1.NUMBER")
    storm = await place.storm(http("POST", "/v1/validate", body))
    everybody_was_answered(storm)
    assert set(storm.replies.reasons) <= {"idp_timeout", "idp_queue_full", "validator_overloaded"}
    assert storm.replies.reasons["idp_timeout"] > 0
    assert storm.replies.reasons["idp_queue_full"] > 0
    assert place.hanging.asked[OPENID] == 1
    assert place.running.value("callout_connections") == 0


@as_root
async def test_two_thousand_callers_that_take_their_seats_and_dawdle_leave_the_seats_of_others(place: Place) -> None:
    body = validate_body(token_for(place.hanging), place.hanging.issuer)
    storm = await place.storm(http("POST", "/v1/validate", body).removesuffix(body))
    everybody_was_answered(storm)
    assert set(storm.replies.reasons) <= {"validator_timeout", "validator_overloaded"}
    assert storm.replies.reasons["validator_timeout"] >= SEATS - SEATS // 8 // 2
    assert storm.replies.reasons["validator_overloaded"] == place.running.rejected("connections_per_uid") > 0
    assert place.running.rejected("connections") == 0
    assert place.running.value("callout_connections") == 0
