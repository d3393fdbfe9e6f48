"""The same id again is a duplicate or a conflict, wherever its first event is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from esctl.errors import ConflictError
from esctl.events.event import NewEvent, Receipt
from esctl.store.store import Store
from tests.conftest import Open
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
    assert caught.value.details["index"] == (3 if again is after_a_duplicate else 1)


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
