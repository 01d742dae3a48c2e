"""Fetches one document of an identity provider, or says why not; never follows a redirect and never trusts a body.

The rules are those for a server that fetches what a configuration and a provider's metadata name: only https (http on
loopback by explicit setting), no redirects, no compression, a size limit, one deadline, and no connection to addresses
that hold a cloud's secrets, whatever DNS says.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import ssl
from enum import StrEnum
from http import HTTPStatus
from types import TracebackType
from typing import Protocol, Self

import aiohttp
import msgspec

from pgoauthd import __version__
from pgoauthd.config import Issuer
from pgoauthd.errors import ConfigError, Problem
from pgoauthd.tokens.metadata import check_url

MAX_BODY_BYTES = 1_048_576
"""Of a document; the largest key sets in use have a few tens of kilobytes."""

_SHOWN_CHARACTERS = 300
"""Of a text that a server chose, in a message."""

_METADATA_SERVICES = tuple(
    ipaddress.ip_network(network)
    for network in (
        "169.254.0.0/16",  # IPv4 link-local: the metadata services of most clouds
        "fe80::/10",  # IPv6 link-local
        "fd00:ec2::/32",  # AWS
        "fd20:ce::/32",  # Google
        "100.100.100.200/32",  # Alibaba
        "168.63.129.16/32",  # Azure
        "192.0.0.192/32",  # Oracle
    )
)

_IPV4_AT_THE_END = (
    ipaddress.ip_network("64:ff9b::/96"),  # RFC 6052
    ipaddress.ip_network("::/96"),  # IPv4-compatible, RFC 4291 section 2.5.5.1
)
_LOCAL_NAT64 = ipaddress.ip_network("64:ff9b:1::/48")
"""RFC 8215. Which of the prefix lengths of RFC 6052 a network uses within it cannot be seen."""
_LOCAL_NAT64_BYTES = ((6, 7, 9, 10), (7, 9, 10, 11), (9, 10, 11, 12), (12, 13, 14, 15))
"""RFC 6052 section 2.2: where the IPv4 address is with a prefix of 48, 56, 64 and 96 bits."""

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class FailureKind(StrEnum):
    """Why a document was not had; values of the `outcome` label of `issuer_fetches`, as `success` is."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    ERROR = "error"
    """The server answered, but not with the document."""
    INVALID = "invalid"
    """A document came, but not one to use."""


class FetchFailure(msgspec.Struct, frozen=True):
    """One fetch that failed: of which kind, and a sentence with the URL for the operator."""

    kind: FailureKind
    message: str


class Fetches(Protocol):
    """What the key store needs: `Fetcher`, or another way to documents."""

    async def fetch(self, url: str) -> bytes | FetchFailure:
        """The document at `url`."""


class Fetcher:
    """Fetches documents for one issuer; an asynchronous context manager that owns the connections."""

    def __init__(self, issuer: Issuer) -> None:
        self._deadline = issuer.fetch_timeout_seconds
        self._allow_loopback_http = issuer.allow_loopback_http
        self._tls = _tls_context(issuer)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=self._tls,
                limit=4,
                force_close=True,  # fetches are minutes apart; an idle connection is only one more thing to break
                use_dns_cache=False,
                socket_factory=_open_socket,
            ),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "User-Agent": f"pgoauthd/{__version__}",
            },
            timeout=aiohttp.ClientTimeout(total=None),  # `fetch` has the one deadline
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
        if (wrong := check_url(url, allow_loopback_http=self._allow_loopback_http)) is not None:
            return FetchFailure(FailureKind.INVALID, f"{_shown(url)} {wrong}")
        try:
            async with asyncio.timeout(self._deadline):
                return await self._fetch(url)
        except TimeoutError:
            return FetchFailure(FailureKind.TIMEOUT, f"{url} did not answer within {self._deadline:g} seconds")
        except (aiohttp.ClientError, OSError) as error:
            return _failure(url, error)

    async def _fetch(self, url: str) -> bytes | FetchFailure:
        if self._session is None:
            raise RuntimeError("a Fetcher is entered before it fetches")
        async with self._session.get(url, allow_redirects=False) as response:
            return _refused_answer(url, response) or await _read_body(url, response)


def _failure(url: str, error: aiohttp.ClientError | OSError) -> FetchFailure:
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return FetchFailure(
                FailureKind.UNREACHABLE, f"{url}: its certificate is not trusted: {error.certificate_error}"
            )
        case aiohttp.ClientResponseError():
            return FetchFailure(FailureKind.ERROR, f"{url} does not speak HTTP: {_shown(error.message)}")
        case aiohttp.ClientPayloadError():
            return FetchFailure(FailureKind.ERROR, f"{url} broke off in the middle of its answer")
        case _:
            return FetchFailure(FailureKind.UNREACHABLE, f"{url} cannot be reached: {_shown(_described(error))}")


def _refused_answer(url: str, response: aiohttp.ClientResponse) -> FetchFailure | None:
    status = response.status
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        target = _shown(response.headers.get("Location", "nowhere"))
        text = (
            f"{url} redirects to {target} (status {status}); redirects are not followed: configure the URL that answers"
        )
        return FetchFailure(FailureKind.ERROR, text)
    if status != HTTPStatus.OK:
        return FetchFailure(FailureKind.ERROR, f"{url} answered with status {status}")
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        text = f"{url} answered in Content-Encoding {_shown(encoding)}, which was not asked for"
        return FetchFailure(FailureKind.INVALID, text)
    return None


async def _read_body(url: str, response: aiohttp.ClientResponse) -> bytes | FetchFailure:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return FetchFailure(FailureKind.INVALID, f"{url} answered with more than {MAX_BODY_BYTES} bytes")
    return bytes(body)


def _tls_context(issuer: Issuer) -> ssl.SSLContext | bool:
    """The system's certificate authorities, or only those of ca_file; ConfigError where that cannot be used."""
    if issuer.ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=issuer.ca_file)
    except OSError as error:  # ssl.SSLError is one
        problem = Problem(
            f"issuers ({issuer.label}).ca_file",
            f"{issuer.ca_file} cannot be used: {error.strerror or error}",
            "name a readable file with certificates in PEM format",
        )
        raise ConfigError("configuration", (problem,)) from None


def _open_socket(address_info: aiohttp.AddrInfoType) -> socket.socket:
    """A socket for one resolved address; OSError for those never contacted, here where DNS has had its say."""
    family, kind, protocol, _, address = address_info
    if (wrong := forbidden_address(str(address[0]))) is not None:
        raise OSError(errno.EACCES, wrong)
    return socket.socket(family=family, type=kind, proto=protocol)


def forbidden_address(host: str) -> str | None:
    """Why this address is never connected to, or None: link-local and metadata services, and what no server has."""
    possible = _unwrapped(ipaddress.ip_address(host.partition("%")[0]))
    for address in possible:
        if any(address in network for network in _METADATA_SERVICES):
            return f"{address} is link-local or a cloud's metadata service, which is never contacted"
    address = possible[-1]
    if address.is_unspecified or address.is_multicast or (address.version == 4 and address.is_reserved):  # noqa: PLR2004 - IPv4
        return f"{address} is not the address of a server"
    return None


def _unwrapped(address: _Address) -> tuple[_Address, ...]:
    """The IPv4 addresses that a network could make of an IPv6 one, the likeliest last; else the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return (address,)
    if (inner := address.ipv4_mapped or address.sixtofour) is not None:  # RFC 4291 section 2.5.5.2, RFC 3056
        return (inner,)
    if address in _LOCAL_NAT64:
        packed = address.packed
        return tuple(ipaddress.IPv4Address(bytes(packed[at] for at in places)) for places in _LOCAL_NAT64_BYTES)
    if any(address in network for network in _IPV4_AT_THE_END) and not (address.is_loopback or address.is_unspecified):
        return (ipaddress.IPv4Address(address.packed[-4:]),)
    return (address,)


def _described(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error  # what the system said, without aiohttp's words around it
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__


def _shown(text: str) -> str:
    """A text of others, short and on one line."""
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…")[1:-1]
