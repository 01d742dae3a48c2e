"""An HTTP proxy on loopback: tunnels and forwards over real sockets, and resolves only the names that it is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class LocalProxy:
    """Connects where `routes` says. What it was asked is in `heads`."""

    def __init__(self) -> None:
        self.url = ""
        self.routes: dict[str, int] = {}
        """Ports on 127.0.0.1, by `host:port` as asked for."""
        self.heads: list[str] = []
        """Request line and headers of each request."""
        self.authorization: str | None = None
        """What Proxy-Authorization must be."""

    @property
    def asked(self) -> list[str]:
        """Method and target of each request."""
        return [" ".join(head.split(" ", 2)[:2]) for head in self.heads]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._serve(reader, writer)
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
        self.heads.append(head)
        method, target, _ = head.split(" ", 2)
        host = target if method == "CONNECT" else target.split("/", 3)[2]
        if self.authorization is not None and f"Proxy-Authorization: {self.authorization}\r\n" not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        elif (port := self.routes.get(host)) is None:
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
        else:
            upstream = await asyncio.open_connection("127.0.0.1", port)
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                upstream[1].write(_as_the_origin_sees_it(head, target, host))
            await _join((reader, writer), upstream)


@contextlib.asynccontextmanager
async def running_proxy() -> AsyncIterator[LocalProxy]:
    """A proxy on a free port of 127.0.0.1."""
    proxy = LocalProxy()
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.ensure_future(proxy.serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        if tasks:
            await asyncio.wait(tasks, timeout=5.0)


def _as_the_origin_sees_it(head: str, target: str, host: str) -> bytes:
    path = target.split(host, 1)[1]
    lines = [line for line in head.split("\r\n") if not line.startswith("Proxy-")]
    return "\r\n".join([lines[0].replace(target, path, 1), *lines[1:]]).encode("ascii")


async def _join(one: Streams, other: Streams) -> None:
    await asyncio.gather(_pump(one[0], other[1]), _pump(other[0], one[1]))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()
