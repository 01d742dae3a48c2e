from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pgoauthd.runtime.systemd import Notifier, inherited_sockets, watchdog_seconds

OURS = str(os.getpid())


@pytest.fixture
def manager(tmp_path: Path) -> socket.socket:
    """The service manager's end of $NOTIFY_SOCKET."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listening.bind(str(tmp_path / "notify"))
    listening.settimeout(10)
    return listening


def test_what_the_daemon_says_reaches_the_service_manager(manager: socket.socket, tmp_path: Path) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    with manager:
        notifier.ready("2 issuers,\n1 cluster")
        notifier.watchdog()
        notifier.reloading(12.5)
        notifier.stopping()
        said = [manager.recv(4096).decode() for _ in range(4)]
    notifier.close()
    assert said == [
        "READY=1\nSTATUS=2 issuers, 1 cluster",
        "WATCHDOG=1",
        "RELOADING=1\nMONOTONIC_USEC=12500000",
        "STOPPING=1\nSTATUS=stopping",
    ]


def test_an_abstract_address_works_too() -> None:
    name = f"pgoauthd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}")
        manager.settimeout(10)
        notifier = Notifier({"NOTIFY_SOCKET": f"@{name}"})
        notifier.watchdog()
        notifier.close()
        assert manager.recv(100) == b"WATCHDOG=1"


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "/no/such/socket"}])
def test_nobody_to_tell_is_no_error(environment: dict[str, str]) -> None:
    notifier = Notifier(environment)
    notifier.ready("up")
    notifier.watchdog()
    notifier.close()
    notifier.stopping()


def test_a_manager_that_does_not_read_never_blocks_us(manager: socket.socket, tmp_path: Path) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    with manager:
        for _ in range(5_000):
            notifier.watchdog()
    notifier.close()


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": OURS}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_fed_twice_in_its_time(environment: dict[str, str], seconds: float | None) -> None:
    assert watchdog_seconds(environment) == seconds


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"LISTEN_FDS": "1"},
        {"LISTEN_FDS": "1", "LISTEN_PID": "1"},
        {"LISTEN_FDS": "x", "LISTEN_PID": OURS},
        {"LISTEN_FDS": "0", "LISTEN_PID": OURS},
        {"LISTEN_FDS": "-1", "LISTEN_PID": OURS},
    ],
)
def test_sockets_are_taken_only_where_they_are_meant_for_us(environment: dict[str, str]) -> None:
    assert inherited_sockets(environment) == ()


def test_a_passed_socket_is_taken_over_and_not_passed_on(tmp_path: Path) -> None:
    script = """
import os, socket, sys
from pgoauthd.runtime.systemd import inherited_sockets
os.dup2(int(sys.argv[2]), 3, inheritable=True)  # as systemd does it: the first descriptor after the standard ones
os.environ["LISTEN_PID"] = str(os.getpid())
(taken,) = inherited_sockets(os.environ)
assert (taken.family, taken.type) == (socket.AF_UNIX, socket.SOCK_STREAM), taken
assert taken.getsockname() == sys.argv[1]
assert not os.get_inheritable(taken.fileno())
"""
    with socket.socket(socket.AF_UNIX) as handed:
        handed.bind(str(tmp_path / "s"))
        handed.listen()
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / "s"), str(handed.fileno())],
            check=False,
            pass_fds=(handed.fileno(),),
            env={**os.environ, "LISTEN_FDS": "1"},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
