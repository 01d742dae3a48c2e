"""A daemon that says what its script says: whole answers, half ones, garbage, or nothing at all."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ACCEPTED = {
    "authorized": True,
    "authn_id": "alice",
    "reason": "ok",
    "stage": "none",
    "fault": "none",
    "message": "The login succeeded.",
    "remedy": "Nothing to do.",
}

REFUSED = {
    "authorized": False,
    "authn_id": None,
    "reason": "expired",
    "stage": "claims",
    "fault": "client",
    "message": "The token expired 62 s ago.",
    "remedy": "Get a new token.",
}


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came: request line, headers with names in lower case, JSON body."""

    line: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One connection that has asked."""

    request: Request
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


Script = Callable[[Call], Awaitable[None]]


def http(body: bytes, status: int = 200, *headers: str) -> bytes:
    """An answer around a body; its length is said unless `headers` say one."""
    lines = [f"HTTP/1.1 {status} X", *headers, "Content-Type: application/json", "Connection: close"]
    if not any(header.lower().startswith("content-length") for header in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def accepted(**members: object) -> bytes:
    return http(json.dumps(ACCEPTED | members).encode())


def refused(status: int = 200, **members: object) -> bytes:
    return http(json.dumps(REFUSED | members).encode(), status)


def says(answer: bytes) -> Script:
    """Answers with these bytes and closes, as a server does after `Connection: close`."""

    async def script(call: Call) -> None:
        call.writer.write(answer)
        await call.writer.drain()

    return script


def says_slowly(answer: bytes, chunk: int = 1) -> Script:
    """Answers in pieces, each sent on its own."""

    async def script(call: Call) -> None:
        for start in range(0, len(answer), chunk):
            call.writer.write(answer[start : start + chunk])
            await call.writer.drain()

    return script


def says_and_holds(answer: bytes) -> Script:
    """Answers with these bytes and keeps the connection until the other side has closed it."""

    async def script(call: Call) -> None:
        call.writer.write(answer)
        await call.reader.read()

    return script


class FakeDaemon:
    """Listens on the socket and runs its script for each request, which it also puts into `requests`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.script: Script = says(accepted())
        self.requests: asyncio.Queue[Request] = asyncio.Queue()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._serve, self.path, backlog=1024)
        self.path.chmod(0o660)  # the directory's set-group-ID bit has given it the server's group
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()
        self.path.unlink()

    @contextlib.asynccontextmanager
    async def on(self, listener: socket.socket) -> AsyncIterator[None]:
        """Serves a socket that listens already, with room for more connections than it had."""
        server = await asyncio.start_unix_server(self._serve, sock=listener, backlog=1024)
        yield
        server.close()

    async def next_request(self) -> Request:
        async with asyncio.timeout(10):
            return await self.requests.get()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A shim that has given up is no error of the daemon's.
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            request = await _read_request(reader)
            self.requests.put_nowait(request)
            await self.script(Call(request, reader, writer))
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def _read_request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
    line, *headers = head.rstrip().split("\r\n")
    named = {name.lower(): value for name, value in (header.split(": ", 1) for header in headers)}
    return Request(line, named, json.loads(await reader.readexactly(int(named["content-length"]))))
