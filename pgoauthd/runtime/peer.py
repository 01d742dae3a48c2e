"""Who is at the other end of the socket, and may they ask? The kernel says who; never a process's own word."""

from __future__ import annotations

import pwd
import socket
import struct
from collections.abc import Iterable
from enum import StrEnum
from typing import Protocol

import msgspec

SET_ASIDE = 8
"""One seat in so many, so that one user cannot take the seats of the others."""
CROWDED = 0.75
"""Of the seats: from here on nobody gets more than an equal share."""

_UCRED = struct.Struct("3i")
"""struct ucred of unix(7): pid, uid, gid."""


class HasSocketOptions(Protocol):
    """A connected socket, or asyncio's view of one."""

    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes:
        """socket.socket.getsockopt."""


class Peer(msgspec.Struct, frozen=True, gc=False):
    """The credentials of the process that connected, at the time it did (SO_PEERCRED). The pid is information only."""

    pid: int
    uid: int
    gid: int


class Shed(StrEnum):
    """Why a connection or request is turned away unjudged; values of the `kind` label of `callout_rejected`."""

    CONNECTIONS = "connections"
    CONNECTIONS_PER_UID = "connections_per_uid"
    UID = "uid"
    SIZE = "size"
    DEADLINE = "deadline"
    """It did not arrive in time."""
    REQUEST = "request"
    """It was not a request of the contract."""


def read_peer(connection: HasSocketOptions) -> Peer:
    """Who connected (unix(7), SO_PEERCRED); OSError where the socket is not one of the Unix domain."""
    return Peer(*_UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)))


class AllowedUsers(msgspec.Struct, frozen=True, kw_only=True):
    """The users of the configuration as this host knows them."""

    uids: frozenset[int]
    unknown: tuple[str, ...]
    """Names without an account here: worth a warning, no reason not to start."""
    group: int | None
    """Primary group of the first user with an account: the one that has to reach the socket."""


def look_up_users(users: Iterable[str | int]) -> AllowedUsers:
    """Turn names and uids into uids, once at start-up; the user database may be a slow one."""
    uids, unknown, groups = set(), [], []
    for user in users:
        try:
            account = pwd.getpwuid(user) if isinstance(user, int) else pwd.getpwnam(user)
        except KeyError:
            if isinstance(user, int):
                uids.add(user)
            else:
                unknown.append(user)
        else:
            uids.add(account.pw_uid)
            groups.append(account.pw_gid)
    return AllowedUsers(uids=frozenset(uids), unknown=tuple(unknown), group=groups[0] if groups else None)


class Admission:
    """Counts open connections and says which may come in; root and our own user always may, up to the same caps.

    The users that may ask share max_total seats without being configured to:

    1. An eighth of the seats is set aside in equal parts, one for each user. While a user has less than its part it is
       let in; with more, only where the free seats are more than what the other users still lack of theirs. As no
       step takes a seat that is lacked, there always is one for who has less than its part.
    2. When three quarters are taken, who has as much as an equal share is turned away: the seats outside the parts
       of those who have less than their part, divided among those who do not.
    """

    def __init__(self, *, allowed: frozenset[int], own_uid: int, max_total: int, max_per_uid: int) -> None:
        self._own_uid = own_uid
        self._by_uid: dict[int, int] = {}
        self.open = 0
        self.use(allowed=allowed, max_total=max_total, max_per_uid=max_per_uid)

    def use(self, *, allowed: frozenset[int], max_total: int, max_per_uid: int) -> None:
        """Let others in, or more, or fewer, from now on; who is in stays in and counts."""
        self._allowed = allowed | {0, self._own_uid}
        self._max_total = max_total
        self._max_per_uid = max_per_uid
        self._part = min(max_total // SET_ASIDE // len(self._allowed), max_per_uid)
        self._lacked = sum(max(self._part - self._by_uid.get(uid, 0), 0) for uid in self._allowed)
        """Seats that users with less than their part still need to have it."""

    def allows(self, uid: int) -> bool:
        """Whether this user may ask at all."""
        return uid in self._allowed

    def enter(self, uid: int) -> Shed | None:
        """Count a connection in; or say why not, and count nothing."""
        if uid not in self._allowed:
            return Shed.UID
        if self.open >= self._max_total:
            return Shed.CONNECTIONS
        count = self._by_uid.get(uid, 0)
        if count >= self._max_per_uid or (count >= self._part and not self._has_more_for(uid, count)):
            return Shed.CONNECTIONS_PER_UID
        self.open += 1
        self._by_uid[uid] = count + 1
        if count < self._part:
            self._lacked -= 1
        return None

    def leave(self, uid: int) -> None:
        """Count out a connection that had come in."""
        self.open -= 1
        self._by_uid[uid] -= 1
        if uid in self._allowed and self._by_uid[uid] < self._part:
            self._lacked += 1

    def _has_more_for(self, uid: int, count: int) -> bool:
        """Whether a user that has its part may have one seat more."""
        if self._max_total - self.open <= self._lacked:
            return False
        return self.open < self._max_total * CROWDED or count < self._equal_share(uid)

    def _equal_share(self, uid: int) -> int:
        """What each of those that have their part may have when it is crowded; `uid` wants to be one of them."""
        wanting = {one for one, count in self._by_uid.items() if count >= max(self._part, 1)} | {uid}
        return (self._max_total - self._part * len(self._allowed - wanting)) // len(wanting)
