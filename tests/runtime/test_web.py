from __future__ import annotations

import asyncio
import contextlib
import platform
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession, TCPConnector

from pgoauthd import __version__
from pgoauthd.config import values as config
from pgoauthd.errors import SocketError
from pgoauthd.runtime.web import MAX_CONNECTIONS, Web
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


async def test_connections_beyond_the_limit_are_closed_and_those_within_it_stay(address: tuple[str, int]) -> None:
    async with asyncio.timeout(DEADLINE), contextlib.AsyncExitStack() as stack:
        idle = []
        for _ in range(MAX_CONNECTIONS):
            reader, writer = await asyncio.open_connection(*address)
            stack.callback(writer.close)
            idle.append(reader)
        for _ in range(100):
            reader, writer = await asyncio.open_connection(*address)
            stack.callback(writer.close)
            assert await read_all(reader) == b""
        assert not any(reader.at_eof() for reader in idle)


async def test_who_hangs_up_leaves_room_for_others(address: tuple[str, int]) -> None:
    async with asyncio.timeout(DEADLINE):
        for _ in range(2 * MAX_CONNECTIONS):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert (await read_all(reader)).startswith(b"HTTP/1.1 200 ")
            writer.close()
            await writer.wait_closed()


@pytest.mark.parametrize("said", [b"", b"GET /metrics HTTP/1.1\r\nHost: x\r\n"])
async def test_a_connection_that_brings_no_request_is_closed(metrics: Metrics, said: bytes) -> None:
    web = Web(config.Web(listen="127.0.0.1:0"), metrics, first_request_seconds=0.1)
    address = await web.start()
    async with asyncio.timeout(DEADLINE):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(said)
        assert await read_all(reader) == b""
        writer.close()
    await web.stop()


async def test_a_connection_that_has_asked_may_be_idle_for_longer(metrics: Metrics) -> None:
    web = Web(config.Web(listen="127.0.0.1:0"), metrics, first_request_seconds=0.2)
    address = await web.start()
    async with asyncio.timeout(DEADLINE):
        reader, writer = await asyncio.open_connection(*address)
        _, silent = await asyncio.open_connection(*address)
        for _ in range(2):
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200 ")
            late, other = await asyncio.open_connection(*address)
            await read_all(late)  # it came later, and its time is over
            other.close()
        writer.close()
        silent.close()
    await web.stop()


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text; version=abc",
        "application/openmetrics-text; version=1.0.0.0.0.0.0",
        "application/openmetrics-text; version=",
        "application/openmetrics-text; version=9999999999",
        "application/openmetrics-text; version=1.0.0; escaping=nonsense",
        "text/plain; version=x.y.z",
        "text/plain; version=1.0.0; escaping=\xff",
        ";;;,,,===",
    ],
)
async def test_an_accept_header_that_makes_no_sense_still_gets_metrics(http: ClientSession, accept: str) -> None:
    async with http.get("/metrics", headers={"Accept": accept}) as response:
        assert response.status == 200
        assert "pgoauthd_build_info" in await response.text()
