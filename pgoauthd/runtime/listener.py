"""The listening end of the validation socket: opened safely, or taken over from systemd; never accepts a connection."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from pgoauthd.errors import SocketError

DIRECTORY_MODE = 0o750
SOCKET_MODE = 0o660
LOCK_MODE = 0o600
PROBE_SECONDS = 1.0

_LONGEST_PATH = 107
"""Bytes, unix(7)."""


class Listener:
    """A bound Unix socket, not listening yet. What it made itself it removes when it is closed."""

    def __init__(self, listening: socket.socket, *, made: Path | None = None, lock: int | None = None) -> None:
        self.socket = listening
        self._made = made
        self._inode = made.lstat().st_ino if made is not None else None
        self._lock = lock

    @property
    def path(self) -> str:
        """Where clients connect."""
        name = self.socket.getsockname()
        return name if isinstance(name, str) else os.fsdecode(name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the file of the socket if it is still ours, and let go of the lock; systemd keeps its own socket."""
        self.socket.close()
        if self._made is not None and _inode(self._made) == self._inode:
            self._made.unlink()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def open_listener(path: str, *, group: int | None = None) -> Listener:
    """Bind a Unix socket with mode 0660 at `path`.

    Its directory is made with mode 0750 where it is missing. Directory and socket are given to `group` where we may do
    that: the group of the users who have to reach it. A socket file that nobody answers on is replaced, under a lock
    that is held until `Listener.close`.

    Raises:
        SocketError: another daemon holds the lock or answers, something else is there, or the system refuses.
    """
    place = Path(path)
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise SocketError(f"{path}: longer than {_LONGEST_PATH} bytes, which a Unix socket allows; set callout.socket")
    try:
        _make_directory(place.parent, group)
        lock = _take_lock(place)
    except OSError as error:
        raise SocketError(f"{place.parent}: {error.strerror}; make the directory writable for pgoauthd") from None
    try:
        _remove_stale(place)
        return Listener(_bind(place, group), made=place, lock=lock)
    except OSError as error:
        os.close(lock)
        raise SocketError(f"{path}: {error.strerror}; check callout.socket and its directory") from None
    except SocketError:
        os.close(lock)
        raise


def inherited_listener(sockets: Iterable[socket.socket]) -> Listener | None:
    """The first Unix stream socket that the service manager passed, which stays its own; None without one."""
    for inherited in sockets:
        if inherited.family == socket.AF_UNIX and inherited.type == socket.SOCK_STREAM:
            inherited.setblocking(False)
            return Listener(inherited)
    return None


def _make_directory(directory: Path, group: int | None) -> None:
    try:
        directory.mkdir(mode=DIRECTORY_MODE)
    except FileExistsError:
        mode = directory.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise SocketError(f"{directory}: writable for everybody, who could replace the socket; chmod o-w") from None
    else:
        directory.chmod(DIRECTORY_MODE)
        _give(directory, group)


def _take_lock(place: Path) -> int:
    """An exclusive lock beside the socket. Its file stays: removing it would let two daemons hold two locks."""
    lock = os.open(f"{place}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, LOCK_MODE)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise SocketError(f"{place}: another pgoauthd serves this socket; stop it, or set callout.socket") from None
    return lock


def _remove_stale(place: Path) -> None:
    try:
        mode = place.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise SocketError(f"{place}: exists and is not a socket; move it away, or set callout.socket")
    if _answers(place):
        raise SocketError(f"{place}: another process listens here; stop it, or set callout.socket")
    place.unlink()


def _answers(place: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_SECONDS)
        try:
            probe.connect(str(place))
        except ConnectionRefusedError:
            return False
        except (TimeoutError, BlockingIOError):  # its backlog is full: somebody is there
            return True
    return True


def _bind(place: Path, group: int | None) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.setblocking(False)
        # Before bind, so that there is no moment in which others could connect (the umask takes more, never less).
        os.fchmod(listening.fileno(), SOCKET_MODE)
        listening.bind(str(place))
        place.chmod(SOCKET_MODE)
        _give(place, group)
    except OSError:
        listening.close()
        raise
    return listening


def _give(place: Path, group: int | None) -> None:
    """To the group; only root and its members may, and others have set up the directory themselves."""
    if group is not None and (os.geteuid() == 0 or group in os.getgroups()):
        os.chown(place, -1, group)


def _inode(place: Path) -> int | None:
    try:
        return place.lstat().st_ino
    except FileNotFoundError:
        return None
