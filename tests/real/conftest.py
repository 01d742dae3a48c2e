"""What several modules share, because it takes long to start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.real import fix_keycloak
from tests.real.fix_keycloak import Keycloak


@pytest.fixture(scope="session")
def keycloak(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keycloak]:
    with fix_keycloak.running(tmp_path_factory.mktemp("keycloak")) as started:
        yield started
