"""What a run expects is asked of every stream that it touches, and a retried run goes on where it ended."""

from __future__ import annotations

import pytest

from esctl.append.expectations import AppendCondition, RunExpectation
from esctl.errors import ConflictError
from esctl.events.event import Expect
from esctl.log import EventLog
from esctl.store.store import Store
from tests.logs import put
from tests.stores import commit, event


@pytest.mark.parametrize(("before", "expect"), [(0, "none"), (0, 0), (2, 2), (2, "exists")])
def test_a_run_that_finds_what_it_expects_may_go_on_writing(store: Store, before: int, expect: Expect) -> None:
    commit(store, *[event() for _ in range(before)])
    run = RunExpectation(expect)
    versions = [receipt[2] for _ in range(2) for receipt in commit(store, event(), event(), run=run)]
    assert versions == [before + n for n in (1, 2, 3, 4)]


@pytest.mark.parametrize(("before", "expect"), [(1, "none"), (1, 0), (1, 2), (0, "exists"), (0, 1)])
def test_a_run_that_does_not_find_what_it_expects_is_a_conflict(store: Store, before: int, expect: Expect) -> None:
    commit(store, *[event() for _ in range(before)])
    with pytest.raises(ConflictError) as caught:
        commit(store, event(), run=RunExpectation(expect))
    assert (caught.value.details["actual"], caught.value.details["index"]) == (before, 0)


def test_a_run_asks_its_expectation_of_every_stream(store: Store) -> None:
    commit(store, event("cart-1"))
    with pytest.raises(ConflictError) as caught:
        commit(store, event("order-1"), event("order-1"), event("cart-1"), run=RunExpectation("none"))
    assert (caught.value.details["stream"], caught.value.details["index"]) == ("cart-1", 2)


def test_what_an_event_expects_goes_before_what_its_run_expects(store: Store) -> None:
    commit(store, event())
    assert commit(store, event(expect=1), run=RunExpectation("none"))[0][2] == 2


@pytest.mark.parametrize(("before", "expect"), [(0, "none"), (0, 0), (2, 2), (2, "exists")])
def test_a_retried_run_is_all_duplicates(store: Store, before: int, expect: Expect) -> None:
    commit(store, *[event() for _ in range(before)])
    batch = [event(), event(), event()]
    receipts = commit(store, *batch, run=RunExpectation(expect))
    assert commit(store, *batch, run=RunExpectation(expect)) == [(*receipt[:4], True) for receipt in receipts]


@pytest.mark.parametrize(("before", "expect"), [(0, "none"), (0, 0), (2, 2), (2, "exists")])
@pytest.mark.parametrize("cut", [0, 1, 2, 3, 4])
def test_a_retried_run_goes_on_where_its_first_try_ended(store: Store, before: int, expect: Expect, cut: int) -> None:
    commit(store, *[event() for _ in range(before)])
    batch = [event() for _ in range(4)]
    commit(store, *batch[:cut], run=RunExpectation(expect))
    retried = RunExpectation(expect)
    receipts = commit(store, *batch[:2], run=retried) + commit(store, *batch[2:], run=retried)
    assert [(receipt[2], receipt[4]) for receipt in receipts] == [(before + n + 1, n < cut) for n in range(4)]


def test_a_retried_run_does_not_go_on_over_what_others_wrote_since(store: Store) -> None:
    batch = [event(), event(), event()]
    commit(store, *batch[:2], run=RunExpectation("none"))
    commit(store, event())
    with pytest.raises(ConflictError) as caught:
        commit(store, *batch, run=RunExpectation("none"))
    assert (caught.value.details["index"], caught.value.details["actual"]) == (2, 3)


# A condition over the log


@pytest.mark.parametrize(("after", "met"), [(0, [1, 3]), (1, [3]), (2, [3]), (3, [])])
def test_a_condition_is_asked_of_what_came_after_a_position(log: EventLog, after: int, met: list[int]) -> None:
    put(log, event("s-1", "A"), event("s-1", "B"), event("s-2", "A"))
    condition = AppendCondition("type = 'A'", after)
    receipts = put(log, event("s-3", "A"))  # of the batch itself nothing is asked
    if met:
        with pytest.raises(ConflictError, match=f"after position {after}") as caught:
            condition.check(log, receipts, 3)
        assert caught.value.details["positions"] == met
        assert "#3 A in s-2" in caught.value.why
    else:
        condition.check(log, receipts, 3)


def test_a_batch_of_duplicates_meets_any_condition(log: EventLog) -> None:
    batch = [event("s-1", "A"), event("s-1", "A")]
    put(log, *batch)
    AppendCondition("1", 0).check(log, put(log, *batch), 2)


def test_a_conflict_names_ten_events_at_most(log: EventLog) -> None:
    put(log, *(event("s-1", "A") for _ in range(12)))
    with pytest.raises(ConflictError) as caught:
        AppendCondition("type = 'A'", 0).check(log, put(log, event("s-2")), 12)
    assert caught.value.details["positions"] == list(range(1, 11))
