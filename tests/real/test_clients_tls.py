"""Clients that speak OAUTHBEARER on a real server that offers TLS: who could read a token on its way."""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from pgoauthd.demo.cluster import DemoCluster, LogDestination
from tests.e2e.test_day import playing
from tests.fix_certificates import Authority
from tests.real import fix_tlspostgres
from tests.real.fix_client_place import (
    AUTHENTICATION_TIMEOUT_SECONDS,
    CASES,
    DISCOVERY,
    SUCCESS,
    Place,
    handshake,
    reload,
)
from tests.real.fix_clients import CLIENTS, PSYCOPG, Client, usable

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(params=CLIENTS, ids=lambda client: client.name)
def client(request: pytest.FixtureRequest) -> Client:
    return usable(request.param)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tls_place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    """A server that offers TLS and takes logins without it, too."""
    installation = await asyncio.to_thread(fix_tlspostgres.install, tmp_path_factory.mktemp("tls"))
    keys = Path(tempfile.mkdtemp(prefix="pgoauthd-tls-"))
    patience = AUTHENTICATION_TIMEOUT_SECONDS
    settings = {"authentication_timeout_seconds": patience, "installation": installation}
    try:
        async with playing(LogDestination.JSONLOG, "%m [%p] ", **settings) as play:
            authority = Authority(keys)
            await encrypt(play.stage.cluster, keys, *authority.certify("server", "127.0.0.1"))
            yield Place(play, {"sslrootcert": authority.ca_file})
    finally:
        shutil.rmtree(keys)


async def encrypt(cluster: DemoCluster, keys: Path, certificate: str, key: str) -> None:
    fix_tlspostgres.hand_over(keys, Path(key), cluster.server_uid)
    for name, value in (("ssl_cert_file", certificate), ("ssl_key_file", key), ("ssl", "on")):
        await cluster.run_sql(f"ALTER SYSTEM SET {name} = '{value}'")
    await reload(cluster)


async def test_a_token_is_never_readable_with_verify_full(tls_place: Place, client: Client) -> None:
    login = await tls_place.log_in(client, CASES["a good token"], sslmode="verify-full")
    assert (login.error, any(login.in_the_clear)) == ("", False)
    assert await tls_place.ends(login) == [*handshake(client), SUCCESS]


async def test_a_refused_token_stays_encrypted_with_verify_full(tls_place: Place, client: Client) -> None:
    login = await tls_place.log_in(client, CASES["expired"], sslmode="verify-full")
    assert login.in_the_clear == (False,) * (2 if client.is_libpq else 1)


async def test_a_refused_token_is_sent_again_without_tls_with_prefer(tls_place: Place, client: Client) -> None:
    """A good one that is for another role: sslmode=prefer is their default, and docs/clients.md warns of it."""
    login = await tls_place.log_in(client, CASES["of somebody else"], sslmode="prefer")
    assert login.in_the_clear == (*(False for _ in handshake(client)), False, True)


async def test_each_of_the_two_is_a_refusal(tls_place: Place) -> None:
    login = await tls_place.log_in(PSYCOPG, CASES["expired"], sslmode="prefer")
    assert await tls_place.ends(login) == [DISCOVERY, CASES["expired"].ends, CASES["expired"].ends]


async def test_a_line_for_tls_alone_keeps_a_refused_token_encrypted(tls_place: Place, client: Client) -> None:
    cluster = tls_place.play.stage.cluster
    before = cluster.hba_file.read_text(encoding="utf-8")
    cluster.hba_file.write_text(re.sub("^host ", "hostssl ", before, flags=re.MULTILINE), encoding="utf-8")
    await reload(cluster)
    try:
        login = await tls_place.log_in(client, CASES["expired"], sslmode="prefer")
    finally:
        cluster.hba_file.write_text(before, encoding="utf-8")
        await reload(cluster)
    assert "no pg_hba.conf entry" in login.error
    assert login.in_the_clear == (*(False for _ in handshake(client)), False, False)
