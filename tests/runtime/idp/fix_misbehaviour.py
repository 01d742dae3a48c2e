"""The ways in which an identity provider misbehaves when asked for metadata or keys; and what a process holds."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from aiohttp import web

from pgoauthd.tokens.reasons import Reason
from tests.fix_issuer import (
    JWKS,
    OAUTH,
    OPENID,
    Answer,
    LocalIssuer,
    babbles,
    compressed,
    cuts_short,
    endless,
    redirects,
    resets,
    says,
)
from tests.fix_tokens import DROP, key_set, segment, signing_key

HANGING_SECONDS = 0.1
"""The deadline of a fetch that is expected to meet it."""
QUIET_LOOKS = 5
"""So many looks 5 ms apart that find the same are quiet."""


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """What it does where, and what its tokens are refused with."""

    name: str
    where: str
    answer: Callable[[LocalIssuer], Answer]
    reason: Reason

    def begin(self, provider: LocalIssuer) -> None:
        """Misbehave from now on; with the metadata at both of the URLs where it is looked for."""
        for endpoint in (OPENID, OAUTH) if self.where == OPENID else (self.where,):
            provider.script[endpoint] = self.answer(provider)

    @property
    def deadline(self) -> float:
        return HANGING_SECONDS if self.reason is Reason.IDP_TIMEOUT else 10.0


def silent(provider: LocalIssuer) -> Answer:
    """No answer; and unlike LocalIssuer.hang nothing is left of it when the client has hung up."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        while request.transport is not None and not provider.closing.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(provider.closing.wait(), 0.01)
        return web.Response()

    return answer


def drips_on(header: bytes) -> Callable[[LocalIssuer], Answer]:
    """One byte after the other, beginning with the header, for ever."""

    def make(provider: LocalIssuer) -> Answer:
        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            sent = 0
            while request.transport is not None and not provider.closing.is_set():
                request.transport.write(header[sent : sent + 1] or b" ")
                sent += 1
                await asyncio.sleep(0.005)
            return web.Response()

        return answer

    return make


async def resets_in_the_middle(request: web.BaseRequest) -> web.StreamResponse:
    """Half of a key set, and then a TCP reset."""
    transport = cast("asyncio.Transport", request.transport)
    transport.write(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"keys": [')
    return await resets(request)


def document(content: object, status: int = 200) -> Callable[[LocalIssuer], Answer]:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return lambda _provider: says(status, body)


def always(answer: Answer) -> Callable[[LocalIssuer], Answer]:
    return lambda _provider: answer


def names_another(**changes: str) -> Callable[[LocalIssuer], Answer]:
    """Metadata that is good but for `changes`."""
    return lambda provider: says(200, json.dumps({**provider.metadata, **changes}).encode())


async def bombs(_request: web.BaseRequest) -> web.StreamResponse:
    """A hundred megabytes in a hundred kilobytes."""
    return web.Response(body=bomb(), headers={"Content-Encoding": "gzip"})


@functools.cache
def bomb() -> bytes:
    packer = zlib.compressobj(level=1, wbits=zlib.MAX_WBITS | 16)  # in gzip's format
    return b"".join(packer.compress(b" " * 1_000_000) for _ in range(100)) + packer.flush()


HTML = b"<!doctype html><title>Maintenance</title><h1>We are back soon</h1>"

_rsa = signing_key("rsa-1")
_twice = [_rsa.jwk(), signing_key("impostor").jwk(kid="rsa-1")]
_small = signing_key("ed", "EdDSA").jwk(kid=DROP, use=DROP)
_many = [signing_key("ec", "ES256").jwk(kid=f"k{number}") for number in range(10_000)]


def _both(name: str, answer: Callable[[LocalIssuer], Answer], *reasons: Reason) -> list[Misbehaviour]:
    """The same, once for the metadata and once for the keys; with one reason for both, or each its own."""
    return [
        Misbehaviour(f"metadata: {name}", OPENID, answer, reasons[0]),
        Misbehaviour(f"keys: {name}", JWKS, answer, reasons[-1]),
    ]


_INVALID = (Reason.IDP_METADATA_INVALID, Reason.IDP_KEYS_INVALID)

MISBEHAVIOURS = [
    *_both("no answer", silent, Reason.IDP_TIMEOUT),
    *_both("header drips", drips_on(b"HTTP/1.1 200 OK\r\nX: "), Reason.IDP_TIMEOUT),
    *_both("body drips", drips_on(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"), Reason.IDP_TIMEOUT),
    *_both("body without end", always(endless()), *_INVALID),
    *_both("gzip bomb", always(bombs), *_INVALID),
    *_both("gzip", always(compressed(key_set(_rsa))), *_INVALID),
    *_both("redirect", always(redirects("https://elsewhere.example/")), Reason.IDP_ERROR),
    *_both("500", document(b"", 500), Reason.IDP_ERROR),
    *_both("reset", always(resets), Reason.IDP_UNREACHABLE),
    *_both("reset in the middle", always(resets_in_the_middle), Reason.IDP_ERROR),
    *_both("breaks off", always(cuts_short), Reason.IDP_ERROR),
    *_both("no HTTP", always(babbles), Reason.IDP_ERROR),
    *_both("HTML", document(HTML), *_INVALID),
    *_both("nothing", document(b""), *_INVALID),
    *_both("a list", document([]), *_INVALID),
    *_both("nested deeply", document(b'{"keys":' * 50_000), *_INVALID),
    Misbehaviour(
        "metadata: another issuer", OPENID, names_another(issuer="https://evil.example"), Reason.IDP_METADATA_INVALID
    ),
    Misbehaviour(
        "metadata: keys at a cloud's metadata service",
        OPENID,
        names_another(jwks_uri="https://169.254.169.254/keys"),
        Reason.IDP_UNREACHABLE,
    ),
    Misbehaviour(
        "metadata: keys in a file", OPENID, names_another(jwks_uri="file:///etc/passwd"), Reason.IDP_METADATA_INVALID
    ),
    Misbehaviour("keys: empty set", JWKS, document({"keys": []}), Reason.IDP_KEYS_INVALID),
    Misbehaviour("keys: 10,000", JWKS, document({"keys": _many}), Reason.IDP_KEYS_INVALID),
    Misbehaviour("keys: 10,000 small ones", JWKS, document({"keys": [_small] * 10_000}), Reason.IDP_KEYS_INVALID),
    Misbehaviour("keys: all of one kid", JWKS, document({"keys": _twice}), Reason.IDP_KEYS_INVALID),
    Misbehaviour("keys: private ones", JWKS, document({"keys": [_rsa.private_jwk()]}), Reason.IDP_KEYS_INVALID),
]


@dataclass(frozen=True, slots=True)
class Holdings:
    """What this process holds."""

    tasks: int
    sockets: int
    objects: int

    def grown_from(self, before: Holdings, *, spare_objects: int) -> bool:
        more = self.objects - before.objects
        return self.tasks > before.tasks or self.sockets > before.sockets or more > spare_objects


async def holdings() -> Holdings:
    """What is held when connections that are being closed have been: when tasks and sockets stay as many."""
    held = seen = (0, 0)
    same = 0
    for _ in range(200):
        held = (len(asyncio.all_tasks()), open_sockets())
        same = same + 1 if held == seen else 0
        if same == QUIET_LOOKS:
            break
        seen = held
        await asyncio.sleep(0.005)
    gc.collect()
    return Holdings(*held, len(gc.get_objects()))


def open_sockets() -> int:
    return sum(name.startswith("socket:") for name in map(_target, Path("/proc/self/fd").iterdir()))


def _target(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except FileNotFoundError:  # that of the listing itself
        return ""


def peak_memory() -> int:
    """Bytes that the process had in memory at most since `forget_peak_memory`."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines())
    return int(status["VmHWM"].split()[0]) * 1024


def forget_peak_memory() -> int:
    """Begin anew with what there is now (proc(5), clear_refs); that many bytes."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return peak_memory()


def forged(token: str, kid: str, **header: Any) -> str:  # noqa: ANN401 - any JSON
    """The token with another header; the signature, now wrong, stays."""
    _, rest = token.split(".", 1)
    return f"{segment({'alg': 'RS256', 'kid': kid, 'typ': 'at+jwt', **header})}.{rest}"
