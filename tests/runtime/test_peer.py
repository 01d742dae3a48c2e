from __future__ import annotations

import os
import pwd
import socket

import pytest

from pgoauthd.runtime.peer import Admission, Shed, look_up_users, read_peer
from pgoauthd.telemetry.metrics import SHED_KINDS

OWN = 1000
POSTGRES = 70
STRANGER = 65_000


def admission(*, total: int = 10, per_uid: int = 10) -> Admission:
    return Admission(allowed=frozenset({POSTGRES}), own_uid=OWN, max_total=total, max_per_uid=per_uid)


def test_the_kernel_says_who_connected() -> None:
    here, there = socket.socketpair(socket.AF_UNIX)
    with here, there:
        peer = read_peer(here)
    assert (peer.pid, peer.uid, peer.gid) == (os.getpid(), os.geteuid(), os.getegid())


def test_a_tcp_connection_has_no_peer_to_read() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()[:2]) as tcp:
        # Linux answers with pid 0 and uid -1, which is nobody
        assert read_peer(tcp).uid == -1
    assert admission().enter(-1) is Shed.UID


@pytest.mark.parametrize("uid", [POSTGRES, OWN, 0])
def test_allowed_users_root_and_our_own_user_may_come_in(uid: int) -> None:
    assert admission().enter(uid) is None


@pytest.mark.parametrize("uid", [STRANGER, 1, 65_534])
def test_all_others_may_not(uid: int) -> None:
    doors = admission()
    assert doors.enter(uid) is Shed.UID
    assert doors.open == 0


def test_the_total_is_capped_for_all_users_together() -> None:
    doors = admission(total=3)
    assert [doors.enter(uid) for uid in (0, OWN, POSTGRES)] == [None, None, None]
    assert doors.enter(POSTGRES) is Shed.CONNECTIONS
    assert doors.open == 3


def test_one_user_cannot_take_the_places_of_others() -> None:
    doors = admission(per_uid=2)
    assert [doors.enter(POSTGRES) for _ in range(3)] == [None, None, Shed.CONNECTIONS_PER_UID]
    assert doors.enter(OWN) is None


def test_who_leaves_makes_room() -> None:
    doors = admission(total=1, per_uid=1)
    for _ in range(3):
        assert doors.enter(POSTGRES) is None
        assert doors.enter(POSTGRES) is not None
        doors.leave(POSTGRES)
    assert doors.open == 0


def test_a_stranger_is_refused_as_such_also_when_all_places_are_taken() -> None:
    doors = admission(total=0)
    assert doors.enter(STRANGER) is Shed.UID


def test_names_and_uids_are_looked_up() -> None:
    account = pwd.getpwuid(0)
    users = look_up_users((account.pw_name, 54_321))
    assert users.uids == {0, 54_321}
    assert users.unknown == ()
    assert users.group == account.pw_gid


def test_a_name_without_account_is_told_and_lets_nobody_in() -> None:
    users = look_up_users(("no-such-user-here", "nor-this-one"))
    assert users.unknown == ("no-such-user-here", "nor-this-one")
    assert users.uids == frozenset()
    assert users.group is None


def test_a_uid_without_account_counts_as_it_is() -> None:
    users = look_up_users((54_321,))
    assert users.uids == {54_321}
    assert users.group is None


def test_the_group_is_that_of_the_first_user_with_an_account() -> None:
    first, second = pwd.getpwall()[:2]
    assert look_up_users(("no-such-user-here", second.pw_name, first.pw_name)).group == second.pw_gid


def test_the_kinds_that_are_turned_away_are_those_that_are_counted() -> None:
    assert set(SHED_KINDS) == set(Shed)
