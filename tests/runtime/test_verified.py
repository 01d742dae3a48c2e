from __future__ import annotations

from pgoauthd.runtime.verified import MAX_AGE_SECONDS, MAX_TOKENS, Verified, VerifiedTokens
from pgoauthd.tokens.bearer import BearerToken
from pgoauthd.tokens.judge import read_statement
from pgoauthd.tokens.keys import KeySet
from tests.tokens.case import POLICY

KEYS = KeySet(())


def token(number: int = 0) -> BearerToken:
    read = BearerToken.read(f"canary-of-the-cache.{number}", max_bytes=1_000)
    assert isinstance(read, BearerToken)
    return read


def check(since: float = 0.0) -> Verified:
    return Verified(read_statement({"sub": "alice"}, POLICY), "rsa-1", POLICY, KEYS, since)


def test_a_check_is_found_by_the_very_token() -> None:
    verified, made = VerifiedTokens(), check()
    verified.add(token(1), made)
    assert verified.find(token(1), 0.0) is made
    assert verified.find(token(2), 0.0) is None


def test_nothing_is_found_in_an_empty_memory() -> None:
    assert VerifiedTokens().find(token(), 0.0) is None


def test_a_check_is_forgotten_when_it_is_old() -> None:
    verified = VerifiedTokens()
    verified.add(token(), check(since=100.0))
    assert verified.find(token(), 100.0 + MAX_AGE_SECONDS) is not None
    assert verified.find(token(), 100.0 + MAX_AGE_SECONDS + 0.001) is None


def test_a_newer_check_of_the_same_token_takes_the_place_of_the_old_one() -> None:
    verified, newer = VerifiedTokens(), check(since=50.0)
    verified.add(token(), check())
    verified.add(token(), newer)
    assert (len(verified), verified.find(token(), 50.0)) == (1, newer)


def test_old_checks_make_room_when_a_new_one_comes() -> None:
    verified = VerifiedTokens()
    for number in range(100):
        verified.add(token(number), check(since=float(number)))
    verified.add(token(100), check(since=MAX_AGE_SECONDS + 50.0))
    assert len(verified) == 51


def test_memory_is_bounded_and_the_oldest_goes_first() -> None:
    verified = VerifiedTokens()
    for number in range(MAX_TOKENS + 10):
        verified.add(token(number), check())
    assert len(verified) == MAX_TOKENS
    assert verified.find(token(9), 0.0) is None
    assert verified.find(token(10), 0.0) is not None


def test_what_is_remembered_shows_no_token() -> None:
    verified = VerifiedTokens()
    verified.add(token(), check())
    assert "canary" not in repr(vars(verified))
