"""Logs in to PostgreSQL with an OAuth bearer token, to see what the server says; never a client for real work.

One exchange of the protocol 3.0 (PostgreSQL documentation, "Frontend/Backend Protocol"): startup, SASL OAUTHBEARER
(RFC 7628), one simple query, goodbye. The token is sent and forgotten: no result or error holds it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import Enum
from typing import assert_never

import msgspec

from pgoauthd.runtime.pgtls import Encryption, Milestone, Reached, connect_encrypted

PROTOCOL_VERSION = 196_608
"""3.0, which every server speaks."""

MAX_MESSAGE_BYTES = 1_048_576
"""Longest message that is accepted from a server."""

MAX_CONVERSATION_BYTES = 1_048_576
"""Of all messages of one conversation, as its rows are kept."""

MAX_PARAMETERS = 64
"""PostgreSQL reports some 15."""
MAX_PARAMETER_BYTES = 1_024
"""Of a name with its value; a longer one is not kept."""

KVSEP = b"\x01"
"""Separator of RFC 7628; a client that was refused answers with it alone (section 3.2.3)."""

DISCOVERY_MESSAGE = b"n,,\x01auth=\x01\x01"
"""An empty auth value asks for the issuer (PostgreSQL documentation, "SASL Authentication"; RFC 7628 section 4.3)."""

_LENGTH_BYTES = 4
"""A message's length counts itself."""

_OTHER_METHODS = {3: "a password", 5: "an MD5 password", 7: "GSSAPI", 9: "SSPI"}


class TcpAddress(msgspec.Struct, frozen=True):
    """A server's host and port."""

    host: str
    port: int


class UnixAddress(msgspec.Struct, frozen=True):
    """A server's socket file, such as /run/postgresql/.s.PGSQL.5432."""

    path: str


Address = TcpAddress | UnixAddress


class Discovery(msgspec.Struct, frozen=True, kw_only=True):
    """The server's answer to a token that it refused, or to the question for its issuer (RFC 7628 section 3.2.2)."""

    status: str
    openid_configuration: str | None = msgspec.field(name="openid-configuration", default=None)
    scope: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginResult:
    """How a login ended for the client; `sqlstate` and `message` are the server's own words where it said any."""

    ok: bool
    sqlstate: str | None = None
    message: str | None = None
    discovery: Discovery | None = None
    rows: tuple[tuple[str | None, ...], ...] = ()
    parameters: dict[str, str] = field(default_factory=dict, repr=False)
    """ParameterStatus messages: server_version and others."""
    local_port: int | None = None
    """Our port of a TCP connection, which the server logs as the client's."""
    local_address: str | None = None
    """The same for our address."""
    tls_version: str | None = None
    """As TLSv1.3; None where the connection is not encrypted."""
    token_asked: bool = False
    """The server wanted the token; without that it let us in, or turned us away, whoever we are."""


class Departure(Enum):
    """When a client goes away, and how."""

    CONNECTED = "connected"
    """Having said nothing, like a health check of the port."""
    STARTUP_SENT = "startup_sent"
    """Without waiting for an answer to the startup message."""
    SASL_REQUESTED = "sasl_requested"
    """Asked for a token, like a client that fetches one first."""
    RESET = "reset"
    """Asked for a token, and the connection breaks instead of being closed; TCP only."""


async def login(
    address: Address,
    *,
    role: str,
    database: str,
    token: str | None,
    application_name: str | None = None,
    message: bytes | None = None,
    mechanism: str = "OAUTHBEARER",
    query: str = "SELECT current_user",
    deadline_seconds: float = 10.0,
    encryption: Encryption | None = None,
    reached: Reached = lambda _: None,
) -> LoginResult:
    """Log in with a token, run a query, leave. Without a token it asks for the issuer, as libpq does at first.

    `message` replaces the whole initial response, to see how a server takes a violation of the protocol. With
    `encryption`, which is for TCP alone, nothing is said before the connection is encrypted. `reached` is told of each
    milestone when it is passed. OSError (TimeoutError, ConnectionError and ssl.SSLError among them) where there was no
    conversation to report on.
    """
    response = message if message is not None else _initial_response(token)
    async with _conversation(address, deadline_seconds, encryption, reached) as server:
        server.send_startup(role, database, application_name)
        return await _Login(server, mechanism, response, query, reached).run()


async def abandon(
    address: Address, *, role: str, database: str, departure: Departure, deadline_seconds: float = 10.0
) -> LoginResult:
    """Begin to log in and go away; returns when the server has hung up. OSError as for `login`.

    Except for RESET the connection is closed in our direction only, as the operating system does for a client that
    has read all it was sent: so the server sees an end and not an error.
    """
    async with _conversation(address, deadline_seconds) as server:
        if departure is not Departure.CONNECTED:
            server.send_startup(role, database, None)
        if departure in (Departure.SASL_REQUESTED, Departure.RESET):
            await server.receive()
        if departure is Departure.RESET:
            server.reset()
        else:
            server.hang_up()
            await server.read_to_end()
        return LoginResult(ok=False, message="went away", local_port=server.local_port)


async def stall(address: Address, *, role: str, database: str, deadline_seconds: float) -> LoginResult:
    """Begin to log in and say no more, until the server gives up. OSError as for `login`.

    When its authentication_timeout is over, it tells its log and hangs up without a word to the client.
    """
    async with _conversation(address, deadline_seconds) as server:
        server.send_startup(role, database, None)
        await server.receive()
        await server.read_to_end()
        return LoginResult(ok=False, message="the server gave up waiting", local_port=server.local_port)


def _initial_response(token: str | None) -> bytes:
    """The client's first message of RFC 7628 section 3.1; PostgreSQL takes the role from the startup message."""
    if token is None:
        return DISCOVERY_MESSAGE
    return b"n,," + KVSEP + b"auth=Bearer " + token.encode() + KVSEP + KVSEP


class _Login:
    """A login from the startup message on, one step for each of the server's messages."""

    def __init__(self, server: _Server, mechanism: str, response: bytes, query: str, reached: Reached) -> None:
        self._server = server
        self._reached = reached
        self._mechanism = mechanism.encode()
        self._response = response
        self._query = query
        self._discovery: Discovery | None = None
        self._token_asked = False
        self._parameters: dict[str, str] = {}

    async def run(self) -> LoginResult:
        """Until the server is ready for a query or refuses."""
        while True:
            kind, body = await self._server.receive()
            match kind:
                case b"R":
                    if (wanted := self._authenticate(body)) is not None:
                        return self._failed(f"the server asks for {wanted}, not {self._mechanism.decode()}")
                case b"S":
                    self._keep_parameter(body)
                case b"E":
                    return self._refused(body)
                case b"Z":
                    return await self._ask()
                case _:
                    pass  # notices, the cancellation key and whatever newer servers add

    def _keep_parameter(self, body: bytes) -> None:
        if len(self._parameters) < MAX_PARAMETERS and len(body) <= MAX_PARAMETER_BYTES:
            name, _, value = body.rstrip(b"\0").decode(errors="replace").partition("\0")
            self._parameters[name] = value

    def _authenticate(self, body: bytes) -> str | None:
        """Answer one request; what it asks for if that is something else."""
        request = int.from_bytes(body[:4], "big")
        match request:
            case 0:  # AuthenticationOk
                self._reached(Milestone.AUTHENTICATED)
                return None
            case 10:  # AuthenticationSASL
                offered = body[4:].rstrip(b"\0").split(b"\0")
                if self._mechanism not in offered:
                    return b", ".join(offered).decode(errors="replace")
                self._token_asked = True
                length = struct.pack("!i", len(self._response))
                self._server.send(b"p", self._mechanism + b"\0" + length + self._response)
                return None
            case 11:  # AuthenticationSASLContinue, which only a refusal or a discovery brings
                self._discovery = _parse_discovery(body[4:])
                self._server.send(b"p", KVSEP)
                return None
            case _:
                return _OTHER_METHODS.get(request, f"authentication method {request}")

    async def _ask(self) -> LoginResult:
        self._server.send(b"Q", self._query.encode() + b"\0")
        rows = []
        while True:
            kind, body = await self._server.receive()
            match kind:
                case b"D":
                    rows.append(_parse_row(body))
                case b"E":
                    return self._refused(body)
                case b"Z":
                    self._reached(Milestone.ANSWERED)
                    self._server.send(b"X", b"")
                    return self._result(ok=True, rows=tuple(rows))
                case _:
                    pass

    def _refused(self, body: bytes) -> LoginResult:
        """The result of an ErrorResponse: fields of a letter and a text, C for the SQLSTATE and M for the message."""
        fields = {part[:1]: part[1:].decode(errors="replace") for part in body.split(b"\0") if part}
        return self._result(ok=False, sqlstate=fields.get(b"C"), message=fields.get(b"M"))

    def _failed(self, message: str) -> LoginResult:
        return self._result(ok=False, message=message)

    def _result(
        self,
        *,
        ok: bool,
        sqlstate: str | None = None,
        message: str | None = None,
        rows: tuple[tuple[str | None, ...], ...] = (),
    ) -> LoginResult:
        return LoginResult(
            ok=ok,
            sqlstate=sqlstate,
            message=message,
            discovery=self._discovery,
            rows=rows,
            parameters=self._parameters,
            local_port=self._server.local_port,
            local_address=self._server.local_address,
            tls_version=self._server.tls_version,
            token_asked=self._token_asked,
        )


class _Server:
    """The server's end of a connection: framed messages, bounded."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._bytes_left = MAX_CONVERSATION_BYTES
        name = writer.get_extra_info("sockname")
        self.local_address: str | None = name[0] if isinstance(name, tuple) else None
        self.local_port: int | None = name[1] if isinstance(name, tuple) else None
        tls = writer.get_extra_info("ssl_object")
        self.tls_version: str | None = tls.version() if tls is not None else None

    def send_startup(self, role: str, database: str, application_name: str | None) -> None:
        """StartupMessage, the only message without a type byte."""
        settings = {"user": role, "database": database}
        if application_name is not None:
            settings["application_name"] = application_name
        words = b"".join(word.encode() + b"\0" for pair in settings.items() for word in pair)
        body = struct.pack("!i", PROTOCOL_VERSION) + words + b"\0"
        self._writer.write(struct.pack("!i", len(body) + _LENGTH_BYTES) + body)

    def send(self, kind: bytes, body: bytes) -> None:
        """One message; what is sent after the server has hung up is lost, as in any conversation."""
        self._writer.write(kind + struct.pack("!i", len(body) + _LENGTH_BYTES) + body)

    async def receive(self) -> tuple[bytes, bytes]:
        """The type and the body of the next message; ConnectionError if there is none, or none of this protocol."""
        try:
            head = await self._reader.readexactly(1 + _LENGTH_BYTES)
            length = int.from_bytes(head[1:], "big")
            if not _LENGTH_BYTES <= length <= MAX_MESSAGE_BYTES:
                raise ConnectionError("what answers does not speak PostgreSQL's protocol")
            self._bytes_left -= 1 + length
            if self._bytes_left < 0:
                raise ConnectionError("the server sends too much")
            return head[:1], await self._reader.readexactly(length - _LENGTH_BYTES)
        except asyncio.IncompleteReadError:
            raise ConnectionError("the server hung up without a word") from None

    def hang_up(self) -> None:
        """Close our direction alone."""
        self._writer.write_eof()

    async def read_to_end(self) -> None:
        """Until the server has closed its direction; what it says is thrown away."""
        while await self._reader.read(65_536):
            pass

    def reset(self) -> None:
        """Break the connection: with a linger time of zero, close sends RST (tcp(7), SO_LINGER)."""
        connection = self._writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextlib.asynccontextmanager
async def _conversation(
    address: Address, deadline_seconds: float, encryption: Encryption | None = None, reached: Reached = lambda _: None
) -> AsyncIterator[_Server]:
    """An open connection, closed at the end; all of it within the deadline, else TimeoutError."""
    try:
        async with asyncio.timeout(deadline_seconds):
            reader, writer = await _connect(address, encryption, reached)
            try:
                yield _Server(reader, writer)
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except TimeoutError:
        raise TimeoutError(f"the server took longer than {deadline_seconds:g} s") from None


async def _connect(
    address: Address, encryption: Encryption | None, reached: Reached
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Streams; without `encryption` in the clear, as `hostnossl` lines and loopback allow."""
    match address:
        case TcpAddress(host, port) if encryption is not None:
            return await connect_encrypted(host, port, encryption, reached)
        case TcpAddress(host, port):
            streams = await asyncio.open_connection(host, port)
        case UnixAddress(path):
            streams = await asyncio.open_unix_connection(path)
        case _:
            assert_never(address)
    reached(Milestone.CONNECTED)
    return streams


def _parse_discovery(data: bytes) -> Discovery | None:
    try:
        return msgspec.json.decode(data, type=Discovery)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _parse_row(body: bytes) -> tuple[str | None, ...]:
    """The columns of a DataRow: a count of two bytes, then each with a length of four, -1 for NULL.

    The count is the server's word alone: a row ends with its body.
    """
    columns: list[str | None] = []
    offset = 2
    for _ in range(int.from_bytes(body[:2], "big")):
        if offset >= len(body):
            break
        length = int.from_bytes(body[offset : offset + 4], "big", signed=True)
        offset += 4
        columns.append(None if length < 0 else body[offset : offset + length].decode(errors="replace"))
        offset += max(length, 0)
    return tuple(columns)
