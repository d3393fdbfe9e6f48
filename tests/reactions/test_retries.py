"""Pauses between attempts, and the breaker."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esctl.reactions.retries import BREAK_SECONDS, MAX_BREAK_SECONDS, MAX_PAUSE_SECONDS, Breaker, pause


@pytest.mark.parametrize(("attempt", "longest"), [(1, 0.5), (2, 1.0), (3, 2.0), (40, MAX_PAUSE_SECONDS)])
def test_the_longest_pause_doubles_up_to_a_limit(attempt: int, longest: float) -> None:
    assert pause(attempt, 0.5, lambda: 1.0) == longest
    assert pause(attempt, 0.5, lambda: 0.0) == 0.0


@given(st.integers(1, 10**9), st.floats(0, 86400))
def test_a_pause_is_never_longer_than_the_limit(attempt: int, backoff: float) -> None:
    assert 0 <= pause(attempt, backoff) <= MAX_PAUSE_SECONDS


def test_different_events_that_fail_one_after_the_other_open_the_breaker() -> None:
    breaker = Breaker(3)
    for position in (1, 2, 2, 2, 1):
        breaker.failure((position, 0), 100.0)
    assert breaker.allows(100.0, 9)
    breaker.failure((3, 0), 100.0, lambda: 1.0)
    assert not breaker.allows(100.0, 0)
    assert not breaker.allows(100.0 + BREAK_SECONDS - 0.1, 0)
    assert breaker.allows(100.0 + BREAK_SECONDS, 0)
    assert not breaker.allows(100.0 + BREAK_SECONDS, 1)  # only one, to try


def test_an_event_that_is_handled_closes_it() -> None:
    breaker = Breaker(2)
    breaker.failure((1, 0), 0.0)
    breaker.success()
    breaker.failure((2, 0), 0.0)
    assert breaker.allows(0.0, 5)
    breaker.failure((3, 0), 0.0)
    assert not breaker.allows(0.0, 0)
    breaker.success()
    assert breaker.allows(0.0, 5)
    assert breaker.failing == 0


def test_while_it_is_tried_each_failure_doubles_the_time() -> None:
    breaker, now = Breaker(1), 0.0
    waits = []
    for _ in range(8):
        breaker.failure((1, 0), now, lambda: 1.0)
        assert breaker.until is not None
        waits.append(breaker.until - now)
        now = breaker.until
    assert waits == [10.0, 20.0, 40.0, 80.0, 160.0, *[MAX_BREAK_SECONDS] * 3]


def test_handlers_that_ran_when_it_opened_do_not_count() -> None:
    breaker = Breaker(1)
    for position in range(50):
        breaker.failure((position, 0), 0.0, lambda: 1.0)
    assert breaker.until == BREAK_SECONDS


def test_without_a_limit_it_never_opens() -> None:
    breaker = Breaker(0)
    for position in range(100):
        breaker.failure((position, 0), 0.0)
    assert breaker.allows(0.0, 9)
