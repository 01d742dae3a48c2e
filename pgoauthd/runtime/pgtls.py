"""Connects to PostgreSQL and has the connection encrypted, as SSLRequest does it; never says who wants to log in.

PostgreSQL documentation, "SSL Session Encryption". Of the answer one byte is read, and from the socket itself, so that
nothing which came before the encryption is taken for something that came after it (CVE-2021-23222).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable
from enum import StrEnum

import msgspec

_SSL_REQUEST = struct.pack("!ii", 8, 80_877_103)


class Milestone(StrEnum):
    """How far a login has come."""

    CONNECTED = "connected"
    ENCRYPTED = "encrypted"
    AUTHENTICATED = "authenticated"
    ANSWERED = "answered"
    """The query, too."""


Reached = Callable[[Milestone], None]


class Encryption(msgspec.Struct, frozen=True):
    """What a server must show before anything is said to it."""

    context: ssl.SSLContext
    server_name: str
    """For SNI, and for the certificate where the context checks names."""


async def connect_encrypted(
    host: str, port: int, encryption: Encryption, reached: Reached
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """An encrypted connection; OSError where there is none: ssl.SSLError, ConnectionError, socket.gaierror."""
    connection = await _connect(host, port)
    try:
        reached(Milestone.CONNECTED)
        await _request_encryption(connection)
        streams = await asyncio.open_connection(
            sock=connection, ssl=encryption.context, server_hostname=encryption.server_name
        )
    except BaseException:
        connection.close()
        raise
    reached(Milestone.ENCRYPTED)
    return streams


async def _connect(host: str, port: int) -> socket.socket:
    """To the first of the host's addresses that answers."""
    loop = asyncio.get_running_loop()
    problem = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        connection = socket.socket(family, kind, protocol)
        try:
            connection.setblocking(False)
            await loop.sock_connect(connection, address)
        except OSError as error:
            connection.close()
            problem = error
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise problem


async def _request_encryption(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(connection, _SSL_REQUEST)
    match await loop.sock_recv(connection, 1):
        case b"S":
            return
        case b"N":
            raise ConnectionError("the server does not speak TLS")
        case b"":
            raise ConnectionError("the server hung up when it was asked for TLS")
        case _:
            raise ConnectionError("what answers does not speak PostgreSQL's protocol")
