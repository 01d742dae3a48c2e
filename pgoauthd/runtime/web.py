"""The web server for operators: /metrics, /healthz and an index on a TCP address; never a word about validation.

Writing an exposition takes the event loop a few milliseconds, in which logins wait; at a scrape every few seconds that
is less than a login storm makes them wait for each other.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any, cast

from aiohttp import web

from pgoauthd import __version__
from pgoauthd.config import values as config
from pgoauthd.errors import SocketError
from pgoauthd.runtime.wire import HEALTHY
from pgoauthd.telemetry.metrics import Metrics

MAX_CONNECTIONS = 64
"""More are closed at once: descriptors are there for logins first."""
ACCEPTED_AT_ONCE = 16
"""And waiting to be: asyncio has one number for both, and where no descriptor is left it complains as many times."""
FIRST_REQUEST_SECONDS = 5.0
"""A connection that has not brought a request after so long is closed."""
IDLE_SECONDS = 75.0
"""One that has is closed after so long without another; scrapes come more often."""
STOP_SECONDS = 2.0

_INDEX = f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>pgoauthd</title>
<h1>pgoauthd {__version__}</h1>
<ul><li><a href="/metrics">/metrics</a> for Prometheus</li><li><a href="/healthz">/healthz</a></li></ul>
</html>
"""

_METHODS = frozenset({"GET", "HEAD"})
_COMMON = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class _Connection(web.RequestHandler):
    """aiohttp's protocol, for as many connections as there are seats."""

    __slots__ = ("_deadline", "_first_request_seconds", "_seats")

    def __init__(self, server: web.Server, seats: set[_Connection], first_request_seconds: float) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=IDLE_SECONDS,
            access_log=cast("Any", None),  # aiohttp's way to have none
            lingering_time=1.0,
            auto_decompress=False,
        )
        self._seats = seats
        self._first_request_seconds = first_request_seconds
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a seat, or hang up."""
        stream = cast("asyncio.Transport", transport)
        if len(self._seats) >= MAX_CONNECTIONS:
            stream.set_protocol(asyncio.Protocol())
            stream.abort()
            return
        self._seats.add(self)
        self._deadline = asyncio.get_running_loop().call_later(self._first_request_seconds, stream.abort)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Leave the seat."""
        self._seats.discard(self)
        self.asked()
        super().connection_lost(exc)

    def asked(self) -> None:
        """A request has come: its deadline no longer counts."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class Web:
    """Serves operators between `start` and `stop`."""

    def __init__(
        self, settings: config.Web, metrics: Metrics, *, first_request_seconds: float = FIRST_REQUEST_SECONDS
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._first_request_seconds = first_request_seconds
        self._seats: set[_Connection] = set()
        self._http: web.Server | None = None
        self._accepting: asyncio.Server | None = None

    async def start(self) -> tuple[str, int]:
        """Serve from now on; the address, with the port that the system chose where 0 was asked for.

        Raises:
            SocketError: the address is in use or not one of this host.
        """
        host, port = self._settings.address
        self._http = http = web.Server(self._answer)
        try:
            self._accepting = await asyncio.get_running_loop().create_server(
                lambda: _Connection(http, self._seats, self._first_request_seconds),
                host,
                port,
                backlog=ACCEPTED_AT_ONCE,
            )
        except OSError as error:
            why = os.strerror(error.errno or 0)
            raise SocketError(
                f"{self._settings.listen}: {why}; set web.listen to a free address of this host"
            ) from None
        bound = self._accepting.sockets[0].getsockname()
        return str(bound[0]), int(bound[1])

    async def stop(self) -> None:
        """Accept nothing more, and let a scrape that runs end."""
        if self._accepting is None or self._http is None:
            return
        self._accepting.close()
        self._http.pre_shutdown()
        await self._http.shutdown(STOP_SECONDS)
        self._accepting = self._http = None

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        cast("_Connection", request.protocol).asked()
        if request.method not in _METHODS:
            return web.Response(status=405, text="only GET and HEAD\n", headers={**_COMMON, "Allow": "GET, HEAD"})
        match request.path:
            case "/metrics":
                body, content_type = self._metrics.expose(request.headers.get("Accept", ""))
                return web.Response(body=body, headers={**_COMMON, "Content-Type": content_type})
            case "/healthz":
                return web.Response(body=HEALTHY, headers={**_COMMON, "Content-Type": "application/json"})
            case "/":
                return web.Response(text=_INDEX, content_type="text/html", headers=_COMMON)
            case _:
                return web.Response(status=404, text="nothing here; see /\n", headers=_COMMON)
