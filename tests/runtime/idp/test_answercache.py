from __future__ import annotations

from typing import Any

import pytest

from pgoauthd.config.values import Introspection
from pgoauthd.runtime.idp.answercache import MAX_ANSWER_BYTES, MAX_ANSWERS, AnswerCache
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import Refusal

ACTIVE = {"active": True}
INACTIVE = Refusal(Reason.TOKEN_INACTIVE, "not active")


def cache(**settings: Any) -> AnswerCache:  # noqa: ANN401 - any field
    return AnswerCache(Introspection(client_id="pgoauthd", **settings))


def find(kept: AnswerCache, token: bytes, now: float = 0.0) -> object:
    return kept.find(token, monotonic=now, wall=now)


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.TOKEN_INACTIVE])
def test_no_refusal_is_remembered_but_that_of_an_inactive_token(reason: Reason) -> None:
    kept = cache()
    kept.keep(b"1", Refusal(reason, ""), size=0, asked_at=0.0)
    assert find(kept, b"1") is None


def test_a_failure_takes_away_what_was_known() -> None:
    kept = cache(cache_seconds=300.0)
    kept.keep(b"1", ACTIVE, size=1, asked_at=0.0)
    kept.keep(b"1", Refusal(Reason.IDP_ERROR, ""), size=0, asked_at=1.0)
    assert find(kept, b"1", 1.0) is None


def test_the_newer_answer_takes_the_place_of_the_other_kind() -> None:
    kept = cache(cache_seconds=300.0, negative_cache_seconds=300.0)
    kept.keep(b"1", ACTIVE, size=1, asked_at=0.0)
    kept.keep(b"1", INACTIVE, size=1, asked_at=1.0)
    assert find(kept, b"1", 1.0) is INACTIVE
    kept.keep(b"1", ACTIVE, size=1, asked_at=2.0)
    assert find(kept, b"1", 2.0) is ACTIVE


@pytest.mark.parametrize("answer", [ACTIVE, INACTIVE])
def test_memory_is_bounded_and_the_oldest_goes_first(answer: Any) -> None:  # noqa: ANN401
    kept = cache()
    for number in range(MAX_ANSWERS + 10):
        kept.keep(b"%d" % number, answer, size=1, asked_at=0.0)
    assert find(kept, b"9") is None
    assert find(kept, b"10") is answer


def test_what_is_too_old_makes_room_when_a_new_one_comes() -> None:
    kept = cache(cache_seconds=10.0)
    for number in range(100):
        kept.keep(b"%d" % number, ACTIVE, size=1, asked_at=float(number))
    assert len(kept) == 10


def test_a_large_answer_is_not_remembered() -> None:
    kept = cache()
    kept.keep(b"1", ACTIVE, size=MAX_ANSWER_BYTES, asked_at=0.0)
    kept.keep(b"2", ACTIVE, size=MAX_ANSWER_BYTES + 1, asked_at=0.0)
    assert find(kept, b"1") is ACTIVE
    assert find(kept, b"2") is None


def test_a_large_answer_does_not_leave_a_smaller_one_from_before() -> None:
    kept = cache(cache_seconds=300.0)
    kept.keep(b"1", ACTIVE, size=1, asked_at=0.0)
    kept.keep(b"1", ACTIVE, size=MAX_ANSWER_BYTES + 1, asked_at=1.0)
    assert find(kept, b"1", 1.0) is None


@pytest.mark.parametrize("expires", [True, "1", None, [1], {}])
def test_an_expiry_that_is_no_number_is_left_to_who_judges(expires: object) -> None:
    kept = cache()
    members = {"active": True, "exp": expires}
    kept.keep(b"1", members, size=1, asked_at=0.0)
    assert find(kept, b"1", 5.0) is members
    assert find(kept, b"1", 10.0) is None


@pytest.mark.parametrize("expires", [3, 3.5])
def test_an_answer_ends_with_its_token(expires: float) -> None:
    kept = cache()
    kept.keep(b"1", {"active": True, "exp": expires}, size=1, asked_at=0.0)
    assert find(kept, b"1", expires - 0.001) is not None
    assert find(kept, b"1", expires) is None
