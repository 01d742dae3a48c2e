from __future__ import annotations

import base64
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from pgoauthd.config.values import Issuer
from pgoauthd.errors import ConfigError
from pgoauthd.runtime.idp.fetch import Answer, Fetcher
from pgoauthd.runtime.idp.fetchfailure import FailureKind, FetchFailure
from tests.fix_certificates import Authority
from tests.fix_issuer import JWKS, LocalIssuer, redirects, running_issuer
from tests.fix_proxy import LocalProxy, running_proxy

HOST = "id.proxied.invalid"
"""What only the proxy can resolve."""


@pytest.fixture
async def proxy() -> AsyncIterator[LocalProxy]:
    async with running_proxy() as running:
        yield running


async def fetch(url: str, proxy: str, **changes: Any) -> bytes | FetchFailure:  # noqa: ANN401 - any field
    known: dict[str, Any] = {"issuer": "https://id.example", "allow_loopback_http": True, "fetch_timeout_seconds": 10.0}
    async with Fetcher(Issuer(audiences=("a",), proxy=proxy, **(known | changes))) as fetcher:
        return await fetcher.fetch(url)


async def failure(url: str, proxy: str, **changes: Any) -> FetchFailure:  # noqa: ANN401
    result = await fetch(url, proxy, **changes)
    assert isinstance(result, FetchFailure)
    return result


def port_of(provider: LocalIssuer) -> int:
    port = urlsplit(provider.issuer).port
    assert port is not None
    return port


def with_credentials(proxy: LocalProxy, credentials: str) -> str:
    return proxy.url.replace("http://", f"http://{credentials}@")


def basic(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


async def test_https_goes_through_a_tunnel_of_the_proxy(proxy: LocalProxy, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with running_issuer(authority.server(HOST)) as provider:
        proxy.routes[f"{HOST}:443"] = port_of(provider)
        body = await fetch(f"https://{HOST}/realms/database/keys", proxy.url, ca_file=authority.ca_file)
    assert isinstance(body, bytes), body
    assert proxy.asked == [f"CONNECT {HOST}:443"]


async def test_the_proxy_sees_nothing_of_what_goes_through_the_tunnel(proxy: LocalProxy, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with running_issuer(authority.server(HOST)) as provider:
        proxy.routes[f"{HOST}:443"] = port_of(provider)
        issuer = Issuer(issuer="https://id.example", audiences=("a",), proxy=proxy.url, ca_file=authority.ca_file)
        async with Fetcher(issuer) as fetcher:
            answer = await fetcher.post(
                f"https://{HOST}/realms/database/introspect",
                {"token": "canary"},
                headers={"Authorization": "Basic canary"},
                timeout_seconds=10.0,
            )
        assert isinstance(answer, Answer), answer
        assert provider.forms == [{"token": "canary"}]
    assert len(proxy.heads) == 1
    assert "canary" not in proxy.heads[0]


async def test_a_client_certificate_is_shown_through_the_tunnel(proxy: LocalProxy, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.certify("pgoauthd")
    async with running_issuer(authority.server(HOST, wants_client=True)) as provider:
        proxy.routes[f"{HOST}:443"] = port_of(provider)
        files = {"ca_file": authority.ca_file, "tls_certificate_file": certificate, "tls_key_file": key}
        assert isinstance(await fetch(f"https://{HOST}/realms/database/keys", proxy.url, **files), bytes)


async def test_the_tunnel_does_not_make_a_certificate_of_nobody_good(proxy: LocalProxy, tmp_path: Path) -> None:
    async with running_issuer(Authority(tmp_path).server(HOST)) as provider:
        proxy.routes[f"{HOST}:443"] = port_of(provider)
        result = await failure(f"https://{HOST}/realms/database/keys", proxy.url)
        assert "certificate is not trusted" in result.message
        assert provider.asked.total() == 0


async def test_http_on_loopback_goes_through_a_proxy_on_loopback(proxy: LocalProxy, provider: LocalIssuer) -> None:
    port = port_of(provider)
    proxy.routes[f"127.0.0.1:{port}"] = port
    assert isinstance(await fetch(f"{provider.issuer}/keys", proxy.url), bytes)
    assert proxy.asked == [f"GET {provider.issuer}/keys"]


async def test_http_does_not_leave_this_machine_for_a_proxy(provider: LocalIssuer) -> None:
    result = await failure(f"{provider.issuer}/keys", "http://192.0.2.1:3128")
    assert result.kind is FailureKind.INVALID
    assert "in the clear" in result.message


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_the_proxy_gets_the_credentials_in_its_url_and_the_issuer_does_not(
    proxy: LocalProxy, tmp_path: Path, scheme: str
) -> None:
    authority = Authority(tmp_path)
    proxy.authorization = basic("us er:p@ss:word")
    async with running_issuer(authority.server("127.0.0.1") if scheme == "https" else None) as provider:
        port = port_of(provider)
        proxy.routes[f"127.0.0.1:{port}"] = port
        url = with_credentials(proxy, "us%20er:p%40ss%3Aword")
        assert isinstance(await fetch(f"{provider.issuer}/keys", url, ca_file=authority.ca_file), bytes)
        assert not any(name.lower().startswith("proxy-") for name in provider.headers[0])


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_refused_credential_of_the_proxy_is_not_shown(proxy: LocalProxy, scheme: str) -> None:
    proxy.authorization = basic("user:other")
    result = await failure(f"{scheme}://127.0.0.1:1/keys", with_credentials(proxy, "user:canary"))
    assert "status 407" in result.message
    assert "canary" not in result.message
    assert basic("user:canary") not in result.message


async def test_a_proxy_that_cannot_be_reached_is_named_as_what_is_missing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://user:canary@127.0.0.1:{gone.getsockname()[1]}"
    result = await failure(f"https://{HOST}/keys", url)
    assert (result.kind, result.passing) == (FailureKind.UNREACHABLE, True)
    assert "its proxy cannot be" in result.message
    assert "canary" not in result.message


async def test_a_host_that_the_proxy_cannot_reach_is_unreachable(proxy: LocalProxy) -> None:
    result = await failure(f"https://{HOST}/keys", proxy.url)
    assert result == FetchFailure(
        FailureKind.UNREACHABLE, f"https://{HOST}/keys cannot be reached: its proxy answered with status 502"
    )


async def test_a_redirect_is_not_followed_through_a_proxy(proxy: LocalProxy, provider: LocalIssuer) -> None:
    port = port_of(provider)
    proxy.routes[f"127.0.0.1:{port}"] = port
    provider.script[JWKS] = redirects(f"{provider.issuer}/elsewhere")
    assert (await failure(f"{provider.issuer}/keys", proxy.url)).kind is FailureKind.ERROR
    assert len(proxy.heads) == 1


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.169.254.",
        "2852039166",
        "0xa9fea9fe",
        "0XA9.0xFE.0xa9.0xfe",
        "0251.0376.0251.0376",
        "169.254.43518",
        "%31%36%39.254.169.254",
        "169.254.169.254%2e",
        "[fe80::1]",
        "[fe80::1%25lo]",
        "[::ffff:169.254.169.254]",
        "[fd00:ec2::254]",
        "metadata.google.internal",
        "METADATA.google.internal.",
    ],
)
async def test_a_forbidden_host_is_not_asked_for_through_a_proxy_either(proxy: LocalProxy, host: str) -> None:
    result = await failure(f"https://{host}/latest/meta-data", proxy.url)
    assert result.kind is FailureKind.UNREACHABLE
    assert "never contacted" in result.message
    assert proxy.heads == []


@pytest.mark.parametrize(
    "url",
    [
        "https://user:canary@proxy.example:3128",
        "socks5://user:canary@proxy.example",
        "user:canary@proxy.example:3128",
        "http://user:canary@",
        "http://user:canary@proxy.example:port",
        "http://user%3Acanary:canary@proxy.example",
    ],
)
def test_a_url_that_is_no_proxys_is_a_configuration_error_that_does_not_show_it(url: str) -> None:
    with pytest.raises(ConfigError, match="no http URL of a proxy") as caught:
        Fetcher(Issuer(issuer="https://id.example", audiences=("a",), proxy=url))
    assert "canary" not in str(caught.value)
