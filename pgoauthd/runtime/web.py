"""The web server for operators: /metrics, /healthz and an index on a TCP address; never a word about validation.

Writing an exposition takes the event loop a few milliseconds, in which logins wait; at a scrape every few seconds that
is less than a login storm makes them wait for each other.
"""

from __future__ import annotations

import asyncio

from aiohttp import web

from pgoauthd import __version__, config
from pgoauthd.errors import SocketError
from pgoauthd.runtime.wire import HEALTHY
from pgoauthd.telemetry.metrics import Metrics

IDLE_SECONDS = 75.0
"""A connection without a request, the first one included, is closed after so long; scrapes come more often."""
STOP_SECONDS = 2.0

_INDEX = f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>pgoauthd</title>
<h1>pgoauthd {__version__}</h1>
<ul><li><a href="/metrics">/metrics</a> for Prometheus</li><li><a href="/healthz">/healthz</a></li></ul>
</html>
"""

_METHODS = frozenset({"GET", "HEAD"})
_COMMON = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class Web:
    """Serves operators between `start` and `stop`."""

    def __init__(self, settings: config.Web, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._http: web.Server | None = None
        self._accepting: asyncio.Server | None = None

    async def start(self) -> tuple[str, int]:
        """Serve from now on; the address, with the port that the system chose where 0 was asked for.

        Raises:
            SocketError: the address is in use or not one of this host.
        """
        host, port = self._settings.address
        self._http = web.Server(
            self._answer, access_log=None, keepalive_timeout=IDLE_SECONDS, auto_decompress=False, lingering_time=1.0
        )
        try:
            self._accepting = await asyncio.get_running_loop().create_server(self._http, host, port)
        except OSError as error:
            raise SocketError(
                f"{self._settings.listen}: {error.strerror}; set web.listen to a free address of this host"
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
