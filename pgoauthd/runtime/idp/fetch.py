"""Talks HTTP to one identity provider: asks for documents, posts forms; follows no redirect and trusts no answer.

The rules are those for a server that asks where a configuration and a provider's metadata say: only https (http on
loopback by explicit setting), no redirects, no compression, a size limit, one deadline, and no connection to addresses
that hold a cloud's secrets, whatever DNS says.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import urlencode, urlsplit

import aiohttp
import msgspec

from pgoauthd import __version__
from pgoauthd.config.values import Issuer
from pgoauthd.runtime.idp.addresses import forbidden_address, forbidden_host
from pgoauthd.runtime.idp.fetchfailure import FailureKind, FetchFailure, failure_of, repeats, shown
from pgoauthd.runtime.idp.proxy import read_proxy
from pgoauthd.runtime.idp.tls import tls_context
from pgoauthd.tokens.metadata import check_url

MAX_BODY_BYTES = 1_048_576
"""Of a document; the largest key sets in use have a few tens of kilobytes."""
IDLE_SECONDS = 15.0
"""A connection is kept for the next request so long: less than what servers and networks close without a word."""
MIN_CONNECTIONS = 4

JSON = "application/json"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a server answered to a form. Its repr does not show the body."""

    status: int
    content_type: str
    """In lower case, without parameters; empty where there is none."""
    body: bytes
    """Read where the status is one of those that are (READ_STATUSES), else empty."""
    retry_after_seconds: int | None = None
    """Where the server gave it as a number (RFC 9110 section 10.2.3)."""

    def __repr__(self) -> str:
        return f"<Answer {self.status} of {len(self.body)} bytes>"


_SECRET_FIELDS = ("token", "client_secret", "client_assertion", "password")
_NOT_SHOWN = "not shown"

READ_STATUSES = frozenset({HTTPStatus.OK, HTTPStatus.BAD_REQUEST})
"""RFC 6749 section 5.2: 400 says in its body what is wrong."""


class Fetches(Protocol):
    """What the key store needs: `Fetcher`, or another way to documents."""

    async def fetch(self, url: str) -> bytes | FetchFailure:
        """The document at `url`."""


class Posts(Protocol):
    """What an introspector needs: `Fetcher`, or another way to endpoints."""

    async def post(
        self, url: str, form: Mapping[str, str], *, headers: Mapping[str, str], timeout_seconds: float, accept: str
    ) -> Answer | FetchFailure:
        """The answer to `form` at `url`."""


class _Request(msgspec.Struct, frozen=True, kw_only=True):
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    timeout_seconds: float
    read: frozenset[HTTPStatus]
    """Statuses whose bodies are read."""
    secrets: tuple[str, ...] = ()
    """What of the form and the headers is never shown, should the server send it back."""


class Fetcher:
    """Talks to one issuer; an asynchronous context manager that owns the connections."""

    def __init__(self, issuer: Issuer, tls: ssl.SSLContext | None = None) -> None:
        """ConfigError where ca_file, the client's certificate or the proxy cannot be used; `tls` is in their place."""
        self._deadline = issuer.fetch_timeout_seconds
        self._allow_loopback_http = issuer.allow_loopback_http
        self._tls = tls if tls is not None else tls_context(issuer)
        self._proxy = read_proxy(issuer)
        asked = issuer.introspection
        self._connections = max(MIN_CONNECTIONS, asked.max_concurrent if asked is not None else 0)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=self._tls,
                limit=self._connections,
                keepalive_timeout=IDLE_SECONDS,  # logins wait for introspection; a handshake each would double it
                use_dns_cache=False,
                # The address of a proxy is the administrator's choice; the proxy resolves the rest.
                socket_factory=_open_socket if self._proxy is None else None,
            ),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept-Encoding": "identity", "User-Agent": f"pgoauthd/{__version__}"},
            timeout=aiohttp.ClientTimeout(total=None),  # each request has the one deadline
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def fetch(self, url: str) -> bytes | FetchFailure:
        """The document at `url`, at most MAX_BODY_BYTES of it, within the issuer's fetch_timeout_seconds."""
        answer = await self._request(
            _Request(
                method="GET",
                url=url,
                headers={"Accept": JSON},
                body=None,
                timeout_seconds=self._deadline,
                read=frozenset({HTTPStatus.OK}),
            )
        )
        if isinstance(answer, FetchFailure):
            return answer
        if answer.status != HTTPStatus.OK:
            return FetchFailure(FailureKind.ERROR, f"{url} answered with status {answer.status}")
        return answer.body

    async def post(
        self,
        url: str,
        form: Mapping[str, str],
        *,
        headers: Mapping[str, str],
        timeout_seconds: float,
        accept: str = JSON,
        read: frozenset[HTTPStatus] = READ_STATUSES,
    ) -> Answer | FetchFailure:
        """What `url` answers to `form`, whatever the status unless it is a redirect, within `timeout_seconds`.

        The bodies of answers with a status in `read` are read.
        """
        return await self._request(
            _Request(
                method="POST",
                url=url,
                headers={"Accept": accept, "Content-Type": "application/x-www-form-urlencoded", **headers},
                body=urlencode(form).encode("ascii"),
                timeout_seconds=timeout_seconds,
                read=read,
                secrets=(*(form[name] for name in _SECRET_FIELDS if name in form), *headers.values()),
            )
        )

    async def _request(self, request: _Request) -> Answer | FetchFailure:
        if (failure := self._refused_url(request.url)) is not None:
            return failure
        try:
            async with asyncio.timeout(request.timeout_seconds):
                return _discreet(request, await self._exchange(request))
        except TimeoutError:
            return FetchFailure(
                FailureKind.TIMEOUT, f"{request.url} did not answer within {request.timeout_seconds:g} seconds"
            )
        except (aiohttp.ClientError, OSError) as error:
            return failure_of(request.url, error)

    def _refused_url(self, url: str) -> FetchFailure | None:
        wrong = check_url(url, allow_loopback_http=self._allow_loopback_http)
        if wrong is None and self._proxy is not None:
            wrong = self._proxy.check_url(url)
        if wrong is not None:
            return FetchFailure(FailureKind.INVALID, f"{shown(url)} {wrong}")
        if (forbidden := forbidden_host(urlsplit(url).hostname or "")) is not None:
            return FetchFailure(FailureKind.UNREACHABLE, f"{url} cannot be reached: {forbidden}")
        return None

    async def _exchange(self, request: _Request) -> Answer | FetchFailure:
        if self._session is None:
            raise RuntimeError("a Fetcher is entered before it fetches")
        proxy, url = self._proxy, request.url
        async with self._session.request(
            request.method,
            url,
            data=request.body,
            headers={**request.headers, **(proxy.request_headers(url) if proxy is not None else {})},
            allow_redirects=False,
            proxy=proxy.url if proxy is not None else None,
            proxy_headers=proxy.connect_headers(url) if proxy is not None else None,
        ) as response:
            return _redirected(url, response) or await _read(request, response)


def _discreet(request: _Request, result: Answer | FetchFailure) -> Answer | FetchFailure:
    """The same without what repeats a secret of the request, in what may be shown."""
    if isinstance(result, Answer):
        hidden = repeats(result.content_type, request.secrets)
        return msgspec.structs.replace(result, content_type=_NOT_SHOWN) if hidden else result
    if not repeats(result.message.removeprefix(request.url), request.secrets):
        return result
    return FetchFailure(result.kind, f"{request.url} sent back what it was sent, so its answer is not shown")


def _redirected(url: str, response: aiohttp.ClientResponse) -> FetchFailure | None:
    if not HTTPStatus.MULTIPLE_CHOICES <= response.status < HTTPStatus.BAD_REQUEST:
        return None
    target = shown(response.headers.get("Location", "nowhere").partition("?")[0])
    return FetchFailure(
        FailureKind.ERROR,
        f"{url} redirects to {target} (status {response.status}); redirects are not followed: configure the URL "
        "that answers",
    )


async def _read(request: _Request, response: aiohttp.ClientResponse) -> Answer | FetchFailure:
    body = await _read_body(request.url, response) if response.status in request.read else b""
    if isinstance(body, FetchFailure):
        return body
    return Answer(
        status=response.status,
        content_type=response.headers.get("Content-Type", "").partition(";")[0].strip().lower(),
        body=body,
        retry_after_seconds=_seconds(response.headers.get("Retry-After", "")),
    )


async def _read_body(url: str, response: aiohttp.ClientResponse) -> bytes | FetchFailure:
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        text = f"{url} answered in Content-Encoding {shown(encoding)}, which was not asked for"
        return FetchFailure(FailureKind.INVALID, text)
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return FetchFailure(FailureKind.INVALID, f"{url} answered with more than {MAX_BODY_BYTES} bytes")
    return bytes(body)


def _seconds(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None  # noqa: PLR2004 - centuries


def _open_socket(address_info: aiohttp.AddrInfoType) -> socket.socket:
    """A socket for one resolved address; OSError for those never contacted, here where DNS has had its say."""
    family, kind, protocol, _, address = address_info
    if (wrong := forbidden_address(str(address[0]))) is not None:
        raise OSError(errno.EACCES, wrong)
    return socket.socket(family=family, type=kind, proto=protocol)
