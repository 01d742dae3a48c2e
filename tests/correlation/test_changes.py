from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pgoauthd.correlation.changes import Changes


class Kept:
    """Things by key, saved by what Changes hands out alone."""

    def __init__(self) -> None:
        self.there: dict[int, int] = {}
        self.saved: dict[int, int] = {}
        self.changes: Changes[int] = Changes()

    def change(self, key: int, value: int) -> None:
        self.there[key] = value
        self.changes.changed(key)

    def end(self, key: int) -> None:
        if self.there.pop(key, None) is not None:
            self.changes.gone(key)

    def save(self) -> None:
        before = dict(self.saved)
        changed, gone, _ = self.changes.take(self.there)
        for key in gone:
            del self.saved[key]  # nothing is forgotten that was not saved
        self.saved |= {key: self.there[key] for key in changed}
        assert self.saved == self.there
        assert len(set(changed) | set(gone)) == len(changed) + len(gone) <= len({*before, *self.there})


MOVES = st.one_of(
    st.tuples(st.just("change"), st.integers(0, 4), st.integers()),
    st.tuples(st.just("end"), st.integers(0, 4)),
    st.tuples(st.just("save")),
)


@given(moves=st.lists(MOVES))
def test_what_is_handed_out_leads_from_one_save_to_the_next(moves: list[tuple[Any, ...]]) -> None:
    kept = Kept()
    for name, *values in moves:
        getattr(kept, name)(*values)
    kept.save()
    assert kept.changes.take(kept.there)[:2] == ([], [])


def test_what_came_and_went_between_two_saves_leaves_no_trace() -> None:
    changes: Changes[int] = Changes()
    for key in range(100_000):
        changes.changed(key)
        changes.gone(key)
    assert changes.take(())[:2] == ([], [])


def test_what_was_saved_once_and_forgotten_leaves_none_either_when_it_comes_again() -> None:
    changes: Changes[int] = Changes()
    changes.changed(1)
    assert changes.take({1})[:2] == ([1], [])
    changes.gone(1)
    assert changes.take(())[:2] == ([], [1])
    changes.changed(1)
    changes.gone(1)
    assert changes.take(())[:2] == ([], [])


def test_what_the_last_run_has_saved_is_forgotten_when_it_ends() -> None:
    changes: Changes[str] = Changes()
    changes.was_saved("a.1")
    assert changes.take({"a.1"})[:2] == ([], [])
    changes.gone("a.1")
    assert changes.take(())[:2] == ([], ["a.1"])


def test_what_ends_and_begins_again_before_a_save_is_saved_and_not_forgotten() -> None:
    changes: Changes[int] = Changes()
    changes.was_saved(1)
    changes.gone(1)
    changes.changed(1)
    assert changes.take({1})[:2] == ([1], [])


def test_what_changes_is_handed_out_in_the_order_in_which_it_first_did() -> None:
    changes: Changes[int] = Changes()
    for key in (3, 1, 2, 3):
        changes.changed(key)
    assert changes.take({1, 2, 3})[:2] == ([3, 1, 2], [])


def test_what_no_save_has_had_is_fresh_until_it_is_handed_out() -> None:
    changes: Changes[int] = Changes()
    changes.was_saved(1)
    for key in (1, 2):
        changes.changed(key)
    assert changes.take({1, 2}).fresh == {2}
    changes.changed(2)
    assert changes.take({1, 2}).fresh == frozenset()
