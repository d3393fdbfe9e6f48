"""The same id again is a duplicate or a conflict, wherever its first event is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from esctl.archive import creation
from esctl.errors import ConflictError
from esctl.events.event import NewEvent, Receipt
from esctl.log import EventLog
from esctl.store.store import Store
from tests.conftest import Open, write_empty_log
from tests.stores import commit, event, positions, replayed

Place = Callable[[Store, NewEvent, NewEvent], Receipt]


def in_the_log(store: Store, first: NewEvent, second: NewEvent) -> Receipt:
    commit(store, first)
    return commit(store, event("other-1"), second)[1]


def in_the_transaction(store: Store, first: NewEvent, second: NewEvent) -> Receipt:
    with store.transaction():
        store.append([first])
        receipts = store.append([event("other-1"), second])
    return receipts[1]


def in_the_batch(store: Store, first: NewEvent, second: NewEvent) -> Receipt:
    return commit(store, first, second)[1]


def after_a_duplicate(store: Store, first: NewEvent, second: NewEvent) -> Receipt:
    seen = event("other-1")
    commit(store, seen)
    return commit(store, seen, first, seen, second)[3]


everywhere = pytest.mark.parametrize("again", [in_the_log, in_the_transaction, in_the_batch, after_a_duplicate])
ORIGINAL = event(id="same", data='{"a":1}', meta='{"b":2}')


@everywhere
def test_the_same_id_with_the_same_content_is_a_duplicate_that_stands_where_the_original_does(
    store: Store, again: Place
) -> None:
    receipt = again(store, ORIGINAL, ORIGINAL)
    (original,) = replayed(store, stream="order-1")
    assert receipt == (original[0], "order-1", 1, "same", True)


@everywhere
@pytest.mark.parametrize(
    "second",
    [
        event(id="same", data='{"a":1}', meta='{"b":2}', time="2026-01-31T09:30:00.000000Z"),
        event(id="same", data='{"a":1}', meta='{"b":2}', schema=2),
        event(id="same", data='{"a":1}', meta='{"b":2}', expect=77),
        event(id="same", data='{ "\\u0061": 1.0 }', meta='{"b":2e0}'),
    ],
    ids=["time", "schema", "expect", "spelling"],
)
def test_another_time_schema_expectation_or_spelling_is_still_a_duplicate(
    store: Store, again: Place, second: NewEvent
) -> None:
    assert again(store, ORIGINAL, second)[4]
    assert len(replayed(store, stream="order-1")) == 1


@everywhere
@pytest.mark.parametrize(
    "second",
    [
        event("order-2", id="same", data='{"a":1}', meta='{"b":2}'),
        event(type="OrderClosed", id="same", data='{"a":1}', meta='{"b":2}'),
        event(id="same", data='{"a":2}', meta='{"b":2}'),
        event(id="same", data='{"a":1}', meta="{}"),
    ],
    ids=["stream", "type", "data", "meta"],
)
def test_the_same_id_with_other_content_is_a_conflict_that_names_the_event(
    store: Store, again: Place, second: NewEvent
) -> None:
    with pytest.raises(ConflictError) as caught:
        again(store, ORIGINAL, second)
    details, first = caught.value.details, 2 if again is after_a_duplicate else 1
    assert details["index"] == (3 if again is after_a_duplicate else 1)
    if again is in_the_log:  # the others end with the event that they conflict with
        assert (details["position"], caught.value.fix) == (first, f"esctl show {first}")
    else:
        assert (details["earlier"], caught.value.fix) == (first, "")


def test_a_batch_may_mix_new_events_and_duplicates(store: Store) -> None:
    old = [event(), event("cart-1"), event()]
    commit(store, *old)
    receipts = commit(store, event(), old[2], event("cart-1"), old[0], event("new-1"))
    assert [receipt[4] for receipt in receipts] == [False, True, False, True, False]
    assert [receipt[2] for receipt in receipts] == [3, 2, 2, 1, 1]
    assert len(positions(store)) == 6


def test_a_batch_of_duplicates_leaves_the_head_where_it_is(store: Store) -> None:
    old = [event(), event("cart-1")]
    commit(store, *old)
    before = store.head()
    commit(store, *old)
    assert store.head() == before


def test_duplicates_of_what_another_store_wrote_are_known(connect: Open) -> None:
    one, two = connect(), connect()
    first = commit(one, ORIGINAL)[0]
    assert commit(two, ORIGINAL) == [(*first[:4], True)]


def test_after_duplicates_new_events_are_new_again(store: Store) -> None:
    old = event()
    commit(store, old)
    assert [commit(store, e)[0][4] for e in (old, event(), event(), old, event())] == [True, False, False, True, False]


@given(
    again=st.lists(st.integers(0, 40), max_size=30),
    until=st.sampled_from([0, 11, 17, 29]),
    warm=st.booleans(),
)
@example(again=list(range(30)), until=17, warm=True)
@example(again=[*range(29, -1, -1)], until=29, warm=False)
@example(again=[0, 29, 3, 28], until=11, warm=True)
def test_in_whatever_order_events_come_again_each_finds_the_one_that_has_its_id(
    again: list[int], until: int, warm: bool
) -> None:
    """30 events, some of them archived, the rest new."""
    with TemporaryDirectory() as folder, EventLog(write_empty_log(Path(folder) / "log.db"), write=True) as log:
        old = [event(f"s-{n % 3}", id=f"id {n}", data=f'{{"n":{n}}}') for n in range(41)]
        first = {receipt.id: receipt for receipt in commit(log.store, *old[:30])}
        if until:
            list(creation.create(log, [(1, until)], most=4))
        if warm:
            commit(log.store, old[0], old[29])  # from now on it looks ids up at once
        before = log.head().position
        for receipt in commit(log.store, *[old[n] for n in again]):
            if original := first.get(receipt.id):
                assert receipt == original._replace(duplicate=True)
            else:
                assert not receipt.duplicate
                first[receipt.id] = receipt
        assert log.head().position == before + len({n for n in again if n >= 30})


def test_an_event_that_comes_again_with_other_content_is_a_conflict_wherever_the_first_is(log_path: Path) -> None:
    with EventLog(log_path, write=True) as log:
        old = [event(id=f"id {n}", data=f'{{"n":{n}}}') for n in range(8)]
        commit(log.store, *old)
        list(creation.create(log, [(1, 4)], most=4))
        for n in (1, 6):
            again = [*old[:n], old[n]._replace(data="{}"), *old[n + 1 :]]
            with pytest.raises(ConflictError) as caught:
                commit(log.store, *again)
            assert caught.value.details == {"index": n, "id": f"id {n}", "position": n + 1, "differs": ["data"]}


def test_an_empty_batch_is_fine_in_a_log_with_an_archive(log_path: Path) -> None:
    with EventLog(log_path, write=True) as log:
        commit(log.store, event(), event())
        list(creation.create(log, [(1, 1)]))
        assert commit(log.store) == []
