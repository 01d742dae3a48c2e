"""A running callout on a socket of its own, with real keys behind it; and clients that say exactly what they want."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from pgoauthd.config import values as config
from pgoauthd.correlation.verdicts import SessionVerdict
from pgoauthd.runtime.callout import Callout
from pgoauthd.runtime.clock import Clock, SystemClock
from pgoauthd.runtime.idp.introspector import Introspectors
from pgoauthd.runtime.idp.keystore import KeyStore
from pgoauthd.runtime.listener import open_listener
from pgoauthd.runtime.peer import AllowedUsers
from pgoauthd.runtime.validation import Validator, most_waiting
from pgoauthd.telemetry.metrics import Metrics
from pgoauthd.tokens.reasons import Reason
from tests.fix_issuer import LocalIssuer
from tests.fix_log import logging_to
from tests.fix_tokens import AUDIENCE, mint

DEADLINE = 30.0
NAME = "id"
SESSION = "68a1b2c3.1f4"
MEMBERS = {"authorized", "authn_id", "reason", "stage", "fault", "message", "remedy"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: status, headers with names in lower case, body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed

    @property
    def reason(self) -> str:
        return str(self.json["reason"])


@dataclass
class Running:
    """A callout that serves, and what it said and counted."""

    path: str
    callout: Callout
    metrics: Metrics
    log: io.StringIO
    verdicts: list[SessionVerdict] = field(default_factory=list)

    def value(self, name: str, **labels: str) -> float:
        found = self.metrics.registry.get_sample_value(f"pgoauthd_{name}", labels)
        assert found is not None, f"no series {name}{labels}"
        return found

    def rejected(self, kind: str) -> float:
        return self.value("callout_rejected_total", kind=kind)

    def exposition(self) -> str:
        return self.metrics.expose("")[0].decode()

    async def post(self, target: str, body: bytes, *headers: str) -> Answer:
        return await exchange(self.path, http("POST", target, body, *headers))

    async def get(self, target: str) -> Answer:
        return await exchange(self.path, http("GET", target))

    async def validate(self, token: str, issuer: str, **members: Any) -> Answer:  # noqa: ANN401 - any member
        return await self.post("/v1/validate", validate_body(token, issuer, **members))

    async def introspect(self, token: str) -> Answer:
        return await self.post("/v1/introspect", urlencode({"token": token}).encode())


def refused(answer: Answer, status: int, reason: Reason) -> None:
    """Fail unless the answer is this refusal, in the form that the contract has for it."""
    assert (answer.status, answer.reason) == (status, reason), answer
    assert answer.json["authorized"] is False
    assert answer.json["authn_id"] is None
    assert set(answer.json) == MEMBERS
    assert answer.headers["content-type"] == "application/json"


def token_for(provider: LocalIssuer, **claims: Any) -> str:  # noqa: ANN401 - any claim
    """A token of the provider that is good now but for `claims`."""
    return mint(time.time(), **({"iss": provider.issuer} | claims))


def validate_body(token: str, issuer: str, **members: Any) -> bytes:  # noqa: ANN401 - any member
    request = {"token": token, "role": "alice", "session_id": SESSION, "issuer": issuer}
    return json.dumps(request | members).encode()


def http(method: str, target: str, body: bytes | None = None, *headers: str) -> bytes:
    """A request that asks for the connection to be closed after the reply."""
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + (body or b"")


async def exchange(path: str, request: bytes) -> Answer:
    """Send a request on a connection of its own and read to the end of the connection."""
    async with asyncio.timeout(DEADLINE), connected(path) as (reader, writer):
        with contextlib.suppress(ConnectionError):
            writer.write(request)
            await writer.drain()
        return parse(await read_all(reader))


async def read_all(reader: asyncio.StreamReader) -> bytes:
    """What comes until the connection ends, whichever way it ends."""
    said = bytearray()
    with contextlib.suppress(ConnectionError):
        while part := await reader.read(65_536):
            said += part
    return bytes(said)


def parse(raw: bytes) -> Answer:
    head, _, body = raw.partition(b"\r\n\r\n")
    status, *lines = head.decode("ascii").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    assert int(headers["content-length"]) == len(body), raw
    return Answer(int(status.split()[1]), headers, body)


@contextlib.asynccontextmanager
async def connected(path: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def issuer_settings(provider: LocalIssuer, **changes: Any) -> config.Issuer:  # noqa: ANN401 - any field
    known: dict[str, Any] = {"issuer": provider.issuer, "name": NAME, "allow_loopback_http": True}
    return config.Issuer(audiences=(AUDIENCE,), **(known | changes))


@contextlib.asynccontextmanager
async def running_callout(
    directory: Path,
    *issuers: config.Issuer,
    clock: Clock | None = None,
    users: frozenset[int] = frozenset(),
    on_verdict: Callable[[SessionVerdict], None] | None = None,
    **settings: Any,  # noqa: ANN401 - any field of config.Callout
) -> AsyncIterator[Running]:
    """Serve on a socket in `directory`; the verdicts are kept unless `on_verdict` takes them."""
    path = str(directory / "run" / "pgoauthd.sock")
    said, metrics, verdicts = io.StringIO(), Metrics(), list[SessionVerdict]()
    metrics.declare(clusters=(), issuers=[issuer.label for issuer in issuers], sinks=())
    clock = clock or SystemClock()
    settings_ = config.Callout(socket=path, **settings)
    with logging_to(said) as log, open_listener(path) as listener:
        async with (
            KeyStore(issuers, metrics=metrics, log=log, clock=clock) as keys,
            Introspectors(issuers, keys=keys, metrics=metrics, log=log, clock=clock) as introspectors,
        ):
            validator = Validator(
                tuple(issuer.policy for issuer in issuers),
                keys,
                introspection=introspectors,
                max_token_bytes=settings_.max_token_bytes,
                max_waiting=most_waiting(settings_.max_connections, len(issuers)),
                metrics=metrics,
                clock=clock,
            )
            callout = Callout(
                settings_,
                validator,
                users=AllowedUsers(uids=users, unknown=(), group=None),
                on_verdict=on_verdict or verdicts.append,
                metrics=metrics,
                log=log,
                clock=clock,
            )
            await callout.start(listener)
            try:
                yield Running(path, callout, metrics, said, verdicts)
            finally:
                await callout.stop()
