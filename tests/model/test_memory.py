"""What the daemon takes of memory, as a process of its own: `bench.bench_memory` in small."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.bench_memory import Daemon, million, received, renewed

SESSIONS = 20_000
MOST_BYTES_A_SESSION = 3_000
"""While all of them are read and saved at once: two thirds of it for what is saved, and is free again afterwards."""
LINES = 60_000
ROUNDS = 6
MOST_GROWTH_MB = 3.0


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with Daemon(tmp_path) as running:
        yield running


def test_an_open_session_costs_little_memory_also_while_it_is_saved(daemon: Daemon) -> None:
    before = daemon.resident()
    daemon.read(received(SESSIONS), "postgresql.csv")
    daemon.wait_until(lambda: daemon.saved_sessions() == SESSIONS)
    assert (daemon.most_resident() - before) * 2**20 / SESSIONS < MOST_BYTES_A_SESSION


def test_an_open_session_costs_no_more_after_a_restart(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        before = daemon.resident()
        daemon.read(received(SESSIONS), "postgresql.csv")
        daemon.wait_until(lambda: daemon.saved_sessions() == SESSIONS)
    with Daemon(tmp_path) as again:
        assert (again.most_resident() - before) * 2**20 / SESSIONS < MOST_BYTES_A_SESSION


def test_lines_leave_nothing_in_memory(daemon: Daemon) -> None:
    content = million(0.01, LINES)
    daemon.read(content, "postgresql.csv")
    before = daemon.resident()
    for number in range(1, ROUNDS):
        daemon.read(renewed(content, number), f"postgresql-{number}.csv")
    assert daemon.resident() - before < MOST_GROWTH_MB
