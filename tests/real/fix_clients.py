"""Real drivers that log in with a token: their programs, and a relay that counts the connections that they make."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

ROOT = Path(__file__).parents[2]
MODULE = Path(__file__).parent / "clients" / "pgx"
BUILT = ROOT / "build" / "clients" / "pgx-login"
DOWNLOAD_SECONDS = 200
BUILD_SECONDS = 500
DEADLINE_SECONDS = 120
GO = {"GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local", "GOWORK": "off"}
"""Only what go.sum names, with the Go that is here."""


@dataclass(frozen=True, slots=True)
class Client:
    """A program that takes connection settings as its argument and a token from the file TOKEN_FILE."""

    name: str
    version: str
    words: tuple[str, ...]
    is_libpq: bool


def _pgx_version() -> str:
    found = re.search(r"jackc/pgx/v5 v(\S+)", (MODULE / "go.mod").read_text(encoding="utf-8"))
    assert found is not None
    return found[1]


def _psycopg_version() -> str:
    major, minor = divmod(psycopg.pq.version(), 10_000)
    return f"{psycopg.__version__} with libpq {major}.{minor}"


PGX = Client("pgx", _pgx_version(), (str(BUILT),), is_libpq=False)
PSYCOPG = Client(
    "psycopg", _psycopg_version(), (sys.executable, "-m", "tests.real.clients.psycopg_login"), is_libpq=True
)
CLIENTS = (PGX, PSYCOPG)


@functools.cache
def pgx_problem() -> str | None:
    """Why there is no program with pgx; None where there is one, which it builds."""
    if shutil.which("go") is None:
        return "go is not found"
    try:
        downloaded = _go("mod", "download", seconds=DOWNLOAD_SECONDS)
    except subprocess.TimeoutExpired:
        return f"no modules from the module proxy within {DOWNLOAD_SECONDS} s"
    if downloaded.returncode != 0:
        return downloaded.stderr[-300:]
    built = _go("build", "-o", str(BUILT), ".", seconds=BUILD_SECONDS)
    assert built.returncode == 0, built.stderr
    return None


def _go(*words: str, seconds: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["go", *words], cwd=MODULE, env=os.environ | GO, capture_output=True, text=True, check=False, timeout=seconds
    )


def usable(client: Client) -> Client:
    """The client; the test is skipped, loudly, where it cannot be had."""
    if client is PGX and (problem := pgx_problem()) is not None:
        pytest.skip(f"NOT TESTED with pgx {client.version}: {problem}")
    return client


@dataclass(frozen=True, slots=True)
class Login:
    """What a client said of a login, and the connections that it took."""

    role: str
    identity: str
    error: str
    sqlstate: str
    ports: tuple[int, ...]
    """Of each connection, in order: the client's port as the server knows it."""
    in_the_clear: tuple[bool, ...]
    """Whether somebody on the network could have read the token from each."""


async def log_in(client: Client, port: int, settings: Mapping[str, str], token: str | None) -> Login:
    """Have the client log in to the server on this port of 127.0.0.1."""
    with tempfile.TemporaryDirectory(prefix="pgoauthd-client-") as directory:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "TOKEN_FILE"))}
        if client.is_libpq:
            environment["PGOAUTHDEBUG"] = "UNSAFE"  # or it wants an issuer with https
        if token is not None:
            environment["TOKEN_FILE"] = str(_write(Path(directory) / "token", token))
        async with relay(port) as wire:
            whole = {"host": "127.0.0.1", "port": str(wire.port), "dbname": "app", **settings}
            said = await _run(client, " ".join(f"{key}={value}" for key, value in whole.items()), environment)
    said["error"] = said["error"].replace(str(wire.port), "5432")
    clear = [token is not None and token.encode() in bytes(one.sent) for one in wire.connections]
    return Login(**said, ports=tuple(one.port for one in wire.connections), in_the_clear=tuple(clear))


def _write(path: Path, token: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(token, encoding="ascii")
    return path


async def _run(client: Client, settings: str, environment: Mapping[str, str]) -> dict[str, str]:
    process = await asyncio.create_subprocess_exec(
        *client.words, settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, cwd=ROOT
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(), DEADLINE_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    assert (process.returncode, errors) == (0, b""), errors.decode()
    said: dict[str, str] = json.loads(output)
    return said


@dataclass(slots=True)
class Connection:
    port: int
    sent: bytearray = field(default_factory=bytearray, repr=False)


@dataclass(slots=True)
class Relay:
    """Connects each client with the server."""

    server_port: int
    port: int = 0
    connections: list[Connection] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, server = await asyncio.open_connection("127.0.0.1", self.server_port)
        connection = Connection(server.get_extra_info("sockname")[1])
        self.connections.append(connection)
        await asyncio.gather(_pump(reader, server, connection.sent), _pump(upstream, writer, bytearray()))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: bytearray) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            seen += data
            writer.write(data)
            await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def relay(server_port: int) -> AsyncIterator[Relay]:
    """On a free port of 127.0.0.1; when it is over, all connections are closed."""
    wire = Relay(server_port)
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.ensure_future(wire.serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    wire.port = server.sockets[0].getsockname()[1]
    try:
        yield wire
    finally:
        server.close()
        await asyncio.gather(*tasks)
