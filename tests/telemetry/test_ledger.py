from __future__ import annotations

from pgoauthd.telemetry.ledger import Entries, Ledger, Series

LOGINS: Series = ("login_attempts", ("main",))
LAST: Series = ("last_success", ("main",))


class Board:
    """A ledger and what it has shown."""

    def __init__(self) -> None:
        self.shown: list[Entries] = []
        self.ledger = Ledger(self.shown.append)


def test_what_nobody_saves_is_shown_at_once() -> None:
    board = Board()
    board.ledger.add(LOGINS, 2)
    board.ledger.put(LAST, 7.0)
    assert board.shown == [({LOGINS: 2}, {}), ({}, {LAST: 7.0})]
    assert board.ledger.take() == ({}, {})


def test_what_is_held_back_is_shown_by_nobody_but_who_takes_it() -> None:
    board = Board()
    board.ledger.hold_back()
    board.ledger.add(LOGINS, 2)
    board.ledger.put(LAST, 7.0)
    assert board.shown == []
    board.ledger.show(board.ledger.take())
    assert board.shown == [({LOGINS: 2}, {LAST: 7.0})]


def test_what_is_counted_adds_up_and_of_what_is_set_the_last_stands() -> None:
    board = Board()
    board.ledger.hold_back()
    for value in (1.0, 2.5):
        board.ledger.add(LOGINS, value)
        board.ledger.put(LAST, value)
    assert board.ledger.take() == ({LOGINS: 3.5}, {LAST: 2.5})


def test_each_entry_is_taken_once() -> None:
    board = Board()
    board.ledger.hold_back()
    board.ledger.add(LOGINS, 1)
    taken = board.ledger.take()
    board.ledger.add(LOGINS, 4)
    assert (taken.added, board.ledger.take().added, board.ledger.take().added) == ({LOGINS: 1}, {LOGINS: 4}, {})
