"""The module inside a real PostgreSQL 18, with a daemon that is not there or not right: refused, and said why."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgoauthd.demo.cluster import DemoCluster
from pgoauthd.runtime.pgclient import LoginResult, login
from pgoauthd.tokens.reasons import Reason
from tests.shim.fakedaemon import ACCEPTED, REFUSED, FakeDaemon, accepted, http, refused, says
from tests.shim.server import CANARY, Record, ServerLog, refusals, running_cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[DemoCluster]:
    with running_cluster(pgoauthd__timeout="5s") as cluster:
        yield cluster


async def log_in(cluster: DemoCluster, role: str = "alice") -> LoginResult:
    return await login(cluster.tcp, role=role, database="postgres", token=CANARY)


def text_of(reason: Reason, clause: str) -> str:
    """What the module logs: the reason's own sentence, and what it saw."""
    return f"pgoauthd: refused [{reason}]: {reason.sentence.removesuffix('.')}: {clause}."


async def assert_given_up(result: LoginResult, log: ServerLog, reason: Reason, clause: str) -> None:
    """Refused, with one entry of ours and the server's own word for a validator that failed."""
    records = await log.login(result.local_port)
    (entry,) = refusals(records)

    assert not result.ok
    assert result.sqlstate == "28000"
    assert entry["message"] == text_of(reason, clause)
    assert entry["hint"] == reason.remedy
    assert is_internal_error(records)
    assert CANARY.encode() not in log.text()


def is_internal_error(records: list[Record]) -> bool:
    return any(
        record["error_severity"] == "WARNING" and record["message"] == "internal error in OAuth validator module"
        for record in records
    )


BODY = json.dumps(ACCEPTED).encode()

NOT_OF_THE_PROTOCOL = {
    "another protocol": (b"220 mail.example.org ESMTP\r\n", "it does not begin with an HTTP/1.1 status line"),
    "garbage without an end": (os.urandom(64).replace(b"\n", b"\0"), "it ends early"),
    "a head that ends early": (accepted()[:30], "it ends early"),
    "a body that ends early": (accepted()[:-1], "it ends early"),
    "a head without an end": (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 9_000, "its headers are longer than 8 KiB"),
    "an interim answer": (b"HTTP/1.1 100 Continue\r\n\r\n" + accepted(), "its status is not between 200 and 599"),
    "bare line feeds": (accepted().replace(b"\r\n", b"\n"), "a header line does not end in CRLF"),
    "no length": (
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + BODY,
        "it has no Content-Length",
    ),
    "two lengths": (
        http(BODY, 200, f"Content-Length: {len(BODY)}", f"Content-Length: {len(BODY)}"),
        "it has more than one Content-Length",
    ),
    "a length that is none": (http(BODY, 200, "Content-Length: many"), "its Content-Length is not a number"),
    "chunks": (http(BODY, 200, "Transfer-Encoding: chunked"), "it has a Transfer-Encoding"),
    "more than 64 KiB": (http(BODY.ljust(65_537)), "it is longer than 64 KiB"),
    "something after the body": (accepted() + b"\n", "something follows it"),
    "something after the object": (http(BODY + b"{}"), "something follows its JSON object"),
    "a page of HTML": (http(b"<html></html>", 502), "it is not a JSON object"),
    "an array": (http(b"[" + BODY + b"]"), "it is not a JSON object"),
    "UTF-16": (http(BODY.decode().encode("utf-16")), "it is not a JSON object"),
    "nothing in the body": (http(b""), "it is not a JSON object"),
    "nothing in the object": (http(b"{}"), "it lacks authorized, reason or message"),
    "authorized twice": (http(b'{"authorized":false,' + BODY[1:]), "it has a member twice"),
    "authorized as a string": (accepted(authorized="true"), "its authorized is neither true nor false"),
    "an error that authorizes": (http(BODY, 403), "it is an error that authorizes"),
    "a creation that authorizes": (http(BODY, 201), "it is an error that authorizes"),
    "a reason that is no code": (accepted(reason="ok] forged"), "its reason is not a code of a-z, 0-9 and _"),
    "no identity": (accepted(authn_id=None), "it authorizes without an authn_id"),
    "an empty identity": (accepted(authn_id=""), "it authorizes without an authn_id"),
    "an identity with a newline": (accepted(authn_id="alice\n"), "its authn_id holds control characters"),
    "an identity with a NUL": (accepted(authn_id="alice\0root"), "its authn_id is not a string"),
    "an identity of 257 bytes": (accepted(authn_id="a" * 257), "its authn_id is longer than 256 bytes"),
    "an identity that is a list": (accepted(authn_id=["alice"]), "its authn_id is not a string"),
    "a refused identity with a newline": (refused(authn_id="a\nb"), "its authn_id holds control characters"),
    "deep nesting": (
        accepted(new=json.loads("[" * 17 + "]" * 17)),
        "an unknown member is malformed or nested too deep",
    ),
}


@pytest.mark.parametrize("case", NOT_OF_THE_PROTOCOL)
async def test_an_answer_that_is_not_of_the_protocol_is_refused(
    cluster: DemoCluster, daemon: FakeDaemon, log: ServerLog, case: str
) -> None:
    answer, clause = NOT_OF_THE_PROTOCOL[case]
    daemon.script = says(answer)

    await assert_given_up(await log_in(cluster), log, Reason.VALIDATOR_PROTOCOL, clause)


async def test_delegation_excuses_no_malformed_identity(
    cluster: DemoCluster, daemon: FakeDaemon, log: ServerLog
) -> None:
    daemon.script = says(accepted(authn_id="a\nb"))

    result = await log_in(cluster, "delegated")

    await assert_given_up(result, log, Reason.VALIDATOR_PROTOCOL, "its authn_id holds control characters")


async def test_a_daemon_that_hangs_up_without_an_answer_is_unavailable(
    cluster: DemoCluster, daemon: FakeDaemon, log: ServerLog
) -> None:
    daemon.script = says(b"")

    clause = "it closed the connection without an answer"
    await assert_given_up(await log_in(cluster), log, Reason.VALIDATOR_UNAVAILABLE, clause)


async def test_without_a_socket_the_daemon_is_unavailable(cluster: DemoCluster, log: ServerLog) -> None:
    clause = f'could not connect to "{cluster.validator_socket}": No such file or directory'
    await assert_given_up(await log_in(cluster), log, Reason.VALIDATOR_UNAVAILABLE, clause)


def bind_without_listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(path))
    path.chmod(0o660)


def make_a_plain_file(path: Path) -> None:
    path.write_bytes(b"")
    path.chmod(0o660)


def close_to_all(path: Path) -> None:
    bind_without_listening(path)
    path.chmod(0)


@pytest.mark.parametrize(
    ("put", "error"),
    [
        (bind_without_listening, "Connection refused"),
        (make_a_plain_file, "Connection refused"),
        (close_to_all, "Permission denied"),
    ],
)
async def test_with_a_socket_that_nobody_serves_the_daemon_is_unavailable(
    cluster: DemoCluster, log: ServerLog, put: Callable[[Path], None], error: str
) -> None:
    put(cluster.validator_socket)
    try:
        clause = f'could not connect to "{cluster.validator_socket}": {error}'
        await assert_given_up(await log_in(cluster), log, Reason.VALIDATOR_UNAVAILABLE, clause)
    finally:
        cluster.validator_socket.unlink()


@pytest.mark.parametrize("token", [CANARY, (CANARY * 4_000)[:65_000]])
async def test_an_answer_given_before_the_request_was_read_counts(
    cluster: DemoCluster, log: ServerLog, token: str
) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.setblocking(False)
        listener.bind(str(cluster.validator_socket))
        cluster.validator_socket.chmod(0o660)
        listener.listen()
        attempt = asyncio.create_task(login(cluster.tcp, role="alice", database="postgres", token=token))
        async with asyncio.timeout(10):
            connection, _ = await loop.sock_accept(listener)
            with connection:
                await loop.sock_sendall(connection, refused(403, reason="peer_forbidden"))
    cluster.validator_socket.unlink()

    (entry,) = refusals(await log.login((await attempt).local_port))

    assert entry["message"].startswith("pgoauthd: refused [peer_forbidden]: ")


async def test_a_login_succeeds_as_soon_as_the_daemon_is_back(cluster: DemoCluster) -> None:
    assert not (await log_in(cluster)).ok
    async with FakeDaemon(cluster.validator_socket):
        assert (await log_in(cluster)).ok


async def test_an_error_with_the_body_of_a_refusal_is_no_internal_error(
    cluster: DemoCluster, daemon: FakeDaemon, log: ServerLog
) -> None:
    daemon.script = says(http(json.dumps(REFUSED | {"reason": "validator_overloaded"}).encode(), 503))

    records = await log.login((await log_in(cluster)).local_port)

    assert not is_internal_error(records)


async def log_in_as(cluster: DemoCluster, role: bytes) -> tuple[int, bytes]:
    """A login whose role is any bytes, sent without waiting; the client's port, and all that the server said."""
    response = f"n,,\x01auth=Bearer {CANARY}\x01\x01".encode()
    startup = struct.pack("!i", 196_608) + b"user\0" + role + b"\0database\0postgres\0\0"
    initial = b"OAUTHBEARER\0" + struct.pack("!i", len(response)) + response
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(cluster.tcp.host, cluster.tcp.port)
        writer.write(struct.pack("!i", len(startup) + 4) + startup)
        for body in (initial, b"\x01"):
            writer.write(b"p" + struct.pack("!i", len(body) + 4) + body)
        port = int(writer.get_extra_info("sockname")[1])
        said = await reader.read()
        writer.close()
        await writer.wait_closed()
    return port, said


@pytest.mark.parametrize("role", [b"alic\xe9", b"\xff", b"ali\xc3", b"\xed\xa0\x80", b"\xc0\xaf"])
async def test_a_role_that_is_not_utf_8_is_refused_and_the_daemon_is_not_asked(
    cluster: DemoCluster, daemon: FakeDaemon, log: ServerLog, role: bytes
) -> None:
    port, said = await log_in_as(cluster, role)
    (entry,) = refusals(records := await log.login(port))

    assert b"C28000\0" in said
    assert entry["message"].startswith("pgoauthd: refused [request_invalid]: ")
    assert "not valid UTF-8" in entry["message"]
    assert not is_internal_error(records)
    assert daemon.requests.empty()


async def test_a_role_in_utf_8_is_asked_for_as_it_is(cluster: DemoCluster, daemon: FakeDaemon, log: ServerLog) -> None:
    daemon.script = says(refused())

    port, _ = await log_in_as(cluster, "zoë\ufffd".encode())
    await log.login(port)

    assert (await daemon.next_request()).body["role"] == "zoë\ufffd"


def test_the_modules_own_reasons_are_those_of_the_vocabulary() -> None:
    source = (Path(__file__).parents[2] / "shim" / "pgoauthd.c").read_text(encoding="utf-8")
    table = source.partition("failures[] = {")[2].partition("\n};")[0]
    entries = re.findall(r'"(\w+)",\s+"(.+)",\s+"(.+)",', table)

    reasons = (Reason.VALIDATOR_UNAVAILABLE, Reason.VALIDATOR_TIMEOUT, Reason.VALIDATOR_PROTOCOL)
    assert entries == [(reason.value, reason.sentence.removesuffix("."), reason.remedy) for reason in reasons]
