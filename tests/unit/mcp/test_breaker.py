"""The circuit breaker, by the clock that it is told."""

from __future__ import annotations

from shared.mcp.breaker import FAILURES, LONGEST_OPEN_S, OPEN_S, CircuitBreaker


def opened(at: float = 0.0) -> CircuitBreaker:
    breaker = CircuitBreaker()
    opening = [breaker.failed(at) for _ in range(FAILURES)]
    assert opening == [False] * (FAILURES - 1) + [True]
    return breaker


def test_failures_in_a_row_open_it_and_a_success_between_does_not() -> None:
    breaker = CircuitBreaker()
    for _ in range(FAILURES * 2):
        breaker.failed(0.0)
        breaker.succeeded()
    assert breaker.admit(0.0)
    assert not opened().admit(0.0)


def test_one_call_tries_after_a_while_and_closes_it() -> None:
    breaker = opened()
    assert not breaker.admit(OPEN_S - 0.1)
    assert breaker.admit(OPEN_S)
    assert not breaker.admit(OPEN_S), "one at a time"
    breaker.succeeded()
    assert breaker.admit(OPEN_S)


def test_a_trial_that_fails_opens_it_for_longer_up_to_a_limit() -> None:
    breaker, now = opened(), OPEN_S
    for _ in range(10):
        assert breaker.admit(now)
        breaker.failed(now)
        assert not breaker.admit(now + OPEN_S)
        now += LONGEST_OPEN_S
    assert breaker.admit(now)


def test_a_trial_that_told_nothing_leaves_room_for_another() -> None:
    breaker = opened()
    assert breaker.admit(OPEN_S)
    breaker.abandoned()
    assert breaker.admit(OPEN_S)


def test_calls_that_were_under_way_do_not_prolong_it() -> None:
    breaker = opened()
    breaker.failed(OPEN_S - 0.1)
    assert breaker.admit(OPEN_S)
