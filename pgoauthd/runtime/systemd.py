"""What systemd hands us and wants to hear: inherited sockets, readiness, watchdog; never needed where it is absent.

The protocols are those of sd_listen_fds(3), sd_notify(3) and sd_watchdog_enabled(3); no library is needed for them.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

FIRST_INHERITED_FD = 3
"""SD_LISTEN_FDS_START."""


def inherited_sockets(environment: Mapping[str, str]) -> tuple[socket.socket, ...]:
    """The listening sockets that the service manager passed to this process (sd_listen_fds(3)); () where it did not.

    They belong to the caller and are not inherited further. The variables count only for the process they name.
    """
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return ()
    count = _whole_number(environment.get("LISTEN_FDS"))
    sockets = []
    for descriptor in range(FIRST_INHERITED_FD, FIRST_INHERITED_FD + count):
        os.set_inheritable(descriptor, False)
        sockets.append(socket.socket(fileno=descriptor))
    return tuple(sockets)


def watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    """How often to say that we live: half of what the unit's WatchdogSec= allows; None where it asks for nothing."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = _whole_number(environment.get("WATCHDOG_USEC"))
    return microseconds / 2_000_000 if microseconds else None


class Notifier:
    """Tells the service manager how we are (sd_notify(3)); silent where $NOTIFY_SOCKET is not set.

    Nothing is waited for and nothing is raised: a service manager that does not listen must not stop a login.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        path = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if path.startswith(("/", "@")) else None
        if self._socket is not None:
            self._socket.setblocking(False)

    def ready(self, status: str) -> None:
        """Start-up, or a reload, is complete."""
        self._send(f"READY=1\nSTATUS={_one_line(status)}")

    def reloading(self, monotonic_seconds: float) -> None:
        """A reload has begun at this time of CLOCK_MONOTONIC; `ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={int(monotonic_seconds * 1_000_000)}")

    def stopping(self) -> None:
        """Shutdown has begun."""
        self._send("STOPPING=1\nSTATUS=stopping")

    def watchdog(self) -> None:
        """We make progress; call it only when we do."""
        self._send("WATCHDOG=1")

    def close(self) -> None:
        """Say nothing more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, message: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto(message.encode(), self._address)
        except OSError:
            return


def _whole_number(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() else 0


def _one_line(text: str) -> str:
    return " ".join(text.splitlines())
