"""The validation socket: HTTP/1.1 on a Unix socket (docs/callout.md), from request to reply; never judges.

Whatever goes wrong is a refusal: no answer of this module lets anybody in but the one that the validator authorized.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import TypeVar, cast

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from structlog.typing import FilteringBoundLogger

from pgoauthd.config import values as config
from pgoauthd.correlation.verdicts import SessionVerdict
from pgoauthd.runtime import wire
from pgoauthd.runtime.clock import Clock
from pgoauthd.runtime.connections import Connection, Door
from pgoauthd.runtime.listener import Listener
from pgoauthd.runtime.peer import Admission, AllowedUsers, Shed
from pgoauthd.runtime.validation import AwaitsIssuer, Validator
from pgoauthd.telemetry.log import frames_of
from pgoauthd.telemetry.metrics import Metrics
from pgoauthd.tokens.reasons import Reason, Stage
from pgoauthd.tokens.verdict import Refusal, Verdict

T = TypeVar("T")

BACKLOG = 4096
"""Connections that the kernel keeps for us in a storm; the system's net.core.somaxconn may allow fewer."""
ACCEPTED_AT_ONCE = 16
"""asyncio takes its `backlog` for this, too, and where no descriptor is left it complains as many times a second."""
STOP_SECONDS = 5.0
"""For requests that run when the daemon stops."""

_JSON = {"Content-Type": "application/json"}


class _Terms:
    """By what requests are judged, until others are used; knows how many still wait for a verdict by them."""

    def __init__(self, settings: config.Callout, validator: Validator) -> None:
        self.validator = validator
        self.request_timeout_seconds = settings.request_timeout_seconds
        self.largest_request = wire.largest_request(settings.max_token_bytes)
        self._waiting = 0
        self._nobody_waits = asyncio.Event()
        self._nobody_waits.set()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """A request that waits for its verdict in this block."""
        self._waiting += 1
        self._nobody_waits.clear()
        try:
            yield
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._nobody_waits.set()

    async def over(self) -> None:
        """Wait until nobody waits; each request has its deadline, so this has one."""
        await self._nobody_waits.wait()


class Callout:
    """Serves the validation socket between `start` and `stop`."""

    def __init__(
        self,
        settings: config.Callout,
        validator: Validator,
        *,
        users: AllowedUsers,
        on_verdict: Callable[[SessionVerdict], None],
        metrics: Metrics,
        log: FilteringBoundLogger,
        clock: Clock,
    ) -> None:
        """`on_verdict` gets each verdict before the reply is sent, so that it is there when the server logs the end."""
        self._terms = _Terms(settings, validator)
        self._on_verdict = on_verdict
        self._log = log
        self._clock = clock
        durations = {stage: metrics.validation_duration.labels(stage) for stage in Stage}
        # By reason: increment its counter, observe the duration of its stage.
        self._meters = {
            reason: (metrics.validations.labels(reason, reason.stage).inc, durations[reason.stage].observe)
            for reason in Reason
        }
        self._shed = metrics.callout_shed
        admission = Admission(
            allowed=users.uids,
            own_uid=os.geteuid(),
            max_total=settings.max_connections,
            max_per_uid=settings.max_connections_per_uid,
        )
        metrics.callout_connections.set_function(lambda: admission.open)
        self._door = Door(admission, self._count_shed)
        self._http: web.Server | None = None
        self._accepting: asyncio.Server | None = None

    async def start(self, listener: Listener) -> None:
        """Accept connections from now on."""
        http = web.Server(self._answer, request_factory=self._make_request)
        self._http = http
        self._accepting = await asyncio.get_running_loop().create_server(
            lambda: Connection(http, self._door, silence_seconds=self._terms.request_timeout_seconds),
            sock=listener.socket,
            backlog=ACCEPTED_AT_ONCE,
        )
        listener.socket.listen(BACKLOG)

    def use(self, settings: config.Callout, validator: Validator, users: AllowedUsers) -> Callable[[], Awaitable[None]]:
        """Judge by these from now on; what is returned waits for the requests that wait for a verdict of before.

        Connections stay; a request is judged by what is in use when it has arrived. `settings.socket` changes nothing.
        """
        before, self._terms = self._terms, _Terms(settings, validator)
        self._door.admission.use(
            allowed=users.uids, max_total=settings.max_connections, max_per_uid=settings.max_connections_per_uid
        )
        return before.over

    async def stop(self) -> None:
        """Accept nothing more, and give the requests that run STOP_SECONDS to end."""
        if self._accepting is None or self._http is None:
            return
        self._accepting.close()
        await asyncio.sleep(0)  # what has arrived becomes a request that runs
        self._http.pre_shutdown()
        await self._http.shutdown(STOP_SECONDS)
        self._accepting = self._http = None

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """The boundary: whatever happens below, there is a reply."""
        try:
            if not cast("Connection", request.protocol).welcome:
                self._count_shed(Shed.UID)
                return _reply(
                    Verdict.refused(Refusal(Reason.PEER_FORBIDDEN, Reason.PEER_FORBIDDEN.sentence)), close=True
                )
            match request.path, request.method:
                case "/v1/validate", "POST":
                    return await self._validate(request)
                case "/v1/introspect", "POST":
                    return await self._introspect(request)
                case "/v1/healthz", "GET":
                    return web.Response(body=wire.HEALTHY, headers=_JSON)
                case (("/v1/validate" | "/v1/introspect" | "/v1/healthz"), _):
                    return self._turned_away("this path takes another method", HTTPStatus.METHOD_NOT_ALLOWED)
                case _:
                    return self._turned_away("there is nothing at this path", HTTPStatus.NOT_FOUND)
        except Exception as error:  # noqa: BLE001 - the boundary of a request
            self._meters[Reason.INTERNAL_ERROR][0]()
            return _reply(self._unforeseen(error))

    async def _validate(self, request: web.BaseRequest) -> web.Response:
        started = self._clock.monotonic()
        asked = await self._read(request, wire.read_validate)
        if isinstance(asked, Refusal):
            return _reply(Verdict.refused(asked), close=True)
        terms = self._terms
        begun = self._begin(lambda: terms.validator.begin(asked.token, asked.login))
        verdict = begun if isinstance(begun, Verdict) else await self._finish(begun, terms, started)
        seconds = self._clock.monotonic() - started
        self._on_verdict(asked.judged(verdict, time=self._clock.time(), seconds=seconds))
        self._count_judged(verdict, seconds)
        return _reply(verdict)

    async def _introspect(self, request: web.BaseRequest) -> web.Response:
        started = self._clock.monotonic()
        token = await self._read(request, wire.read_introspect)
        if isinstance(token, Refusal):
            return _reply(Verdict.refused(token), close=True)
        terms = self._terms
        begun = self._begin(lambda: terms.validator.begin_introspection(token))
        verdict = begun if isinstance(begun, Verdict) else await self._finish(begun, terms, started)
        self._count_judged(verdict, self._clock.monotonic() - started)
        return web.Response(body=wire.write_introspection(verdict), headers=_JSON)

    async def _read(self, request: web.BaseRequest, parse: Callable[[bytes], T | Refusal]) -> T | Refusal:
        """The request's body, parsed; every refusal from here is counted as turned away."""
        shed, content, largest = Shed.REQUEST, request.content, self._terms.largest_request
        try:
            # It came with the header, as it nearly always does, or must be waited for.
            body = content.read_nowait() if content.is_eof() else await self._wait_for_body(request)
            if len(body) > largest:
                raise web.HTTPRequestEntityTooLarge(largest, len(body))  # noqa: TRY301 - as aiohttp does
            asked = parse(body)
        except TimeoutError:
            shed, asked = Shed.DEADLINE, Refusal(Reason.VALIDATOR_TIMEOUT, "the request did not arrive in time")
        except web.HTTPRequestEntityTooLarge:
            message = f"the request is larger than {largest} bytes"
            shed, asked = Shed.SIZE, Refusal(Reason.TOKEN_TOO_LARGE, message)
        except (ConnectionError, web.RequestPayloadError):
            asked = Refusal(Reason.REQUEST_INVALID, "the request broke off")
        if isinstance(asked, Refusal):
            self._count_shed(shed)
        return asked

    async def _wait_for_body(self, request: web.BaseRequest) -> bytes:
        """The rest of the body; aiohttp gives up where it is larger than `_make_request` allows."""
        async with asyncio.timeout(self._terms.request_timeout_seconds):
            await _confirm(request)
            return await request.read()

    def _begin(self, begin: Callable[[], Verdict | AwaitsIssuer]) -> Verdict | AwaitsIssuer:
        try:
            return begin()
        except Exception as error:  # noqa: BLE001 - the session is known here, so its verdict is to be kept
            return self._unforeseen(error)

    async def _finish(self, begun: AwaitsIssuer, terms: _Terms, started: float) -> Verdict:
        """The rest of a judgement that waits for the issuer, within what is left of the request's time."""
        limit = terms.request_timeout_seconds
        try:
            async with asyncio.timeout(started + limit - self._clock.monotonic()):
                with terms.waiting():
                    return await terms.validator.finish(begun)
        except TimeoutError:
            return Verdict.refused(Refusal(Reason.VALIDATOR_TIMEOUT, f"no verdict within {limit:g} seconds"))
        except Exception as error:  # noqa: BLE001 - as in _begin
            return self._unforeseen(error)

    def _unforeseen(self, error: Exception) -> Verdict:
        self._log.error("request_failed_unforeseen", error=type(error).__name__, frames=frames_of(error))
        return Verdict.refused(Refusal(Reason.INTERNAL_ERROR, Reason.INTERNAL_ERROR.sentence))

    def _turned_away(self, message: str, status: HTTPStatus) -> web.Response:
        self._count_shed(Shed.REQUEST)
        response = _reply(Verdict.refused(Refusal(Reason.REQUEST_INVALID, message)), close=True)
        response.set_status(status)
        return response

    def _count_judged(self, verdict: Verdict, seconds: float) -> None:
        increment, observe = self._meters[verdict.reason]
        increment()
        observe(seconds)

    def _count_shed(self, kind: Shed) -> None:
        self._shed.labels(kind).inc()

    def _make_request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        return web.BaseRequest(
            message,
            payload,
            protocol,
            writer,
            task,
            asyncio.get_running_loop(),
            client_max_size=self._terms.largest_request,
        )


async def _confirm(request: web.BaseRequest) -> None:
    """Tell a client that waits for it to go on (RFC 9110 section 10.1.1); some curls do with more than 1 KiB."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0


def _reply(verdict: Verdict, *, close: bool = False) -> web.Response:
    response = web.Response(body=wire.write_reply(verdict), status=wire.status_of(verdict.reason), headers=_JSON)
    if close:
        response.force_close()
    return response
