from __future__ import annotations

import asyncio
import platform
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession, TCPConnector

from pgoauthd import __version__, config
from pgoauthd.errors import SocketError
from pgoauthd.runtime.web import Web
from pgoauthd.telemetry.metrics import Metrics
from tests.fix_callout import read_all

DEADLINE = 20.0


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def address(metrics: Metrics) -> AsyncIterator[tuple[str, int]]:
    web = Web(config.Web(listen="127.0.0.1:0"), metrics)
    yield await web.start()
    await web.stop()


@pytest.fixture
async def http(address: tuple[str, int]) -> AsyncIterator[ClientSession]:
    host, port = address
    async with ClientSession(f"http://{host}:{port}", connector=TCPConnector(force_close=True)) as session:
        yield session


async def test_metrics_are_served_as_prometheus_reads_them(http: ClientSession, metrics: Metrics) -> None:
    metrics.validations.labels("ok", "none").inc(3)
    async with http.get("/metrics") as response:
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/plain; version=")
        text = await response.text()
    assert 'pgoauthd_validations_total{reason="ok",stage="none"} 3.0' in text
    assert f'pgoauthd_build_info{{python="{platform.python_version()}",version="{__version__}"}} 1.0' in text


async def test_openmetrics_is_served_where_it_is_asked_for(http: ClientSession) -> None:
    async with http.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}) as response:
        assert response.headers["Content-Type"].startswith("application/openmetrics-text")
        assert (await response.text()).endswith("# EOF\n")


async def test_health_tells_the_version(http: ClientSession) -> None:
    async with http.get("/healthz") as response:
        assert response.status == 200
        assert await response.json() == {"status": "ok", "version": __version__}


async def test_the_index_leads_to_what_there_is(http: ClientSession) -> None:
    async with http.get("/") as response:
        text = await response.text()
    assert response.headers["Content-Type"].startswith("text/html")
    assert 'href="/metrics"' in text
    assert 'href="/healthz"' in text


@pytest.mark.parametrize("path", ["/v1/validate", "/v1/introspect", "/v1/healthz", "/metrics/", "/../etc/passwd", "/x"])
async def test_nothing_else_is_served_least_of_all_validation(http: ClientSession, path: str) -> None:
    async with http.get(path) as response:
        assert response.status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/", "/v1/validate"])
async def test_nothing_can_be_changed(http: ClientSession, method: str, path: str) -> None:
    async with http.request(method, path) as response:
        assert response.status == 405
        assert response.headers["Allow"] == "GET, HEAD"


async def test_head_has_no_body(http: ClientSession) -> None:
    async with http.head("/metrics") as response:
        assert response.status == 200
        assert await response.read() == b""


async def test_what_is_not_http_gets_400(address: tuple[str, int]) -> None:
    async with asyncio.timeout(DEADLINE):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"\x16\x03\x01 hello\r\n\r\n")
        assert (await read_all(reader)).startswith(b"HTTP/1.0 400 ")
        writer.close()
        await writer.wait_closed()


async def test_an_address_in_use_is_an_error_that_names_it(address: tuple[str, int], metrics: Metrics) -> None:
    listen = f"{address[0]}:{address[1]}"
    with pytest.raises(SocketError, match=rf"{listen}: .*in use.*set web.listen"):
        await Web(config.Web(listen=listen), metrics).start()


async def test_ipv6_is_served_too(metrics: Metrics) -> None:
    web = Web(config.Web(listen="[::1]:0"), metrics)
    try:
        _, port = await web.start()
    except SocketError:
        pytest.skip("no IPv6 on this host")
    async with ClientSession() as session, session.get(f"http://[::1]:{port}/healthz") as response:
        assert response.status == 200
    await web.stop()


async def test_after_stopping_nobody_answers(metrics: Metrics) -> None:
    web = Web(config.Web(listen="127.0.0.1:0"), metrics)
    host, port = await web.start()
    async with asyncio.timeout(DEADLINE):
        reader, writer = await asyncio.open_connection(host, port)
        await web.stop()
        assert await read_all(reader) == b""
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(host, port)
    await web.stop()
