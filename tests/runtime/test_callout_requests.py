from __future__ import annotations

import asyncio
import json
import re
from urllib.parse import urlencode

import pytest

from pgoauthd.runtime.wire import largest_request
from pgoauthd.tokens.reasons import Reason
from tests.fix_callout import (
    DEADLINE,
    Answer,
    Running,
    connected,
    exchange,
    http,
    parse,
    read_all,
    refused,
    token_for,
    validate_body,
)
from tests.fix_issuer import LocalIssuer


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"token"',
        b"\xff\xfe{\x00}\x00",
        b'{"token": "a\xff"}',
        b'{"role": "alice", "session_id": "1.2", "issuer": "i"}',
        b'{"token": "t", "session_id": "1.2", "issuer": "i"}',
        b'{"token": "t", "role": "alice", "issuer": "i"}',
        b'{"token": "t", "role": "alice", "session_id": "1.2"}',
        b'{"token": null, "role": "alice", "session_id": "1.2", "issuer": "i"}',
        b'{"token": ["t"], "role": "alice", "session_id": "1.2", "issuer": "i"}',
        b'{"token": "t", "role": "", "session_id": "1.2", "issuer": "i"}',
        b'{"token": "t", "role": "alice", "session_id": "", "issuer": "i"}',
        b'{"token": "t", "role": "alice", "session_id": "1.2\\n", "issuer": "i"}',
        b'{"token": "t", "role": "alice", "session_id": "1.2", "issuer": ""}',
        b'{"token": "t", "role": "alice", "session_id": "1.2", "issuer": "i", "delegate": 1}',
        b'{"token": "t", "role": "alice", "session_id": "1.2", "issuer": "i", "delegate": "true"}',
        b'{"token": "t", "role": "alice", "session_id": "1.2", "issuer": "i", "pid": "x"}',
        b'{"token": "t", "role": "alice", "session_id": "1.2", "issuer": "i", "scope": ["a"]}',
        b'{"token": "t", "role": "al\\ud800ice", "session_id": "1.2", "issuer": "i"}',
        b'{"token": "t", "role": "alice", "session_id": "1.2", "issuer": "i"} {}',
        b'{"token": "t", "role": "alice", "session_id": "1.2", "issuer": "i", "x": ' + b"[" * 40_000,
        b'{"token": "t", "role": "alice", "session_id": "1.2", "issuer": "i", "x": ' + b'{"a":' * 15_000,
        urlencode({"token": "t"}).encode(),
    ],
)
async def test_what_is_no_request_is_refused_and_counted(running: Running, body: bytes) -> None:
    refused(await running.post("/v1/validate", body), 400, Reason.REQUEST_INVALID)
    assert running.rejected("request") == 1
    assert running.verdicts == []


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("pid", -1),
        ("pid", 2**31),
        ("pid", 2**64),
        ("pid", None),
        ("client_port", -1),
        ("client_port", 65_536),
        ("client_port", 2**70),
        ("hba_line", -1),
        ("hba_line", 2**63),
        ("hba_line", 10**400),
        ("server_version", -1),
        ("server_version", 2**64),
        ("session_id", "by-hand"),
        ("session_id", "1"),
        ("session_id", "1."),
        ("session_id", ".1"),
        ("session_id", "1.2.3"),
        ("session_id", "A.1"),
        ("session_id", " 1.2"),
        ("session_id", "1" * 17 + ".1"),
        ("session_id", "1." + "1" * 9),
        ("session_id", "\u0661.\u0662"),
    ],
)
async def test_a_member_that_no_server_can_send_is_refused(
    running: Running, provider: LocalIssuer, member: str, value: object
) -> None:
    answer = await running.validate(token_for(provider), provider.issuer, **{member: value})
    refused(answer, 400, Reason.REQUEST_INVALID)
    assert running.verdicts == []


@pytest.mark.parametrize(
    "members",
    [
        {"pid": 2**31 - 1, "client_port": 65_535, "hba_line": 2**31 - 1, "server_version": 2**31 - 1},
        {"pid": 0, "client_port": 0, "hba_line": 0, "server_version": 0},
        {"client_port": None, "hba_line": None, "server_version": None},
        {"session_id": "f" * 16 + "." + "f" * 8},
    ],
)
async def test_the_ends_of_the_ranges_are_let_in(
    running: Running, provider: LocalIssuer, members: dict[str, object]
) -> None:
    assert (await running.validate(token_for(provider), provider.issuer, **members)).json["authorized"] is True


async def test_what_is_wrong_is_named_without_its_value(running: Running, provider: LocalIssuer) -> None:
    token = token_for(provider)
    answer = await running.validate(token, provider.issuer, client_port=token)
    refused(answer, 400, Reason.REQUEST_INVALID)
    assert "$.client_port" in answer.json["message"]
    assert token[:20] not in answer.body.decode()


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/v1/validate", 405),
        ("PUT", "/v1/validate", 405),
        ("DELETE", "/v1/introspect", 405),
        ("POST", "/v1/healthz", 405),
        ("GET", "/", 404),
        ("GET", "/metrics", 404),
        ("POST", "/v1/validate/", 404),
        ("POST", "/v2/validate", 404),
        ("GET", "//v1/healthz", 404),
    ],
)
async def test_other_paths_and_methods_are_refused(running: Running, method: str, target: str, status: int) -> None:
    answer = await exchange(running.path, http(method, target, b""))
    refused(answer, status, Reason.REQUEST_INVALID)


@pytest.mark.parametrize(
    "raw",
    [
        b"hello\r\n\r\n",
        b"\x00\x01\x02\x03\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST /v1/validate HTTP/9.9\r\n\r\n",
        b"POST /v1/validate HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/validate HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 1_000 + b"\r\n",
    ],
)
async def test_what_is_not_http_is_refused_without_an_echo_in_the_log(running: Running, raw: bytes) -> None:
    refused(await exchange(running.path, raw), 400, Reason.REQUEST_INVALID)
    assert running.rejected("request") == 1
    assert running.log.getvalue() == ""


async def test_a_token_in_a_broken_request_line_is_not_repeated(running: Running, provider: LocalIssuer) -> None:
    token = token_for(provider)
    answer = await exchange(running.path, f"{token} {token}\r\n\r\n".encode())
    refused(answer, 400, Reason.REQUEST_INVALID)
    assert token[:20] not in answer.body.decode() + running.log.getvalue()


@pytest.mark.parametrize(
    "raw",
    [
        b"5\r\nhello\r\nXYZ\r\n\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
    ],
)
async def test_a_body_that_breaks_its_chunks_is_refused(running: Running, raw: bytes) -> None:
    head = http("POST", "/v1/validate", None, "Transfer-Encoding: chunked")
    refused(await exchange(running.path, head + raw), 400, Reason.REQUEST_INVALID)


async def test_a_body_in_chunks_is_a_body(running: Running, provider: LocalIssuer) -> None:
    body = validate_body(token_for(provider), provider.issuer)
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:10], body[10:200], body[200:]))
    head = http("POST", "/v1/validate", None, "Transfer-Encoding: chunked")
    assert (await exchange(running.path, head + chunks + b"0\r\n\r\n")).json["authorized"] is True


@pytest.mark.parametrize("size", [1, 7, 100])
async def test_a_request_in_small_pieces_is_put_together(running: Running, provider: LocalIssuer, size: int) -> None:
    request = http("POST", "/v1/validate", validate_body(token_for(provider), provider.issuer))
    async with asyncio.timeout(DEADLINE), connected(running.path) as (reader, writer):
        for start in range(0, len(request), size):
            writer.write(request[start : start + size])
            await writer.drain()
        assert parse(await read_all(reader)).json["authorized"] is True


async def test_a_compressed_body_is_no_request(running: Running) -> None:
    answer = await running.post("/v1/validate", b"\x1f\x8b\x08", "Content-Encoding: gzip")
    refused(answer, 400, Reason.REQUEST_INVALID)


async def test_a_client_that_waits_for_a_sign_to_go_on_gets_one(running: Running, provider: LocalIssuer) -> None:
    body = validate_body(token_for(provider), provider.issuer)
    head = http("POST", "/v1/validate", body, "Expect: 100-continue").removesuffix(body)
    async with asyncio.timeout(DEADLINE), connected(running.path) as (reader, writer):
        writer.write(head)
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert parse(await read_all(reader)).json["authorized"] is True


async def test_a_connection_may_carry_several_requests(running: Running, provider: LocalIssuer) -> None:
    request = http("POST", "/v1/validate", validate_body(token_for(provider), provider.issuer))
    request = request.replace(b"Connection: close\r\n", b"")
    async with asyncio.timeout(DEADLINE), connected(running.path) as (reader, writer):
        for _ in range(3):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(re.findall(rb"Content-Length: (\d+)", head)[0])
            assert json.loads(await reader.readexactly(length))["authorized"] is True


# sizes


async def test_a_token_over_the_limit_is_judged_as_too_large(running: Running, provider: LocalIssuer) -> None:
    refused(await running.validate("a" * 16_385, provider.issuer), 413, Reason.TOKEN_TOO_LARGE)
    (judged,) = running.verdicts
    assert judged.verdict.reason is Reason.TOKEN_TOO_LARGE
    assert running.rejected("size") == 0


async def test_a_token_of_exactly_the_limit_is_read(running: Running, provider: LocalIssuer) -> None:
    assert (await running.validate("a" * 16_384, provider.issuer)).reason == "token_opaque"


async def test_the_largest_token_that_postgresql_passes_on_gets_an_answer_for_its_session(
    running: Running, provider: LocalIssuer
) -> None:
    long = "x" * 1_000
    answer = await running.validate("a" * 65_535, provider.issuer, role=long, scope=long, database=long)
    refused(answer, 413, Reason.TOKEN_TOO_LARGE)
    assert len(running.verdicts) == 1


@pytest.mark.parametrize("headers", [(), ("Expect: 100-continue",)])
async def test_a_request_over_the_limit_is_refused_unread(running: Running, headers: tuple[str, ...]) -> None:
    body = b" " * (largest_request(16_384) + 1)
    answer = await running.post("/v1/validate", body, *headers)
    answer = Answer(answer.status, answer.headers, answer.body)
    refused(answer, 413, Reason.TOKEN_TOO_LARGE)
    assert running.rejected("size") == 1
    assert running.verdicts == []


async def test_a_flood_is_cut_off(running: Running) -> None:
    """A hundred times the limit, announced and in chunks: there is an answer, and it is a refusal."""
    part = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    head = http("POST", "/v1/validate", None, "Transfer-Encoding: chunked")
    refused(await exchange(running.path, head + part * 120), 413, Reason.TOKEN_TOO_LARGE)


async def test_replies_are_bounded_whatever_users_choose(running: Running, provider: LocalIssuer) -> None:
    for role in ("\x01" * 1_024, "€" * 1_024, '"' * 1_024):
        token = token_for(provider, aud="\x02" * 9_000)
        for members in ({"role": role}, {"role": role, "delegate": True}, {"issuer": role}, {"scope": role * 8}):
            answer = await running.validate(token, **({"issuer": provider.issuer} | members))
            assert answer.json["authorized"] is False
            assert len(answer.body) <= 65_536
