from __future__ import annotations

import copy

import pytest

from pgoauthd.tokens.linearregex import LinearRegex


@pytest.mark.parametrize(
    ("pattern", "text", "groups"),
    [
        ("a", "a", ("a",)),
        ("(a)(b)?", "a", ("a", "a", "")),
        ("(a)|(b)", "b", ("b", "", "b")),
        ("a|ab", "ab", ("ab",)),
        ("(.*)", "", ("", "")),
        ("(?P<name>.+)-ro", "zoë-ro", ("zoë-ro", "zoë")),
        (".*", "a\nb", ("a\nb",)),
        (".*", "a\0b", ("a\0b",)),
        ("(?i)alice", "ALICE", ("ALICE",)),
    ],
)
def test_an_expression_that_matches_gives_all_and_its_groups(pattern: str, text: str, groups: tuple[str, ...]) -> None:
    assert LinearRegex(pattern).match_whole(text) == groups


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("a", "ab"),
        ("a", "ba"),
        ("a$", "a\n"),
        ("^a", "\na"),
        ("a|b", "ab"),
        ("alice", "Alice"),
        (r"\d+", "\u0663"),
        (r"\w+", "é"),
    ],
)
def test_an_expression_must_match_the_whole_text(pattern: str, text: str) -> None:
    assert LinearRegex(pattern).match_whole(text) is None


@pytest.mark.parametrize(
    "pattern", ["(", "[a", "a**", r"(a)\1", "(?=a)", "(?<!a)b", "a{1001}", "(a{999}){999}", r"\C", r"a\\\C", "\ud800"]
)
def test_what_cannot_be_matched_in_linear_time_and_whole_characters_is_an_error(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        LinearRegex(pattern)


def test_an_error_is_in_words() -> None:
    with pytest.raises(ValueError, match=r"^missing \): a\(b$"):
        LinearRegex("a(b")


def test_a_backslash_before_a_letter_c_is_a_backslash_and_a_letter() -> None:
    assert LinearRegex(r"\\C").match_whole(r"\C") == (r"\C",)


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*b", "(a*)*(a*)*c", "(.*)(.*)(.*)(.*)(.*)(.*)x"])
def test_what_takes_other_engines_for_ever_ends(pattern: str) -> None:
    assert LinearRegex(pattern).match_whole("a" * 256 + "!") is None


@pytest.mark.parametrize(
    ("pattern", "ignores"),
    [("(?i)a", True), ("a(?si:b)", True), ("(?P<i>a)", False), ("i?", False), ("a", False), ("(?s)i", False)],
)
def test_an_expression_knows_whether_it_ignores_case(pattern: str, ignores: bool) -> None:
    assert LinearRegex(pattern).ignores_case is ignores


def test_an_expression_knows_its_groups() -> None:
    assert [LinearRegex(pattern).groups for pattern in ("a", "(a)", "(a)(?:b)((c))")] == [0, 1, 3]


def test_expressions_of_the_same_pattern_are_equal() -> None:
    assert LinearRegex("a+") == LinearRegex("a+")
    assert len({LinearRegex("a+"), LinearRegex("a+"), LinearRegex("aa*")}) == 2
    assert LinearRegex("a") != "a"


def test_an_expression_shows_its_pattern() -> None:
    assert repr(LinearRegex("a+")) == "LinearRegex('a+')"


def test_an_expression_can_be_copied() -> None:
    assert copy.deepcopy(LinearRegex("(a)")).match_whole("a") == ("a", "a")
