"""Expressions whose meaning is sure, captures without doubt, and time that nobody can use up."""

from __future__ import annotations

import pytest

from pgoauthd.mapping.arespans import MAX_SUBJECT_BYTES, Doubt, Effort
from pgoauthd.mapping.aretree import InvalidExpressionError, UnsureExpressionError
from pgoauthd.mapping.pgregex import PgRegex


def captured(pattern: str, subject: str) -> str | None:
    """What the first group of a match is; Doubt goes up."""
    regex = PgRegex(pattern.encode())
    assert regex.matches(subject.encode())
    span = regex.first_capture(subject.encode(), Effort()).span
    return None if span is None else subject.encode()[slice(*span)].decode()


@pytest.mark.parametrize(
    ("pattern", "subject", "capture"),
    [
        (r"^(.*)@example\.org$", "alice@example.org", "alice"),
        (r"^(.*)@(.*)$", "a@b@c", "a@b"),
        (r"([a-z]+)", "..alice..", "alice"),
        (r"(a|ab)(c|bcd)(d*)", "abcd", "ab"),
        (r"^(?:(.*)@a|(.*)@b)$", "x@a", "x"),
        (r"^(?:(.*)@a|.*@b)$", "x@b", None),
        (r"^a(b)?$", "a", None),
        (r"^(a)+$", "a", "a"),
        (r"^(.*?)@b$", "a@b", "a"),
        (r"^((a)b)$", "ab", "ab"),
        (r"^(a{0})b", "b", ""),
        (r"^(?:(a)){0}b", "b", None),
        ("alice", "alice", None),
    ],
)
def test_a_capture_is_postgresqls(pattern: str, subject: str, capture: str | None) -> None:
    assert captured(pattern, subject) == capture


@pytest.mark.parametrize(
    ("pattern", "subject"),
    [
        (r"^(.*?)@(.*)$", "a@b@c"),
        (r"^(?:(a)|b)*$", "ab"),
        (r"^(?:x(a|ab)|x)(b?)$", "xab"),
        (r"^(a|b)+$", "ab"),
        (r"^(?:a|(a))$", "a"),
        (r"^(?:(a)?b)+$", "abb"),
        (r"^(?:(.*)@)$", "a" * (MAX_SUBJECT_BYTES + 1) + "@"),
    ],
)
def test_a_capture_that_may_be_another_is_in_doubt(pattern: str, subject: str) -> None:
    with pytest.raises(Doubt):
        captured(pattern, subject)


@pytest.mark.parametrize(
    "pattern", ["(?=a)b", r"(a)\1", r"\mab", r"a\y", "(?n)^a", "(?x)a b", "***=a", "(?#c)a", "[[.a.]]"]
)
def test_what_only_postgresql_knows_is_not_guessed(pattern: str) -> None:
    with pytest.raises(UnsureExpressionError):
        PgRegex(pattern.encode())


@pytest.mark.parametrize("pattern", [r"(?=a)(", r"\y[z-a]", r"(?n)a**", r"(?=(a))\1", r"\1(a)", r"(a\1)"])
def test_what_is_invalid_is_so_behind_what_is_not_sure_too(pattern: str) -> None:
    with pytest.raises(InvalidExpressionError):
        PgRegex(pattern.encode())


@pytest.mark.parametrize("pattern", ["((a{255}){255}){255}", "(" * 60 + ")" * 60, "(" * 5000])
def test_an_expression_that_is_too_large_is_not_sure(pattern: str) -> None:
    with pytest.raises(UnsureExpressionError):
        PgRegex(pattern.encode())


def test_nested_repetitions_take_no_more_than_a_budget() -> None:
    with pytest.raises(Doubt):
        captured("^(?:((((((a*)*)*)*)*)*)*)?b$", "a" * 1000 + "b")
