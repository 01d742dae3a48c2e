from __future__ import annotations

import os
import pwd
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


# fairness: seats for ten are 80 with three users (root, our own, postgres), of which each has a part of three


def fill(doors: Admission, uid: int, times: int = 1_000) -> int:
    """How many of so many connections of one user come in."""
    return sum(doors.enter(uid) is None for _ in range(times))


def test_one_user_alone_gets_all_seats_but_the_parts_of_the_others() -> None:
    assert fill(admission(total=80, per_uid=80), POSTGRES) == 80 - 2 * 3


def test_who_finds_only_the_parts_of_others_free_is_told_that_it_has_too_many() -> None:
    doors = admission(total=80, per_uid=80)
    fill(doors, POSTGRES)
    assert doors.enter(POSTGRES) is Shed.CONNECTIONS_PER_UID


@pytest.mark.parametrize("uid", [0, OWN])
def test_each_of_the_others_finds_its_part_when_one_user_took_what_it_could(uid: int) -> None:
    doors = admission(total=80, per_uid=80)
    fill(doors, POSTGRES)
    assert fill(doors, uid) == 3


def test_the_part_of_who_left_is_kept_for_it_again() -> None:
    doors = admission(total=80, per_uid=80)
    fill(doors, OWN, 3)
    for _ in range(3):
        doors.leave(OWN)
    assert fill(doors, POSTGRES) == 80 - 2 * 3
    assert fill(doors, OWN) == 3


def test_all_parts_together_fill_the_last_seat() -> None:
    doors = admission(total=80, per_uid=80)
    for uid in (POSTGRES, 0, OWN):
        fill(doors, uid)
    assert doors.open == 80
    assert doors.enter(POSTGRES) is Shed.CONNECTIONS


def test_two_storms_at_the_same_time_get_equal_shares() -> None:
    doors = admission(total=80, per_uid=80)
    for _ in range(1_000):
        doors.enter(POSTGRES)
        doors.enter(OWN)
    assert fill(doors, POSTGRES) == fill(doors, OWN) == 0
    for uid in (POSTGRES, OWN):
        for _ in range((80 - 3) // 2):
            doors.leave(uid)
    assert doors.open == 0


def test_a_second_storm_gets_its_share_as_the_connections_of_the_first_end() -> None:
    doors = admission(total=80, per_uid=80)
    held, got = fill(doors, POSTGRES), fill(doors, OWN)
    for _ in range(100):
        doors.leave(POSTGRES)
        held += (doors.enter(POSTGRES) is None) - 1
        got += doors.enter(OWN) is None
        if held == got:
            break
    assert (held, got) == (38, 38)


def test_a_share_counts_only_when_three_quarters_of_the_seats_are_taken() -> None:
    doors = admission(total=80, per_uid=80)
    assert fill(doors, OWN, 5) == 5
    assert fill(doors, POSTGRES, 55) == 55
    assert doors.enter(POSTGRES) is Shed.CONNECTIONS_PER_UID
    doors.leave(OWN)
    assert doors.enter(POSTGRES) is None


def test_who_needs_less_than_its_part_takes_nothing_from_a_storm() -> None:
    doors = admission(total=80, per_uid=80)
    assert fill(doors, OWN, 2) == 2
    assert fill(doors, POSTGRES) == 80 - 2 * 3


def test_a_user_that_was_here_and_left_takes_nothing_from_a_storm() -> None:
    doors = admission(total=4, per_uid=4)
    assert doors.enter(OWN) is None
    doors.leave(OWN)
    assert fill(doors, POSTGRES) == 4


def test_a_cap_for_each_user_below_its_part_leaves_no_seat_empty_for_nothing() -> None:
    doors = admission(total=80, per_uid=1)
    assert [fill(doors, uid) for uid in (0, OWN, POSTGRES)] == [1, 1, 1]


@given(
    users=st.integers(1, 5),
    total=st.integers(0, 120),
    moves=st.lists(st.tuples(st.integers(0, 4), st.integers(-40, 40)), max_size=30),
)
def test_whatever_came_before_a_user_with_less_than_its_part_comes_in(
    users: int, total: int, moves: list[tuple[int, int]]
) -> None:
    doors = Admission(allowed=frozenset(range(users)), own_uid=0, max_total=total, max_per_uid=total)
    part, holds = total // 8 // users, [0] * users
    for who, count in moves:
        uid = who % users
        for _ in range(max(count, 0)):
            before, verdict = holds[uid], doors.enter(uid)
            assert verdict is None or before >= part
            holds[uid] += verdict is None
        for _ in range(min(max(-count, 0), holds[uid])):
            doors.leave(uid)
            holds[uid] -= 1
        assert doors.open == sum(holds) <= total


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
