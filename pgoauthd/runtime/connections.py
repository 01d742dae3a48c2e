"""One connection on the validation socket: who may come in, how long it may be silent, how a bad request is answered.

It stands between asyncio's accept and aiohttp's protocol, and never reads a request's body.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, cast

from aiohttp import web

from pgoauthd.runtime.peer import Admission, Shed, read_peer
from pgoauthd.runtime.wire import refusal_body, status_of
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import Refusal

LINGER_SECONDS = 1.0
"""How long a connection that is turned away may take to read its answer."""
MAX_LINGERING = 256
"""Connections that are turned away at once and waited for; more are closed on the spot."""

_REASONS = {
    Shed.UID: Reason.PEER_FORBIDDEN,
    Shed.CONNECTIONS: Reason.VALIDATOR_OVERLOADED,
    Shed.CONNECTIONS_PER_UID: Reason.VALIDATOR_OVERLOADED,
}


class Door:
    """What all connections share: the count of who is in, and the answers for those who are not let in."""

    def __init__(self, admission: Admission, on_shed: Callable[[Shed], None]) -> None:
        self.admission = admission
        self.on_shed = on_shed
        """Told the kind of each connection and request that is turned away."""
        self.lingering = 0
        self._answers = {kind: raw_answer(Refusal(reason, reason.sentence)) for kind, reason in _REASONS.items()}

    def answer(self, kind: Shed) -> bytes:
        """The whole HTTP response for a connection that is turned away."""
        return self._answers[kind]


class Connection(web.RequestHandler):
    """aiohttp's protocol, for peers that are let in."""

    __slots__ = ("_door", "_uid")

    def __init__(self, server: web.Server, door: Door, *, silence_seconds: float) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=silence_seconds,  # from the start: also for the first request's header
            tcp_keepalive=False,
            access_log=cast("Any", None),  # aiohttp's way to have none
            lingering_time=LINGER_SECONDS,
            auto_decompress=False,
        )
        self._door = door
        self._uid: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the peer in, or hand the connection to TurnedAway."""
        uid = read_peer(transport.get_extra_info("socket")).uid
        shed = self._door.admission.enter(uid)
        if shed is None:
            self._uid = uid
            super().connection_made(transport)
            return
        self._door.on_shed(shed)
        away = TurnedAway(self._door, shed)
        transport.set_protocol(away)
        away.connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Count the peer out."""
        if self._uid is not None:
            self._door.admission.leave(self._uid)
            self._uid = None
        super().connection_lost(exc)

    @property
    def welcome(self) -> bool:
        """Whether the peer that was let in may still ask. One that has hung up asks nothing more."""
        return self._uid is None or self._door.admission.allows(self._uid)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is not HTTP. Unlike aiohttp's own answer and log it repeats nothing of the input."""
        del request, status, exc, message
        self._door.on_shed(Shed.REQUEST)
        refusal = Refusal(Reason.REQUEST_INVALID, "the request is not HTTP/1.1 as docs/callout.md has it")
        response = web.Response(
            body=refusal_body(refusal), status=status_of(refusal.reason), content_type="application/json"
        )
        response.force_close()
        return response


class TurnedAway(asyncio.Protocol):
    """Answers the first bytes of a connection, whatever they are, and reads no further."""

    def __init__(self, door: Door, shed: Shed) -> None:
        self._door = door
        self._answer = door.answer(shed)
        self._answered = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait a moment for the peer to ask; closing at once could lose it the answer."""
        self._transport = cast("asyncio.Transport", transport)
        self._door.lingering += 1
        if self._door.lingering > MAX_LINGERING:
            self._say()
            self._transport.close()
        else:
            self._timer = asyncio.get_running_loop().call_later(LINGER_SECONDS, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        """Answer once, and then wait for the peer to hang up."""
        del data
        self._say()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Over."""
        del exc
        self._door.lingering -= 1
        if self._timer is not None:
            self._timer.cancel()

    def _say(self) -> None:
        if not self._answered:
            self._answered = True
            self._transport.write(self._answer)
            self._transport.write_eof()


def raw_answer(refusal: Refusal) -> bytes:
    """A whole HTTP response, for where there is no request to respond to."""
    body, status = refusal_body(refusal), HTTPStatus(status_of(refusal.reason))
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + body
