from __future__ import annotations

from pgoauthd.runtime.idp.breaker import Breaker
from pgoauthd.tokens.reasons import Reason
from pgoauthd.tokens.verdict import Refusal

FAILURE = Refusal(Reason.IDP_TIMEOUT, "silence")


def opened(now: float = 100.0) -> Breaker:
    breaker = Breaker(5)
    for _ in range(5):
        breaker.failed(FAILURE, now, probe=breaker.begin())
    return breaker


def test_it_opens_at_the_fifth_failure_in_a_row_and_says_so_once() -> None:
    breaker = Breaker(5)
    assert [breaker.failed(FAILURE, 0.0, probe=False) for _ in range(7)] == [False] * 4 + [True, False, False]


def test_a_success_begins_the_row_anew() -> None:
    breaker = Breaker(5)
    for _ in range(3):
        for _ in range(4):
            breaker.failed(FAILURE, 0.0, probe=False)
        assert breaker.succeeded() is False
    assert breaker.refusal(0.0) is None


def test_it_refuses_with_the_last_failure_and_the_seconds_left() -> None:
    assert opened(100.0).refusal(100.2) == Refusal(Reason.IDP_TIMEOUT, "silence; it is asked again in 1 s")


def test_the_delay_doubles_with_each_probe_that_fails_up_to_half_a_minute() -> None:
    breaker, now, delays = opened(0.0), 0.0, []
    for _ in range(7):
        delays.append(breaker.delay_seconds)
        assert breaker.refusal(now + breaker.delay_seconds - 0.001) is not None
        now += breaker.delay_seconds
        assert breaker.refusal(now) is None
        breaker.failed(FAILURE, now, probe=breaker.begin())
    assert delays == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_failures_of_requests_that_began_before_it_opened_do_not_lengthen_the_delay() -> None:
    breaker = opened(0.0)
    for _ in range(32):
        breaker.failed(FAILURE, 0.5, probe=False)
    assert breaker.delay_seconds == 1.0
    assert breaker.refusal(1.0) is None


def test_it_is_at_the_edge_before_the_fifth_failure_and_at_each_probe() -> None:
    breaker, edges = Breaker(5), []
    for _ in range(6):
        edges.append(breaker.is_at_edge(probe=False))
        breaker.failed(FAILURE, 0.0, probe=False)
    assert edges == [False] * 4 + [True, False]
    assert breaker.is_at_edge(probe=True)


def test_only_one_probe_goes_through() -> None:
    breaker = opened(0.0)
    assert breaker.refusal(1.0) is None
    assert breaker.begin() is True
    refused = breaker.refusal(1.0)
    assert refused == Refusal(Reason.IDP_TIMEOUT, "silence; it is being asked again at this moment")


def test_a_probe_that_was_given_up_makes_way_for_the_next() -> None:
    breaker = opened(0.0)
    breaker.give_up(probe=breaker.begin())
    assert breaker.refusal(1.0) is None


def test_a_request_that_was_given_up_is_not_the_probe() -> None:
    breaker = opened(0.0)
    breaker.begin()
    breaker.give_up(probe=False)
    assert breaker.refusal(1.0) is not None


def test_a_success_closes_it_and_the_next_delay_is_short_again() -> None:
    breaker = opened(0.0)
    for now in (1.0, 3.0, 7.0):
        breaker.failed(FAILURE, now, probe=breaker.begin())
    breaker.begin()
    assert breaker.succeeded() is True
    assert (breaker.is_open, breaker.refusal(15.0)) == (False, None)
    for _ in range(5):
        breaker.failed(FAILURE, 20.0, probe=breaker.begin())
    assert breaker.delay_seconds == 1.0


def test_a_number_of_failures_of_its_own_opens_it() -> None:
    breaker = Breaker(1)
    assert breaker.failed(FAILURE, 0.0, probe=breaker.begin()) is True
    assert breaker.open_until == 1.0
    assert breaker.last_failure == FAILURE


def test_one_that_takes_over_keeps_to_the_delay_and_has_a_probe_of_its_own() -> None:
    before, breaker = opened(0.0), Breaker(5)
    assert before.begin() is True
    breaker.take_over(before)
    assert breaker.refusal(0.9) is not None
    assert breaker.refusal(1.0) is None
    breaker.failed(FAILURE, 1.0, probe=breaker.begin())
    assert (breaker.delay_seconds, before.delay_seconds) == (2.0, 1.0)
