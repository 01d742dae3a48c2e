from __future__ import annotations

import asyncio
import os
import pwd
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pgoauthd.tokens.reasons import Reason
from tests.fix_callout import (
    DEADLINE,
    Answer,
    Running,
    connected,
    http,
    issuer_settings,
    parse,
    read_all,
    refused,
    running_callout,
    token_for,
    validate_body,
)
from tests.fix_issuer import JWKS, OPENID, LocalIssuer
from tests.fix_tokens import mint, signing_key

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can connect as somebody else")


# time


async def test_a_client_that_says_nothing_is_dropped(provider: LocalIssuer, tmp_path: Path) -> None:
    async with (
        running_callout(tmp_path, issuer_settings(provider), request_timeout_seconds=0.2) as running,
        asyncio.timeout(DEADLINE),
        connected(running.path) as (reader, _),
    ):
        assert await read_all(reader) == b""


async def test_a_client_that_drips_its_header_is_dropped(provider: LocalIssuer, tmp_path: Path) -> None:
    async with (
        running_callout(tmp_path, issuer_settings(provider), request_timeout_seconds=0.3) as running,
        asyncio.timeout(DEADLINE),
        connected(running.path) as (reader, writer),
    ):
        writer.write(b"POST /v1/validate HTTP/1.1\r\n")
        ended = asyncio.create_task(read_all(reader))
        while not ended.done():
            writer.write(b"X: y\r\n")
            await asyncio.wait([ended], timeout=0.02)
        assert await ended == b""


async def test_a_body_that_does_not_come_is_answered_at_the_deadline(provider: LocalIssuer, tmp_path: Path) -> None:
    async with (
        running_callout(tmp_path, issuer_settings(provider), request_timeout_seconds=0.2) as running,
        asyncio.timeout(DEADLINE),
        connected(running.path) as (reader, writer),
    ):
        writer.write(http("POST", "/v1/validate", b"x" * 100).removesuffix(b"x"))
        refused(parse(await read_all(reader)), 504, Reason.VALIDATOR_TIMEOUT)
        assert running.rejected("deadline") == 1


async def test_an_idp_that_hangs_is_answered_at_the_deadline_for_the_session(
    provider: LocalIssuer, tmp_path: Path
) -> None:
    provider.hold()
    async with running_callout(tmp_path, issuer_settings(provider), request_timeout_seconds=0.2) as running:
        refused(await running.validate(token_for(provider), provider.issuer), 504, Reason.VALIDATOR_TIMEOUT)
        (judged,) = running.verdicts
        assert judged.verdict.reason is Reason.VALIDATOR_TIMEOUT
        assert running.value("validations_total", reason="validator_timeout", stage="validator") == 1


async def test_health_and_warm_logins_do_not_wait_for_a_provider_that_hangs(
    running: Running, provider: LocalIssuer
) -> None:
    token = token_for(provider)
    assert (await running.validate(token, provider.issuer)).reason == "ok"
    provider.hold()
    unknown = mint(time.time(), key=signing_key("rsa-2"), iss=provider.issuer)
    waiting = asyncio.create_task(running.validate(unknown, provider.issuer))
    await provider.wait_asked(OPENID, 2)
    assert (await running.get("/v1/healthz")).status == 200
    assert (await running.validate(token, provider.issuer)).reason == "ok"
    assert not waiting.done()
    provider.release()
    assert (await waiting).reason == "key_unknown"


async def test_a_client_that_hangs_up_leaves_no_trace_but_its_verdict(running: Running, provider: LocalIssuer) -> None:
    provider.hold()
    async with connected(running.path) as (_, writer):
        writer.write(http("POST", "/v1/validate", validate_body(token_for(provider), provider.issuer)))
        await provider.wait_asked(OPENID, 1)
    provider.release()
    assert (await running.validate(token_for(provider, sub="bob"), provider.issuer)).reason == "ok"
    assert [judged.verdict.authn_id for judged in running.verdicts] == ["alice", "bob"]
    assert [line for line in running.log.getvalue().splitlines() if '"level": "error"' in line] == []


async def test_half_a_body_and_gone_is_no_error_of_ours(running: Running) -> None:
    async with connected(running.path) as (_, writer):
        writer.write(http("POST", "/v1/validate", b"x" * 100).removesuffix(b"x" * 50))
        await writer.drain()
    assert (await running.get("/v1/healthz")).status == 200
    assert running.log.getvalue() == ""


# who may ask, and how many


async def test_places_are_counted_and_given_back(running: Running) -> None:
    async with connected(running.path), connected(running.path) as (_, writer):
        writer.write(b"GET")
        await writer.drain()
        assert (await running.get("/v1/healthz")).status == 200
        assert running.value("callout_connections") == 2


@pytest.mark.parametrize(
    ("settings", "kind"),
    [({"max_connections": 2}, "connections"), ({"max_connections_per_uid": 2}, "connections_per_uid")],
)
async def test_a_connection_over_the_cap_is_refused_and_room_is_found_again(
    provider: LocalIssuer, tmp_path: Path, settings: dict[str, Any], kind: str
) -> None:
    token = token_for(provider)
    async with running_callout(tmp_path, issuer_settings(provider), **settings) as running:
        async with connected(running.path) as (first, writer), connected(running.path) as (second, other):
            refused(await running.validate(token, provider.issuer), 503, Reason.VALIDATOR_OVERLOADED)
            refused(await running.get("/v1/healthz"), 503, Reason.VALIDATOR_OVERLOADED)
            assert running.rejected(kind) == 2
            writer.write(http("GET", "/v1/healthz"))
            other.write(http("GET", "/v1/healthz"))
            assert parse(await read_all(first)).status == parse(await read_all(second)).status == 200
        assert (await running.validate(token, provider.issuer)).reason == "ok"


async def test_a_flood_of_connections_over_the_cap_gets_answers_and_leaves_no_residue(
    provider: LocalIssuer, tmp_path: Path
) -> None:
    async with running_callout(tmp_path, issuer_settings(provider), max_connections=1) as running:
        async with connected(running.path):
            answers = await asyncio.gather(*(running.get("/v1/healthz") for _ in range(300)))
            assert {answer.status for answer in answers} == {503}
        assert running.rejected("connections") == 300


async def test_a_silent_connection_over_the_cap_is_dropped(provider: LocalIssuer, tmp_path: Path) -> None:
    async with (
        running_callout(tmp_path, issuer_settings(provider), max_connections=0) as running,
        asyncio.timeout(DEADLINE),
        connected(running.path) as (reader, _),
    ):
        assert await read_all(reader) == b""


STRANGER = """
import os, socket, sys
os.setuid(int(sys.argv[2]))
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(b"GET /v1/healthz HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
sys.stdout.write(s.makefile("rb").read().decode())
"""


async def as_user(path: str, uid: int) -> Answer:
    """The health check as another user sees it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STRANGER, path, str(uid), stdout=subprocess.PIPE
    )
    said, _ = await process.communicate()
    assert process.returncode == 0
    return parse(said)


@pytest.fixture
def open_to_all(running: Running) -> Running:
    """The socket with permissions that let everybody connect, so that the peer's uid alone decides."""
    for place in (Path(running.path), *Path(running.path).parents):
        if place.stat().st_uid == os.geteuid() and place != Path("/"):
            place.chmod(0o777 if place.is_socket() else 0o711)
        if place == Path(running.path).parents[3]:
            break
    return running


@as_root
async def test_another_user_is_refused_whatever_the_file_permissions_say(open_to_all: Running) -> None:
    refused(await as_user(open_to_all.path, 54_321), 403, Reason.PEER_FORBIDDEN)
    assert open_to_all.rejected("uid") == 1
    assert open_to_all.value("callout_connections") == 0


@as_root
async def test_an_allowed_user_may_ask(provider: LocalIssuer, tmp_path: Path) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    async with running_callout(tmp_path, issuer_settings(provider), users=frozenset({nobody})) as running:
        for place in (Path(running.path), *Path(running.path).parents[:3]):
            place.chmod(0o777 if place.is_socket() else 0o711)
        assert (await as_user(running.path, nobody)).status == 200


# storms


async def test_a_thousand_users_leave_the_number_of_series_as_it_was(running: Running, provider: LocalIssuer) -> None:
    before = running.exposition().count("\n")
    for number in range(0, 1_000, 10):
        await asyncio.gather(
            *(
                running.validate(
                    token_for(provider, sub=f"user-{number + i}"), provider.issuer, role=f"role-{number + i}"
                )
                for i in range(10)
            )
        )
    # one line each for the first sample of what has no label beforehand: the time of the last refresh
    assert running.exposition().count("\n") - before <= 1


async def test_five_hundred_callers_at_once_all_get_the_right_answer(provider: LocalIssuer, tmp_path: Path) -> None:
    now = time.time()
    kinds: list[tuple[Callable[[int], str], Reason]] = [
        (lambda i: token_for(provider, sub=f"user-{i}"), Reason.OK),
        (lambda _: token_for(provider, exp=now - 600, iat=now - 900), Reason.EXPIRED),
        (lambda _: token_for(provider, aud="other"), Reason.AUDIENCE_MISMATCH),
        (lambda _: token_for(provider, iss="https://other.example"), Reason.ISSUER_MISMATCH),
        (lambda _: "opaque", Reason.TOKEN_OPAQUE),
    ]
    async with running_callout(tmp_path, issuer_settings(provider)) as running:
        asked = [(i, *kinds[i % len(kinds)]) for i in range(500)]
        bodies = [validate_body(make(i), provider.issuer, session_id=f"5.{i:x}") for i, make, _ in asked]
        answers = await asyncio.gather(*(running.post("/v1/validate", body) for body in bodies))
        for (i, _, reason), answer in zip(asked, answers, strict=True):
            assert answer.reason == reason
            assert answer.json["authn_id"] == (f"user-{i}" if reason is Reason.OK else None)
        by_session = {judged.session_id: judged.verdict.reason for judged in running.verdicts}
        assert by_session == {f"5.{i:x}": reason for i, _, reason in asked}
        assert (await running.get("/v1/healthz")).status == 200
        assert running.value("callout_connections") == 0
    assert provider.asked[JWKS] == 1


async def test_health_is_quick_in_a_storm(running: Running, provider: LocalIssuer) -> None:
    bodies = [validate_body(token_for(provider, sub=f"u{i}"), provider.issuer) for i in range(200)]
    storm = asyncio.gather(*(running.post("/v1/validate", body) for body in bodies))
    started = time.monotonic()
    assert (await running.get("/v1/healthz")).status == 200
    assert time.monotonic() - started < 2.0
    assert {answer.reason for answer in await storm} == {"ok"}


# stopping


async def test_stopping_lets_a_running_request_end(provider: LocalIssuer, tmp_path: Path) -> None:
    provider.hold()
    async with running_callout(tmp_path, issuer_settings(provider)) as running:
        waiting = asyncio.create_task(running.validate(token_for(provider), provider.issuer))
        await provider.wait_asked(OPENID, 1)
        stopping = asyncio.create_task(running.callout.stop())
        await asyncio.sleep(0)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_unix_connection(running.path)
        provider.release()
        assert (await waiting).reason == "ok"
        await stopping


async def test_stopping_closes_idle_connections(provider: LocalIssuer, tmp_path: Path) -> None:
    async with running_callout(tmp_path, issuer_settings(provider)) as running, connected(running.path) as (reader, _):
        assert (await running.get("/v1/healthz")).status == 200
        await running.callout.stop()
        assert await read_all(reader) == b""


async def test_a_stopped_callout_leaves_no_socket_behind(provider: LocalIssuer, tmp_path: Path) -> None:
    async with running_callout(tmp_path, issuer_settings(provider)) as running:
        place = running.path
        assert (await running.get("/v1/healthz")).status == 200
    with socket.socket(socket.AF_UNIX) as client, pytest.raises(FileNotFoundError):
        client.connect(place)


# descriptors


async def test_the_kernel_keeps_a_storm_of_connections_though_asyncio_takes_few_at_once(
    provider: LocalIssuer, tmp_path: Path
) -> None:
    """Connections are made in one turn of the loop, which cannot accept meanwhile."""
    async with running_callout(tmp_path, issuer_settings(provider)) as running:
        made = []
        try:
            for _ in range(200):
                connection = socket.socket(socket.AF_UNIX)
                made.append(connection)
                connection.setblocking(False)
                connection.connect(running.path)
        finally:
            for connection in made:
                connection.close()
        assert (await running.get("/v1/healthz")).status == 200


async def test_where_no_descriptor_is_left_the_log_says_so_and_does_not_fill_the_disk(
    provider: LocalIssuer, tmp_path: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with running_callout(tmp_path, issuer_settings(provider)) as running, asyncio.timeout(DEADLINE):
        waiting = [socket.socket(socket.AF_UNIX) for _ in range(64)]
        for connection in waiting:
            connection.setblocking(False)
            connection.connect(running.path)
        resource.setrlimit(resource.RLIMIT_NOFILE, (waiting[-1].fileno() + 1, hard))
        try:
            while "out of system resource" not in running.log.getvalue():  # noqa: ASYNC110 - a log has no event
                await asyncio.sleep(0)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for connection in waiting:
                connection.close()
        assert len(running.log.getvalue()) < 5_000
        assert (await running.get("/v1/healthz")).status == 200
