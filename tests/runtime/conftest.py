from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fix_callout import Running, issuer_settings, running_callout
from tests.fix_issuer import LocalIssuer, running_issuer
from tests.runtime.fix_sinks import log, metrics, said

__all__ = ["log", "metrics", "provider", "running", "said"]


@pytest.fixture
async def provider() -> AsyncIterator[LocalIssuer]:
    """An identity provider on loopback."""
    async with running_issuer() as issuer:
        yield issuer


@pytest.fixture
async def running(provider: LocalIssuer, tmp_path: Path) -> AsyncIterator[Running]:
    """A callout that trusts `provider`."""
    async with running_callout(tmp_path, issuer_settings(provider)) as served:
        yield served
