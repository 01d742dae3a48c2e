"""What an identity provider that takes 20 ms to answer costs logins: how often it is asked, and what is remembered.

    make bench   or   python -m bench.bench_issuer

The daemon is a process of its own on a Unix socket; the providers and the callers are this process. Callers ask as the
shim does, one connection per login. Counts are those of requests that reached a provider.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import socket
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

from bench.bench_callout import ask, our_server, request
from pgoauthd.config.reader import parse
from pgoauthd.config.values import Config
from pgoauthd.demo.issuer import AUDIENCE, INTROSPECTION_CLIENT, DemoIssuer

ANSWER_SECONDS = 0.02
COLD_LOGINS = 200
WARM_LOGINS = 1000
ASKING_LOGINS = 100
"""Each waits for the provider, one after the other."""
ROUNDS = 15
ROUND_LOGINS = 200
AUTHORIZED = b'"authorized":true'


class SlowIssuer(DemoIssuer):
    """Takes ANSWER_SECONDS for everything, and counts by endpoint what it is asked."""

    def __init__(self, realm: str) -> None:
        super().__init__(realm=realm)
        self.asked = Counter[str]()

    @web.middleware
    async def _suffer(self, asked: web.Request, handler: Handler) -> web.StreamResponse:
        self.asked[asked.path.rpartition("/")[2]] += 1
        await asyncio.sleep(ANSWER_SECONDS)
        return await handler(asked)

    def asked_since(self, before: Counter[str]) -> str:
        """How often each endpoint was asked since the counts were `before`."""
        counts = self.asked - before
        return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "not asked"


class Bench:
    """The daemon's socket and its two issuers: one of JWTs, one of opaque tokens."""

    def __init__(self, path: str, signing: SlowIssuer, opaque: SlowIssuer) -> None:
        self._path = path
        self._signing = signing
        self._opaque = opaque
        self._number = 0

    def jwts(self, count: int) -> list[bytes]:
        """Logins with tokens of which no two are the same."""
        tokens = [self._signing.mint("alice") for _ in range(count)]
        return [request(token, self._signing.issuer, 4711) for token in tokens]

    def opaques(self, count: int) -> list[bytes]:
        """The same with opaque tokens."""
        return [request(self._opaque.mint_opaque("alice"), self._opaque.issuer, 4711) for _ in range(count)]

    async def together(self, title: str, issuer: SlowIssuer, messages: Sequence[bytes]) -> None:
        """One row: all at the same time."""
        before, started = issuer.asked.copy(), time.perf_counter()
        replies = await asyncio.gather(*(self._exchange(message) for message in messages))
        seconds = time.perf_counter() - started
        assert all(AUTHORIZED in reply for reply in replies)  # noqa: S101 - no benchmark of refusals
        row(title, len(messages), f"{seconds * 1e3:7.1f} ms for all", issuer.asked_since(before))

    async def in_turn(self, title: str, issuer: SlowIssuer, messages: Sequence[bytes]) -> None:
        """One row: one after the other."""
        before = issuer.asked.copy()
        seconds = await asyncio.to_thread(self._seconds, messages)
        row(title, len(messages), f"{seconds / len(messages) * 1e6:7.0f} µs each", issuer.asked_since(before))

    async def side_by_side(self) -> None:
        """One row: tokens that are remembered beside tokens never seen, in turn."""
        again = self.jwts(1) * ROUND_LOGINS
        await asyncio.to_thread(self._seconds, again)
        pairs = []
        for _ in range(ROUNDS):
            fresh = self.jwts(ROUND_LOGINS)
            pairs.append([await asyncio.to_thread(self._seconds, messages) for messages in (again, fresh)])
        hit, miss = (statistics.median(column) / ROUND_LOGINS * 1e6 for column in zip(*pairs, strict=True))
        ratio = statistics.median(fresh / known for known, fresh in pairs)
        print(f"remembered {hit:4.0f} µs, never seen {miss:4.0f} µs: ratio {ratio:4.2f} (median of {ROUNDS} rounds)")

    async def _exchange(self, message: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self._path)
        writer.write(message)
        reply = await reader.read()
        writer.close()
        return reply

    def _seconds(self, messages: Sequence[bytes]) -> float:
        started = time.perf_counter()
        for message in messages:
            assert AUTHORIZED in ask(self._path, message)  # noqa: S101 - as above
        return time.perf_counter() - started


def listens(path: str) -> bool:
    """Whether the daemon takes connections."""
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(path) == 0


def row(title: str, logins: int, seconds: str, asked: str) -> None:
    """One line of the table."""
    print(f"{title:42} {logins:5} logins  {seconds:20}  {asked}")


def configuration(directory: Path, signing: SlowIssuer, opaque: SlowIssuer) -> str:
    """The daemon's configuration, with the client's secret in a file."""
    secret = directory / "secret"
    secret.touch(mode=0o600)
    secret.write_text(opaque.client_secret, encoding="utf-8")
    return f"""
[callout]
socket = "{directory}/ours.sock"
allowed_users = [{os.getuid()}]
[web]
listen = "127.0.0.1:0"
[[issuers]]
issuer = "{signing.issuer}"
audiences = ["{AUDIENCE}"]
allow_loopback_http = true
[[issuers]]
issuer = "{opaque.issuer}"
audiences = ["{AUDIENCE}"]
mode = "introspect"
allow_loopback_http = true
[issuers.introspection]
client_id = "{INTROSPECTION_CLIENT}"
client_secret_file = "{secret}"
"""


async def main() -> None:
    """The providers, the daemon, and the table."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        async with SlowIssuer("signing") as signing, SlowIssuer("opaque") as opaque:
            config = configuration(directory, signing, opaque)
            assert isinstance(parse(config), Config)  # noqa: S101 - fails here rather than in the other process
            bench = Bench(f"{directory}/ours.sock", signing, opaque)
            cold = bench.jwts(COLD_LOGINS)
            process = multiprocessing.get_context("spawn").Process(target=our_server, args=(config,), daemon=True)
            process.start()
            stack.callback(process.terminate)
            while not listens(f"{directory}/ours.sock"):  # noqa: ASYNC110 - another process does
                await asyncio.sleep(0.001)
            print(f"an identity provider that takes {ANSWER_SECONDS * 1e3:g} ms to answer")
            await bench.together("JWTs, the moment the daemon starts", signing, cold)
            await bench.in_turn("JWTs, never seen", signing, bench.jwts(WARM_LOGINS))
            await bench.in_turn("JWTs, the same again", signing, bench.jwts(1) * WARM_LOGINS)
            await bench.in_turn("opaque, never seen", opaque, bench.opaques(ASKING_LOGINS))
            await bench.in_turn("opaque, the same again", opaque, bench.opaques(1) * WARM_LOGINS)
            await bench.together("opaque, the same at the same time", opaque, bench.opaques(1) * COLD_LOGINS)
            await bench.side_by_side()


if __name__ == "__main__":
    asyncio.run(main())
