"""An identity provider on loopback: metadata, keys and introspection over real sockets, and misbehaviour where told."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
import ssl
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, cast

from aiohttp import web

from tests.fix_client import RegisteredClient
from tests.fix_tokens import SigningKey, assemble, key_set, signing_key

DEADLINE = 20.0
REALM = "/realms/database"
OPENID = "openid"
OAUTH = "oauth"
JWKS = "jwks"
INTROSPECTION = "introspection"
SIGNED_ANSWER = "application/token-introspection+jwt"

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class LocalIssuer:
    """Serves REALM as an issuer; `keys`, `metadata`, `tokens`, `client` and `script` may change at any time."""

    def __init__(self, url: str) -> None:
        self.issuer = url + REALM
        self.keys: Mapping[str, Any] = key_set(signing_key("rsa-1"))
        self.metadata: dict[str, Any] = {
            "issuer": self.issuer,
            "jwks_uri": f"{self.issuer}/keys",
            "introspection_endpoint": f"{self.issuer}/introspect",
        }
        self.tokens: dict[str, Mapping[str, Any]] = {}
        """What introspection answers about each, besides that it is active; every other token is not."""
        self.client = RegisteredClient(audience=self.issuer)
        """Who may introspect."""
        self.answer_key: SigningKey = signing_key("rsa-1")
        """Signs answers, where a signed one is asked for."""
        self.forms: list[dict[str, str]] = []
        """Of each introspection."""
        self.script: dict[str, Answer] = {}
        """By endpoint: how to answer instead."""
        self.asked: Counter[str] = Counter()
        self.headers: list[Mapping[str, str]] = []
        """Of each request."""
        self.closing = asyncio.Event()
        self._arrived = asyncio.Condition()
        self._gate = asyncio.Event()
        self._gate.set()

    def hold(self) -> None:
        """Answer nothing until `release`."""
        self._gate.clear()

    def release(self) -> None:
        self._gate.set()

    def rotate(self, *kids: str) -> None:
        """Serve the keys with these kids from now on."""
        self.keys = key_set(*(signing_key(kid) for kid in kids))

    async def wait_asked(self, endpoint: str, times: int) -> None:
        """Wait until the endpoint was asked so often."""
        async with asyncio.timeout(DEADLINE), self._arrived:
            await self._arrived.wait_for(lambda: self.asked[endpoint] >= times)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        endpoint = {
            f"{REALM}/.well-known/openid-configuration": OPENID,
            f"/.well-known/oauth-authorization-server{REALM}": OAUTH,
            f"{REALM}/keys": JWKS,
            f"{REALM}/introspect": INTROSPECTION,
        }.get(request.path, request.path)
        async with self._arrived:
            self.asked[endpoint] += 1
            self.headers.append(dict(request.headers))
            self._arrived.notify_all()
        await self._gate.wait()
        if endpoint in self.script:
            return await self.script[endpoint](request)
        if endpoint in (OPENID, OAUTH):
            return web.json_response(self.metadata)
        if endpoint == INTROSPECTION:
            return await self.introspect(request)
        return web.json_response(self.keys) if endpoint == JWKS else web.Response(status=404)

    async def introspect(self, request: web.BaseRequest) -> web.StreamResponse:
        """RFC 7662 section 2, and RFC 9701 section 5 for who accepts that."""
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.forms.append(form)
        if request.method != "POST":
            return web.Response(status=405)
        if not self.client.is_asking(request, form):
            return web.json_response({"error": "invalid_client"}, status=401)
        members = self.tokens.get(form.get("token", ""))
        answer = {"active": False} if members is None else {"active": True, **members}
        if request.headers.get("Accept") == SIGNED_ANSWER:
            return web.Response(text=self.sign_answer(answer), content_type=SIGNED_ANSWER)
        return web.json_response(answer)

    def sign_answer(self, answer: Mapping[str, Any], **claims: object) -> str:
        """A signed answer, good but for `claims`."""
        key = self.answer_key
        envelope = {"iss": self.issuer, "aud": self.client.client_id, "iat": int(self.client.now())}
        header = {"alg": key.algorithm, "kid": key.kid, "typ": "token-introspection+jwt"}
        return assemble(header, {**envelope, "token_introspection": answer, **claims}, key=key)

    async def hang(self, request: web.BaseRequest) -> web.StreamResponse:
        """Say nothing."""
        del request
        await self.closing.wait()
        return web.Response()

    async def drip(self, request: web.BaseRequest) -> web.StreamResponse:
        """Send a byte now and then, so that no single read takes long."""
        response = web.StreamResponse()
        await response.prepare(request)
        while not self.closing.is_set() and request.transport is not None:
            await response.write(b" ")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.closing.wait(), 0.01)
        return response


@contextlib.asynccontextmanager
async def running_issuer(tls: ssl.SSLContext | None = None) -> AsyncIterator[LocalIssuer]:
    """An issuer on a free port of 127.0.0.1, over TLS where a context is given."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        scheme = "http" if tls is None else "https"
        issuer = LocalIssuer(f"{scheme}://127.0.0.1:{listening.getsockname()[1]}")
        http = web.Server(issuer.answer, access_log=None, lingering_time=0)
        server = await asyncio.get_running_loop().create_server(http, sock=listening, ssl=tls)
        try:
            yield issuer
        finally:
            issuer.closing.set()
            issuer.release()
            server.close()
            http.pre_shutdown()
            await http.shutdown(1.0)


def says(status: int, body: bytes = b"", **headers: str) -> Answer:
    """Always the same; `_` in the names of headers stands for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def answer(_request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=status, body=body, headers=named)

    return answer


def redirects(location: str, status: int = 302) -> Answer:
    async def answer(_request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=status, headers={"Location": location})

    return answer


def compressed(document: Mapping[str, Any], *, encoding: str = "gzip") -> Answer:
    async def answer(_request: web.BaseRequest) -> web.StreamResponse:
        body = gzip.compress(json.dumps(document).encode())
        return web.Response(body=body, headers={"Content-Encoding": encoding})

    return answer


def endless(*, chunk: int = 65_536) -> Answer:
    """A body that does not end before the client hangs up."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * chunk)

    return answer


async def resets(request: web.BaseRequest) -> web.StreamResponse:
    """Break the connection with a TCP reset."""
    transport = cast("asyncio.Transport", request.transport)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    return web.Response()


async def cuts_short(request: web.BaseRequest) -> web.StreamResponse:
    """Promise more of a body than comes."""
    transport = cast("asyncio.Transport", request.transport)
    transport.write(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"keys": [')
    transport.close()
    return web.Response()


async def babbles(request: web.BaseRequest) -> web.StreamResponse:
    """Answer with something that is not HTTP."""
    transport = cast("asyncio.Transport", request.transport)
    transport.write(b"220 mail.example ESMTP\r\n")
    transport.close()
    return web.Response()


def first(*answers: Answer, then: Answer) -> Answer:
    """Answer with these in turn, and with `then` ever after."""
    left = list(answers)

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return await (left.pop(0) if left else then)(request)

    return answer


async def hangs_up(request: web.BaseRequest) -> web.StreamResponse:
    """Close the connection without a word."""
    cast("asyncio.Transport", request.transport).close()
    return web.Response()


async def untyped(request: web.BaseRequest) -> web.StreamResponse:
    """Answer without a Content-Type, which aiohttp would always give."""
    transport = cast("asyncio.Transport", request.transport)
    transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    transport.close()
    return web.Response()
