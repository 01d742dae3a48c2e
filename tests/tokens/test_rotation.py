from __future__ import annotations

from typing import Any

import pytest

from pgoauthd.tokens.keys import KeySet, read_key_set
from pgoauthd.tokens.rotation import MAX_SHOWN, compare, shown
from tests.fix_tokens import DROP, SigningKey, signing_key


def keys(*jwks: dict[str, Any]) -> KeySet:
    read = read_key_set({"keys": list(jwks)})
    assert isinstance(read, KeySet), read
    return read


def key(kid: str) -> dict[str, Any]:
    return signing_key(kid, "ES256").jwk()


def impostor(kid: str) -> dict[str, Any]:
    """Another key under the same kid."""
    return SigningKey(kid, "ES256", signing_key(f"{kid}-impostor", "ES256").private).jwk()


def test_the_same_keys_read_twice_say_the_same() -> None:
    assert keys(key("a"), key("b")).says_the_same(keys(key("a"), key("b")))


def test_the_order_of_a_set_says_nothing() -> None:
    assert keys(key("a"), key("b")).says_the_same(keys(key("b"), key("a")))


@pytest.mark.parametrize(
    "other",
    [
        [key("b")],
        [key("a"), key("b")],
        [impostor("a")],
        [signing_key("a", "ES256").jwk(kid="c")],
        [signing_key("a", "ES256").jwk(kid=DROP)],
        [key("a"), signing_key("b", "ES256").jwk(use="enc")],
        [key("a"), key("b"), impostor("b")],
    ],
    ids=[
        "another",
        "one more",
        "other numbers",
        "other kid",
        "no kid",
        "one more unusable",
        "one more kid listed twice",
    ],
)
def test_sets_that_would_judge_some_token_otherwise_do_not_say_the_same(other: list[dict[str, Any]]) -> None:
    one = keys(key("a"))
    assert not one.says_the_same(keys(*other))
    assert not keys(*other).says_the_same(one)


def test_another_algorithm_for_a_key_is_another_set_but_no_other_key() -> None:
    free, bound = keys(signing_key("r").jwk(alg=DROP)), keys(signing_key("r").jwk(alg="PS256"))
    assert not free.says_the_same(bound)
    assert compare(free, bound).removed == ()


def test_a_key_without_kid_listed_twice_is_another_set_than_listed_once() -> None:
    nameless = signing_key("a", "ES256").jwk(kid=DROP)
    assert not keys(nameless).says_the_same(keys(nameless, nameless))


def test_what_came_and_went_is_named_by_its_kid() -> None:
    changes = compare(keys(key("a"), key("b")), keys(key("b"), key("c")))
    assert (changes.added, changes.removed, changes.replaced) == (("c",), ("a",), ())


def test_the_same_keys_changed_nothing() -> None:
    changes = compare(keys(key("a")), keys(key("a")))
    assert (changes.added, changes.removed, changes.replaced) == ((), (), ())


def test_other_numbers_under_the_same_kid_are_one_key_less_and_one_more_and_told_as_such() -> None:
    changes = compare(keys(key("a"), key("b")), keys(impostor("a"), key("b")))
    assert (changes.added, changes.removed, changes.replaced) == (("a",), ("a",), ("a",))


def test_a_key_that_is_listed_still_but_no_longer_usable_went() -> None:
    changes = compare(keys(key("a"), key("b")), keys(signing_key("a", "ES256").jwk(use="enc"), key("b")))
    assert changes.removed == ("a",)


def test_keys_without_kid_are_told_by_their_numbers() -> None:
    nameless, other = (signing_key(kid, "ES256").jwk(kid=DROP) for kid in ("a", "b"))
    assert compare(keys(nameless), keys(nameless)).added == ()
    changes = compare(keys(nameless), keys(other))
    assert (changes.added, changes.removed) == (("(a key without kid)",), ("(a key without kid)",))
    assert changes.replaced == ()


def test_a_key_that_gets_another_kid_went_and_came() -> None:
    changes = compare(keys(key("a")), keys(signing_key("a", "ES256").jwk(kid="z")))
    assert (changes.added, changes.removed, changes.replaced) == (("z",), ("a",), ())


def test_only_the_first_kids_are_shown() -> None:
    assert shown(("a", "b")) == ["a", "b"]
    many = tuple(f"kid-{number}" for number in range(MAX_SHOWN + 7))
    assert shown(many) == [*many[:MAX_SHOWN], "and 7 more"]
