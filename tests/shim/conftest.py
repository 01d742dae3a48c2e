"""What every test of the shim on a real server needs beside the server, which each module sets up as it likes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from pgoauthd.demo.cluster import DemoCluster
from tests.shim.fakedaemon import FakeDaemon
from tests.shim.server import ServerLog


@pytest.fixture
async def daemon(cluster: DemoCluster) -> AsyncIterator[FakeDaemon]:
    async with FakeDaemon(cluster.validator_socket) as daemon:
        yield daemon


@pytest.fixture
async def log(cluster: DemoCluster) -> AsyncIterator[ServerLog]:
    async with ServerLog(cluster.log_directory).watched() as log:
        yield log
