from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pgoauthd.demo.cluster import ClusterSettings, DemoCluster
from tests.fix_certificates import Authority
from tests.fix_daemon import free_port
from tests.shim.server import built_shim

HOST = "localhost"


@dataclass(frozen=True)
class Site:
    """A real PostgreSQL with our module, without TLS of its own; and what a front of it shows."""

    cluster: DemoCluster
    idp_port: int
    """Where the issuer of pg_hba.conf's lines is, when it is up."""
    authority: Authority


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    port = free_port()
    oauth = f'oauth issuer="http://127.0.0.1:{port}/realms/demo" scope="postgres"'
    hba = f"""\
host postgres kong     127.0.0.1/32 {oauth}
host postgres stranger 127.0.0.1/32 {oauth}
host postgres trusted  127.0.0.1/32 trust
host postgres scram    127.0.0.1/32 scram-sha-256
host nowhere  kong     127.0.0.1/32 {oauth}
"""
    with asyncio.Runner() as runner:  # the loop of a test would be gone when the server stops
        cluster = DemoCluster(ClusterSettings(hba=hba, shim=built_shim()))
        runner.run(cluster.start())
        roles = "CREATE ROLE kong LOGIN; CREATE ROLE trusted LOGIN; CREATE ROLE scram LOGIN PASSWORD 'x';"
        runner.run(cluster.run_sql(roles))
        yield Site(cluster, port, Authority(Path(tmp_path_factory.mktemp("tls"))))
        runner.run(cluster.stop())
