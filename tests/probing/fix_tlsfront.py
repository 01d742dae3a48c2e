"""A server of PostgreSQL's protocol that speaks TLS in front of one that does not; and others that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

from pgoauthd.runtime.pgclient import TcpAddress

SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[int]:
    """The port of 127.0.0.1 at which `serve` has each connection."""
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await serve(reader, writer)
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def tls_front(behind: TcpAddress, tls: ssl.SSLContext) -> Serve:
    """Answers SSLRequest as PostgreSQL does, and hands on what comes to the server behind."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(len(SSL_REQUEST)) == SSL_REQUEST
        writer.write(b"S")
        await writer.drain()
        await writer.start_tls(tls)
        onward, back = await asyncio.open_connection(behind.host, behind.port)
        try:
            await asyncio.gather(hand_on(reader, back), hand_on(onward, writer))
        finally:
            back.close()

    return serve


async def hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(65_536):
        writer.write(piece)
        await writer.drain()
    writer.close()


def answering(answer: bytes) -> Serve:
    """Answers SSLRequest with this, and then reads what comes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(len(SSL_REQUEST))
        writer.write(answer)
        await writer.drain()
        await reader.read()

    return serve
