"""The proxy that stands between us and one issuer: how it is asked, and what must not go through it; never connects."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from aiohttp import encode_basic_auth

from pgoauthd.config.values import Issuer
from pgoauthd.runtime.idp.addresses import is_loopback
from pgoauthd.runtime.idp.credentials import unusable


class Proxy:
    """An HTTP proxy. What it is shown of us (RFC 9110 section 11.7.1) is in no repr and no message."""

    __slots__ = ("_authorization", "_on_this_host", "url")

    def __init__(self, url: str, authorization: str | None, *, on_this_host: bool) -> None:
        self.url = url
        """Without credentials."""
        self._authorization = authorization
        self._on_this_host = on_this_host

    def __repr__(self) -> str:
        return f"<Proxy {self.url}>"

    def check_url(self, url: str) -> str | None:
        """What is wrong with asking the proxy for this URL, or None.

        An http URL may be fetched because it does not leave this machine; through a proxy elsewhere it would.
        """
        if url.startswith("https:") or self._on_this_host:
            return None
        return "is not https, and would be asked for through the proxy in the clear"

    def connect_headers(self, url: str) -> dict[str, str]:
        """Headers of CONNECT, with which an https URL begins."""
        return self._credentials() if url.startswith("https:") else {}

    def request_headers(self, url: str) -> dict[str, str]:
        """Headers of the request itself, where the proxy sees it."""
        return {} if url.startswith("https:") else self._credentials()

    def _credentials(self) -> dict[str, str]:
        return {} if self._authorization is None else {"Proxy-Authorization": self._authorization}


def read_proxy(issuer: Issuer) -> Proxy | None:
    """The issuer's proxy, if it has one; ConfigError where its URL is none."""
    if issuer.proxy is None:
        return None
    try:
        return _parse(issuer.proxy)
    except ValueError:
        # What is wrong with it is not shown: it may hold a password.
        raise unusable(
            f"issuers ({issuer.label}).proxy",
            "is no http URL of a proxy",
            "write for example http://proxy.example:3128",
        ) from None


def _parse(url: str) -> Proxy:
    parts = urlsplit(url)
    host = parts.hostname
    if not host or parts.scheme != "http":
        raise ValueError("no http URL")
    user = parts.username
    return Proxy(
        f"http://{f'[{host}]' if ':' in host else host}:{parts.port or 80}",
        None if user is None else encode_basic_auth(unquote(user), unquote(parts.password or "")),
        on_this_host=is_loopback(host),
    )
