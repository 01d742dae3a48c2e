"""A warm validation beside an aiohttp handler that does nothing, on the same kind of socket, in one run.

    make bench   or   python -m bench.bench_callout

Each server is a process of its own on a Unix socket. One client process sends the shim's request, one connection per
request as the shim does, to both in turn; medians of the rounds and the ratio round by round are printed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from aiohttp import web

from pgoauthd.config.reader import parse
from pgoauthd.config.values import Config
from pgoauthd.daemon import running
from pgoauthd.demo.issuer import AUDIENCE, DemoIssuer
from pgoauthd.telemetry.log import configure

ROUNDS = 15
FRESH_ROUNDS = 5
REQUESTS = 400
ALGORITHMS = ("RS256", "ES256")


def noop_server(path: str) -> None:
    """An aiohttp application with one handler that reads the request and answers with as many bytes as we do."""
    reply = json.dumps({"authorized": True, "authn_id": "alice", "reason": "ok", "stage": "none", "fault": "none",
                        "message": "The login succeeded.", "remedy": "Nothing to do."}).encode()  # fmt: skip

    async def handler(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=reply, content_type="application/json")

    app = web.Application()
    app.router.add_post("/v1/validate", handler)
    web.run_app(app, path=path, print=None, access_log=None, handle_signals=False)


def our_server(config: str) -> None:
    """The daemon, with its socket, its keys and its metrics."""

    async def serve() -> None:
        async with running(parse(config), log=configure("error", "json", sys.stderr)):
            await asyncio.get_running_loop().create_future()

    asyncio.run(serve())


def request(token: str, issuer: str, number: int) -> bytes:
    """What the shim sends."""
    body = json.dumps({
        "token": token, "role": "alice", "database": "app", "client_addr": "127.0.0.1", "client_port": 50000,
        "session_id": f"6b02415c.{number:x}", "pid": number, "hba_file": "/etc/pg_hba.conf", "hba_line": 6,
        "issuer": issuer, "scope": "openid", "usermap": None, "delegate": False, "server_version": 180006,
        "cluster_name": None,
    }).encode()  # fmt: skip
    head = "POST /v1/validate HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def ask(path: str, message: bytes) -> bytes:
    """One connection, one request, the whole reply."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall(message)
        reply = b""
        while part := connection.recv(65536):
            reply += part
        return reply


def seconds(path: str, messages: Sequence[bytes]) -> float:
    """The time of one request after the other."""
    started = time.perf_counter()
    for message in messages:
        ask(path, message)
    return time.perf_counter() - started


def compare(title: str, directory: Path, rounds: Sequence[Sequence[bytes]]) -> None:
    """One row: the messages of each round go to both; those of the first are the warm-up."""
    ours, noop = f"{directory}/ours.sock", f"{directory}/noop.sock"
    first, *counted = rounds
    assert b'"authorized":true' in ask(ours, first[0]), ask(ours, first[0])  # noqa: S101 - no benchmark of a refusal
    seconds(ours, first)
    seconds(noop, first)
    pairs = [(seconds(ours, messages), seconds(noop, messages)) for messages in counted]
    mine, theirs = (statistics.median(column) / len(first) * 1e6 for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    print(f"{title:26} validation {mine:6.0f} µs  no-op {theirs:6.0f} µs  ratio {ratio:4.2f}")


def configuration(directory: Path, issuer: DemoIssuer) -> str:
    """The daemon's configuration for this issuer."""
    return f"""
[callout]
socket = "{directory}/ours.sock"
allowed_users = [{os.getuid()}]
[web]
listen = "127.0.0.1:0"
[[issuers]]
issuer = "{issuer.issuer}"
audiences = ["{AUDIENCE}"]
algorithms = ["RS256", "ES256"]
allow_loopback_http = true
"""


async def main() -> None:
    """Both servers, an issuer, and the table."""
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        async with DemoIssuer() as issuer:
            config: str = configuration(directory, issuer)
            assert isinstance(parse(config), Config)  # noqa: S101 - fails here rather than in the other process
            for target, argument in ((noop_server, f"{directory}/noop.sock"), (our_server, config)):
                process = spawn.Process(target=target, args=(argument,), daemon=True)
                process.start()
                stack.callback(process.terminate)
            while not all((directory / f"{kind}.sock").exists() for kind in ("noop", "ours")):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            print(f"{REQUESTS} requests, one connection each, median of {ROUNDS} rounds in turn")
            for algorithm in ALGORITHMS:
                again = [request(issuer.mint("alice", key=issuer.key(algorithm)), issuer.issuer, 4711)] * REQUESTS
                await asyncio.to_thread(compare, f"{algorithm}, the same token", directory, [again] * (ROUNDS + 1))
            for algorithm in ALGORITHMS:
                fresh = await asyncio.to_thread(new_tokens, issuer, algorithm)
                await asyncio.to_thread(compare, f"{algorithm}, a new token each", directory, fresh)


def new_tokens(issuer: DemoIssuer, algorithm: str) -> list[list[bytes]]:
    """Rounds of requests of which no two have the same token."""
    key = issuer.key(algorithm)
    return [
        [request(issuer.mint("alice", key=key, jti=f"{at}-{i}"), issuer.issuer, 4711) for i in range(REQUESTS)]
        for at in range(FRESH_ROUNDS + 1)
    ]


if __name__ == "__main__":
    asyncio.run(main())
