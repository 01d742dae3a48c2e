from __future__ import annotations

import pytest

from pgoauthd.tokens.wording import kind, listed, quoted


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("alice", "'alice'"),
        ("", "''"),
        ("o'neil", '"o\'neil"'),
        ("zoë", "'zoë'"),
        ("a" * 100, repr("a" * 100)),
        ("a" * 101, "(a value of 101 characters, not shown)"),
        ("a\nb", "(a value of 3 characters, not shown)"),
        ("\u202ea", "(a value of 2 characters, not shown)"),
        ("\ud800", "(a value of 1 characters, not shown)"),
    ],
)
def test_a_value_is_shown_only_if_short_and_printable(value: str, shown: str) -> None:
    assert quoted(value) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "nothing"), (1, "'0'"), (5, "'0', '1', '2', '3', '4'"), (6, "'0', '1', '2', '3', '4' and 1 more")],
)
def test_a_list_shows_its_first_five_values(count: int, shown: str) -> None:
    assert listed([str(i) for i in range(count)]) == shown


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (None, "null"),
        (True, "a boolean"),
        (1, "a number"),
        (1.5, "a number"),
        ("", "a string"),
        ([], "an array"),
        ({}, "an object"),
    ],
)
def test_a_value_is_named_in_the_words_of_json(value: object, name: str) -> None:
    assert kind(value) == name
