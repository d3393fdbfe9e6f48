"""The contract of a store, edge case by edge case; every store has to pass.

A store joins by a line in ENGINES. Nothing here assumes that positions are dense, or that a store runs SQL.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esctl.append.expectations import RunExpectation
from esctl.errors import ConflictError
from esctl.events import chain
from esctl.events.event import Event, Expect, NewEvent, Receipt
from esctl.events.query import Query
from esctl.store.store import Store
from tests.conftest import Open, opening, write_empty_log

if TYPE_CHECKING:
    from esctl.events.event import Form


@contextmanager
def new_log() -> Iterator[Open]:
    """A new, empty log; whatever was opened on it is closed at the end."""
    with tempfile.TemporaryDirectory() as folder, opening(write_empty_log(Path(folder) / "log.db")) as connect:
        yield connect


_numbers = count(1)


def event(
    stream: str = "order-1",
    type: str = "OrderPlaced",
    id: str | None = None,
    *,
    time: str | None = None,
    schema: int = 1,
    data: str = "{}",
    meta: str = "{}",
    expect: Expect | None = None,
) -> NewEvent:
    return stream, type, id or f"id-{next(_numbers)}", time, schema, data, meta, expect


def all_of(store: Store) -> tuple[object, ...]:
    """Everything that a store holds."""
    names = store.facts().names
    return list(store.read(Query())), store.head(), list(names("stream")), list(names("type"))


def commit(store: Store, *events: NewEvent, run: RunExpectation | None = None, keep: bool = True) -> list[Receipt]:
    receipts: list[Receipt] = []
    with store.transaction(keep=keep):
        receipts += store.append(events, run)
    return receipts


def replayed(store: Store, **filters: Any) -> list[Event]:
    return [event for event, _, _ in store.read(Query(**filters))]


def positions(store: Store, **filters: Any) -> list[int]:
    return [event[0] for event in replayed(store, **filters)]


# Positions, versions, heads

batches_of_streams = st.lists(st.lists(st.sampled_from(["a-1", "a-2", "b-1"]), max_size=5), max_size=6)


@settings(max_examples=50)
@given(batches=batches_of_streams)
def test_positions_grow_in_the_order_of_the_receipts(batches: list[list[str]]) -> None:
    with new_log() as connect:
        store = connect()
        receipts = [receipt for batch in batches for receipt in commit(store, *map(event, batch))]
        given_out = [receipt[0] for receipt in receipts]
        assert all(low < high for low, high in zip([0, *given_out], given_out, strict=False))
        assert positions(store) == given_out


@settings(max_examples=50)
@given(batches=batches_of_streams)
def test_versions_of_a_stream_have_no_gaps(batches: list[list[str]]) -> None:
    with new_log() as connect:
        store = connect()
        for batch in batches:
            commit(store, *map(event, batch))
        for stream in ("a-1", "a-2", "b-1"):
            events = sum(batch.count(stream) for batch in batches)
            assert [e[2] for e in replayed(store, stream=stream)] == list(range(1, events + 1))
            assert store.stream_version(stream) == events


def test_receipts_say_where_the_events_stand(store: Store) -> None:
    receipts = commit(store, event("a-1"), event("b-1"), event("a-1"))
    assert receipts == [(e[0], e[1], e[2], e[3], False) for e in replayed(store)]


def test_positions_are_not_reused_after_an_undone_transaction(store: Store) -> None:
    commit(store, event())
    commit(store, event(), event(), keep=False)
    commit(store, event())
    assert len(set(positions(store))) == len(positions(store)) == 2


def test_the_head_of_an_empty_log_is_its_genesis(store: Store) -> None:
    assert store.head()[:2] == (0, chain.genesis(store.log_id))


def test_the_head_is_the_newest_event(store: Store) -> None:
    commit(store, event(), event("cart-1"))
    *_, (newest, _, hash_) = store.read(Query())
    assert store.head() == (newest[0], hash_, newest[7])


def test_the_head_within_a_transaction_is_the_newest_event_in_it(store: Store) -> None:
    with store.transaction():
        for _ in range(2):
            (receipt,) = store.append([event()])
            assert store.head()[0] == receipt[0]


def test_the_head_seen_by_others_does_not_move_before_the_commit(connect: Open) -> None:
    writer, reader = connect(), connect(write=False)
    before = reader.head()
    with writer.transaction():
        writer.append([event()])
        assert reader.head() == before
    assert reader.head() == writer.head() != before


def test_the_chain_of_the_events_follows_from_the_genesis(store: Store) -> None:
    commit(store, event(data='{"n": 1.0}', meta='{"actor":"é"}'), event("cart-1", time="2026-01-31T09:30:00.000000Z"))
    commit(store, event())
    previous = chain.genesis(store.log_id)
    for sealed, salt, hash_ in store.read(Query()):
        position, stream, version, id_, type_, schema, time_, recorded, data, meta = sealed
        header = chain.header(position, stream, version, id_, type_, schema, time_, recorded)
        previous = chain.event_hash(previous, chain.payload_digest(salt, data.encode(), meta.encode()), header)
        assert (len(salt), hash_) == (chain.SALT_BYTES, previous)


# Duplicates

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
    ],
    ids=["time", "schema", "expect"],
)
def test_another_time_schema_or_expectation_is_still_a_duplicate(store: Store, again: Place, second: NewEvent) -> None:
    assert again(store, ORIGINAL, second)[4]
    assert len(replayed(store, stream="order-1")) == 1


@everywhere
@pytest.mark.parametrize(
    "second",
    [
        event("order-2", id="same", data='{"a":1}', meta='{"b":2}'),
        event(type="OrderClosed", id="same", data='{"a":1}', meta='{"b":2}'),
        event(id="same", data='{"a":2}', meta='{"b":2}'),
        event(id="same", data='{"a": 1}', meta='{"b":2}'),
        event(id="same", data='{"a":1}', meta="{}"),
    ],
    ids=["stream", "type", "data", "data text", "meta"],
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


# Expectations

EXPECTATIONS: list[tuple[int, Expect, bool]] = [
    (0, "any", True), (0, "none", True), (0, "exists", False), (0, 0, True), (0, 1, False), (0, 2, False),
    (2, "any", True), (2, "none", False), (2, "exists", True), (2, 0, False), (2, 1, False), (2, 2, True),
    (2, 3, False),
]  # fmt: skip
"""The stream's version, what is expected, whether it holds."""


def after_the_log(store: Store, before: list[NewEvent], wanting: NewEvent) -> Receipt:
    commit(store, *before)
    return commit(store, event("other-1"), event("other-1"), wanting)[2]


def after_the_batch(store: Store, before: list[NewEvent], wanting: NewEvent) -> Receipt:
    fill = [event("other-1") for _ in range(2 - len(before))]
    return commit(store, *fill, *before, wanting)[2]


both_places = pytest.mark.parametrize("place", [after_the_log, after_the_batch])


@both_places
@pytest.mark.parametrize(("version", "expect"), [(v, expect) for v, expect, holds in EXPECTATIONS if holds])
def test_an_expectation_that_holds_lets_the_event_in(
    store: Store, place: Callable[[Store, list[NewEvent], NewEvent], Receipt], version: int, expect: Expect
) -> None:
    assert place(store, [event() for _ in range(version)], event(expect=expect))[2] == version + 1


@both_places
@pytest.mark.parametrize(("version", "expect"), [(v, expect) for v, expect, holds in EXPECTATIONS if not holds])
def test_an_expectation_that_does_not_hold_is_a_conflict_that_tells_expected_and_actual(
    store: Store, place: Callable[[Store, list[NewEvent], NewEvent], Receipt], version: int, expect: Expect
) -> None:
    with pytest.raises(ConflictError) as caught:
        place(store, [event() for _ in range(version)], event(expect=expect))
    details = {key: caught.value.details[key] for key in ("stream", "expected", "actual", "index")}
    assert details == {"stream": "order-1", "expected": expect, "actual": version, "index": 2}


@pytest.mark.parametrize("expect", ["none", 0])
def test_a_retried_event_is_a_duplicate_though_its_expectation_has_passed(store: Store, expect: Expect) -> None:
    first = event(expect=expect)
    commit(store, first)
    assert commit(store, first)[0][4]


def test_a_retried_event_is_a_duplicate_though_others_have_written_since(store: Store) -> None:
    commit(store, event())
    second = event(expect=1)
    commit(store, second)
    commit(store, event(), event())
    assert commit(store, second)[0][2:] == (2, second[2], True)


def test_a_retried_batch_with_an_expectation_on_each_line_is_all_duplicates(store: Store) -> None:
    batch = [event(expect="none"), event(expect=1), event("cart-1", expect=0), event(expect=2)]
    receipts = commit(store, *batch)
    assert commit(store, *batch) == [(*receipt[:4], True) for receipt in receipts]


def test_a_retried_batch_with_an_expectation_on_each_line_may_have_grown(store: Store) -> None:
    batch = [event(expect="none"), event(expect=1)]
    commit(store, *batch)
    receipts = commit(store, *batch, event(expect=2), event(expect=3))
    assert [(receipt[2], receipt[4]) for receipt in receipts] == [(1, True), (2, True), (3, False), (4, False)]


def test_what_a_duplicate_within_the_batch_expects_is_not_asked(store: Store) -> None:
    first = event(expect="none")
    assert [receipt[4] for receipt in commit(store, first, first)] == [False, True]


def test_a_grown_retry_whose_new_line_expects_too_little_is_a_conflict(store: Store) -> None:
    first = event(expect="none")
    commit(store, first)
    with pytest.raises(ConflictError) as caught:
        commit(store, first, event(expect=0))
    assert (caught.value.details["index"], caught.value.details["actual"]) == (1, 1)


# Expectations of a run


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


# Transactions


def test_the_appends_of_a_transaction_become_visible_together(connect: Open) -> None:
    writer, reader = connect(), connect(write=False)
    with writer.transaction():
        writer.append([event()])
        writer.append([event("cart-1")])
        assert positions(reader) == []
    assert positions(reader) == positions(writer) != []


class HappenedError(Exception):
    """Something outside the store went wrong."""


Body = Callable[[Store], object]


def fails_outside(store: Store) -> None:
    store.append([event(), event("new-1", "NewType")])
    raise HappenedError


def fails_on_an_id(store: Store) -> None:
    store.append([event(), event("new-1", "NewType")])
    store.append([event(), event(id="first", data="[]")])


def fails_on_a_version(store: Store) -> None:
    store.append([event(), event("new-1", "NewType"), event(expect=17)])


def fails_in_a_run(store: Store) -> None:
    store.append([event(), event("new-1", "NewType")], RunExpectation(1))


def is_dropped(store: Store) -> None:
    store.append([event(), event("new-1", "NewType")])


def undone(store: Store, body: Body) -> None:
    """A transaction that leaves nothing: its body raises, or it is not kept."""

    def attempt() -> None:
        with store.transaction(keep=body is not is_dropped):
            body(store)

    if body is is_dropped:
        attempt()
    else:
        with pytest.raises(HappenedError if body is fails_outside else ConflictError):
            attempt()


ways_to_undo = pytest.mark.parametrize(
    "body", [fails_outside, fails_on_an_id, fails_on_a_version, fails_in_a_run, is_dropped]
)


@ways_to_undo
def test_an_undone_transaction_leaves_nothing(store: Store, body: Body) -> None:
    commit(store, event(id="first"))
    before = all_of(store)
    undone(store, body)
    assert all_of(store) == before


@ways_to_undo
def test_after_an_undone_transaction_versions_go_on_from_what_is_stored(store: Store, body: Body) -> None:
    commit(store, event(id="first"))
    undone(store, body)
    receipts = commit(store, event(expect=1), event("new-1", "NewType", expect="none"))
    assert [receipt[2] for receipt in receipts] == [2, 1]
    assert [e[1:3] for e in replayed(store)] == [("order-1", 1), ("order-1", 2), ("new-1", 1)]


@ways_to_undo
def test_an_undone_transaction_leaves_the_log_whole(store: Store, body: Body) -> None:
    commit(store, event(id="first"))
    undone(store, body)
    commit(store, event())
    assert list(store.check(full=True)) == []


@pytest.mark.parametrize("expect", [None, 2, "exists"])
@pytest.mark.parametrize("how", ["plainly", "in a run", "after a duplicate", "in its second transaction"])
def test_versions_go_on_from_what_another_store_wrote(connect: Open, how: str, expect: Expect | None) -> None:
    one, other = connect(), connect()
    first = event()
    commit(one, first)
    if how != "plainly":
        commit(one, first if how == "after a duplicate" else event("order-2"))
    commit(other, event())
    if how == "in a run":
        receipts = commit(one, event(), event(), run=RunExpectation(expect or "any"))
    else:
        receipts = commit(one, event(expect=expect), event())
    assert [receipt[2] for receipt in receipts] == [3, 4]


def test_a_dropped_transaction_gives_the_receipts_that_a_kept_one_would(connect: Open) -> None:
    store = connect()
    batch = [event(), event("cart-1"), event()]
    dropped = commit(store, *batch, keep=False)
    assert [receipt[1:] for receipt in dropped] == [receipt[1:] for receipt in commit(store, *batch)]


def test_an_empty_batch_is_fine(store: Store) -> None:
    before = store.head()
    assert commit(store) == []
    assert store.head() == before


def test_a_transaction_may_follow_an_empty_one(store: Store) -> None:
    with store.transaction():
        pass
    assert commit(store, event())[0][2] == 1


some_events = st.lists(st.tuples(st.sampled_from(["a-1", "a-2", "b-1"]), st.integers(0, 9)), max_size=3)
steps = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from(["keep", "drop", "raise"]), st.lists(some_events, max_size=2)),
    max_size=8,
)


@settings(max_examples=60)
@given(steps=steps)
def test_whoever_writes_and_whatever_is_undone_the_log_is_what_was_committed(
    steps: list[tuple[int, str, list[list[tuple[str, int]]]]],
) -> None:
    """Two stores take turns; a small choice of ids makes many duplicates."""
    stored: dict[str, tuple[str, int]] = {}  # id -> stream, version
    with new_log() as connect:
        stores = (connect(), connect())
        for writer, outcome, appends in steps:
            store, model = stores[writer], dict(stored)
            with suppress(HappenedError), store.transaction(keep=outcome != "drop"):
                for append in appends:
                    made = store.append([event(stream, id=f"{stream}/{n}") for stream, n in append])
                    assert [receipt[1:] for receipt in made] == [_modelled(model, *pair) for pair in append]
                if outcome == "raise":
                    raise HappenedError
            if outcome == "keep":
                stored = model
        for store in stores:
            assert [(e[3], (e[1], e[2])) for e in replayed(store)] == list(stored.items())
            assert list(store.check(full=True)) == []


def _modelled(model: dict[str, tuple[str, int]], stream: str, n: int) -> tuple[str, int, str, bool]:
    """What the receipt of an event should say after its position; the model takes the event in."""
    id_ = f"{stream}/{n}"
    known = model.get(id_)
    version = 1 + sum(1 for name, _ in model.values() if name == stream)
    model.setdefault(id_, (stream, version))
    return (*(known or (stream, version)), id_, known is not None)


# Times


def test_recorded_is_one_moment_for_a_transaction(store: Store) -> None:
    with store.transaction():
        store.append([event(), event()])
        time.sleep(0.001)
        store.append([event("cart-1")])
    assert len({e[7] for e in replayed(store)}) == 1


def test_recorded_moves_on_between_transactions(store: Store) -> None:
    commit(store, event())
    time.sleep(0.001)
    commit(store, event())
    first, second = replayed(store)
    assert first[7] < second[7]


def test_recorded_does_not_go_back_with_the_clock(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    commit(store, event())
    an_hour_ago = time.time_ns() - 3_600_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: an_hour_ago)
    commit(store, event())
    first, second = replayed(store)
    assert second[7] == first[7] == store.head()[2]


def test_an_event_without_a_time_happened_when_it_was_recorded(store: Store) -> None:
    commit(store, event(), event(time="2026-01-31T09:30:00.000000Z"))
    without, with_time = replayed(store)
    assert without[6] == without[7]
    assert with_time[6] == "2026-01-31T09:30:00.000000Z" != with_time[7]


@settings(max_examples=30)
@given(sizes=st.lists(st.integers(1, 3), max_size=8))
def test_position_at_is_the_newest_event_recorded_at_or_before(sizes: list[int]) -> None:
    with new_log() as connect:
        store = connect()
        for size in sizes:
            commit(store, *[event() for _ in range(size)])
        events = replayed(store)
        moments = {e[7] for e in events}
        just_before = {moment[:-1] for moment in moments}  # sorts directly before the moment: it lacks its last letter
        for moment in (*moments, *just_before, "0001-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z"):
            newest = max((e[0] for e in events if e[7] <= moment), default=0)
            assert store.position_at(moment) == newest
            assert replayed(store, as_of=moment) == [e for e in events if e[0] <= newest]


def test_position_at_of_an_empty_log_is_nought(store: Store) -> None:
    assert store.position_at("9999-12-31T23:59:59.999999Z") == 0


# Reading

NAMES = [
    "plain-1", 'quo"te-1', "back\\slash-1", '\\"', "it's-1", "%s-%d", "{}-1", "ünï-1", "emoji-😀", "日本-1",
    "nul\\u0000", "a\u2028b", "x" * 512, "a$1", "a b", "?1", "a--b", "-a", "é\u0301",
]  # fmt: skip
MIXED = [
    event(NAMES[n % len(NAMES)], f"Type {NAMES[n % 7]}", f"{NAMES[n % 5]} {n}",
          time=f"2026-01-{1 + n * 7 % 28:02}T00:00:00.000000Z", schema=1 + n % 3,
          data=f'{{"n": {n}.0, "text":"\\u00e9 \\"{n}\\""}}', meta='{"k" :1E5}')
    for n in range(80)
]  # fmt: skip
QUERIES: list[dict[str, Any]] = [
    {}, {"reverse": True}, {"limit": 7}, {"last": 7}, {"limit": 0}, {"last": 0}, {"limit": 7, "reverse": True},
    {"last": 9, "limit": 4}, {"last": 9, "limit": 4, "reverse": True}, {"limit": 1000}, {"last": 1000},
    {"stream": 'quo"te-1'}, {"stream": "emoji-😀", "reverse": True}, {"stream": "not there"},
    {"stream": "plain-1", "last": 2}, {"stream": "plain-1", "since_version": 2, "until_version": 3},
    {"stream": "plain-1", "until_version": 0}, {"stream": "plain-1", "types": ("Type plain-1", 'Type quo"te-1')},
    {"category": "plain"}, {"category": 'quo"te'}, {"category": "not there"}, {"category": "emoji", "reverse": True},
    {"types": ('Type \\\\"',)}, {"types": ('Type \\"',)}, {"types": ("Type plain-1", "not there")},
    {"types": ("not there",)}, {"since_time": "2026-01-10T00:00:00.000000Z"},
    {"until_time": "2026-01-10T00:00:00.000000Z", "last": 3},
    {"since_time": "2026-01-10T00:00:00.000000Z", "until_time": "2026-01-20T00:00:00.000000Z", "category": "a"},
    {"as_of": "2000-01-01T00:00:00.000000Z"}, {"as_of": "9999-01-01T00:00:00.000000Z"}, {"since": 2**62},
    {"until": 0}, {"system": True},
]  # fmt: skip


@pytest.fixture(scope="module")
def mixed() -> Iterator[Store]:
    with new_log() as connect:
        commit(connect(), *MIXED)
        yield connect(write=False)


def lines(store: Store, form: Form, **filters: Any) -> list[bytes]:
    return b"".join(store.lines(Query(**filters), form)).splitlines(keepends=True)


FIELDS = ("position", "stream", "version", "id", "type", "schema", "time", "recorded")
every_query = pytest.mark.parametrize("filters", QUERIES, ids=str)


def test_the_queries_find_something_and_not_everything(mixed: Store) -> None:
    found = [len(positions(mixed, **filters)) for filters in QUERIES]
    assert sum(0 < n < len(MIXED) for n in found) > len(QUERIES) / 2


@every_query
def test_lines_say_what_read_gives(mixed: Store, filters: dict[str, Any]) -> None:
    said = [json.loads(line) for line in lines(mixed, "line", **filters)]
    read = [
        dict(zip(FIELDS, e, strict=False)) | {"data": json.loads(e[8]), "meta": json.loads(e[9])}
        for e in replayed(mixed, **filters)
    ]
    assert said == read


@every_query
def test_lines_with_hashes_are_lines_with_salt_and_hash_at_the_end(mixed: Store, filters: dict[str, Any]) -> None:
    expected = [
        line[:-2] + f',"salt":"{salt.hex()}","hash":"{hash_.hex()}"}}\n'.encode()
        for line, (_, salt, hash_) in zip(lines(mixed, "line", **filters), mixed.read(Query(**filters)), strict=True)
    ]
    assert lines(mixed, "hash", **filters) == expected


@every_query
def test_lines_of_data_are_the_payloads_as_they_were_given(mixed: Store, filters: dict[str, Any]) -> None:
    payloads = {e[2]: e[5] for e in MIXED}
    expected = [payloads[e[3]].encode() + b"\n" for e in replayed(mixed, **filters)]
    assert lines(mixed, "data", **filters) == expected


@every_query
def test_lines_come_in_chunks_of_whole_lines(mixed: Store, filters: dict[str, Any]) -> None:
    assert all(not chunk or chunk.endswith(b"\n") for chunk in mixed.lines(Query(**filters)))


@every_query
def test_reverse_is_the_same_events_backwards(mixed: Store, filters: dict[str, Any]) -> None:
    unlimited = {key: value for key, value in filters.items() if key not in ("limit", "reverse")}
    assert positions(mixed, **unlimited, reverse=True) == positions(mixed, **unlimited)[::-1]


@every_query
@pytest.mark.parametrize("n", [0, 1, 3, 1000])
def test_a_limit_keeps_the_first_in_reading_order(mixed: Store, filters: dict[str, Any], n: int) -> None:
    unlimited = {key: value for key, value in filters.items() if key != "limit"}
    assert positions(mixed, **unlimited, limit=n) == positions(mixed, **unlimited)[:n]


@every_query
@pytest.mark.parametrize("n", [0, 1, 3, 1000])
def test_last_keeps_the_newest(mixed: Store, filters: dict[str, Any], n: int) -> None:
    bare = {key: value for key, value in filters.items() if key not in ("limit", "last", "reverse")}
    newest = positions(mixed, **bare)[-n:] if n else []
    assert positions(mixed, **bare, last=n) == newest
    assert positions(mixed, **bare, last=n, reverse=True) == newest[::-1]


def test_bounds_on_the_position_are_inclusive(mixed: Store) -> None:
    everything = positions(mixed)
    assert positions(mixed, since=everything[10], until=everything[20]) == everything[10:21]


def test_bounds_on_the_version_are_inclusive(mixed: Store) -> None:
    assert [e[2] for e in replayed(mixed, stream="plain-1", since_version=2, until_version=4)] == [2, 3, 4]


def test_until_version_nought_is_before_the_first_event(mixed: Store) -> None:
    assert positions(mixed, stream="plain-1", until_version=0) == []


@pytest.mark.parametrize("filters", [{}, {"stream": "a-1"}, {"category": "a"}, {"types": ("OrderPlaced",)}], ids=str)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("form", ["read", "lines"])
def test_reading_ends_at_the_head_as_it_was_at_the_first_event(
    connect: Open, filters: dict[str, Any], reverse: bool, form: str
) -> None:
    writer, reader = connect(), connect(write=False)
    commit(writer, *[event("a-1") for _ in range(2100)])
    before = positions(reader, **filters)[:: -1 if reverse else 1]
    query = Query(**filters, reverse=reverse)
    if form == "read":
        events = reader.read(query)
        seen = [next(events)[0][0]]
        commit(writer, *[event("a-1") for _ in range(1100)])
        seen += [e[0] for e, _, _ in events]
    else:
        chunks = reader.lines(query)
        first = next(chunks)
        commit(writer, *[event("a-1") for _ in range(1100)])
        seen = [json.loads(line)["position"] for line in b"".join([first, *chunks]).splitlines()]
    assert seen == before


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("field", ["stream", "type", "id"])
def test_any_name_comes_back_as_it_was_given(connect: Open, field: str, name: str) -> None:
    writer, reader = connect(), connect(write=False)
    commit(writer, event("order-1", "OrderPlaced"))
    assert len(lines(reader, "line")) == 1
    commit(writer, event(**{field: name}))  # type: ignore[arg-type]  # one of the three texts
    (_, read), said = replayed(reader), json.loads(lines(reader, "line")[1])
    assert said[field] == read[FIELDS.index(field)] == name


@pytest.mark.parametrize("name", NAMES)
def test_any_name_can_be_asked_for(store: Store, name: str) -> None:
    commit(store, event("other-1", "Other"), event(name, name))
    assert positions(store, stream=name) == positions(store, types=(name,)) == [store.head()[0]]
    assert store.stream_version(name) == 1


@pytest.mark.parametrize(
    "text",
    ["1", "1.0", "-0", "0.10", "1E400", "123456789012345678901234567890", '"é"', '"\\u00e9"', '"\\ud83d\\ude00"',
     "null", "true", "[]", "[ 1 , 2 ]", '{"a":1,"a":2}', '{"b":1,\t"a":2}', '"😀"', '"%s %d \\n"', '"\\u0000"',
     "[" * 999 + "]" * 999],
)  # fmt: skip
def test_a_payload_is_kept_byte_for_byte(store: Store, text: str) -> None:
    meta = f'{{"m":{text}}}'
    commit(store, event(data=text, meta=meta))
    assert replayed(store)[0][8:] == (text, meta)
    assert lines(store, "data") == [text.encode() + b"\n"]
    assert lines(store, "line")[0].endswith(f',"data":{text},"meta":{meta}}}\n'.encode())


@pytest.mark.parametrize("reverse", [False, True])
def test_large_payloads_come_back_whole(store: Store, reverse: bool) -> None:
    large = json.dumps("é" * (5 * 512 * 1024), ensure_ascii=False)  # 5 MiB
    small = [event(data=str(n)) for n in range(3)]
    for one in (small[0], event(data=large), small[1], event(data=large, meta=f'{{"m":{large}}}'), small[2]):
        commit(store, one)
    payloads = ["0", large, "1", large, "2"][:: -1 if reverse else 1]
    assert [e[8] for e in replayed(store, reverse=reverse)] == payloads
    assert lines(store, "data", reverse=reverse) == [text.encode() + b"\n" for text in payloads]


# What the log knows


def test_a_stream_that_is_not_there_is_at_version_nought(store: Store) -> None:
    commit(store, event("order-1"))
    assert store.stream_version("order-2") == 0


def test_names_are_those_of_the_events(mixed: Store) -> None:
    assert list(mixed.facts().names("stream")) == sorted({e[0] for e in MIXED}, key=str.encode)
    assert list(mixed.facts().names("type")) == sorted({e[1] for e in MIXED}, key=str.encode)


@pytest.mark.parametrize("prefix", ["", "a", "emoji-", 'quo"', "é", "plain-1", "plain-12", "%", "ü"])
def test_names_with_a_prefix_are_those_that_begin_so(mixed: Store, prefix: str) -> None:
    names = sorted({e[0] for e in MIXED}, key=str.encode)
    assert list(mixed.facts().names("stream", prefix)) == [name for name in names if name.startswith(prefix)]


@pytest.mark.parametrize("id_", ["plain-1 0", 'quo"te-1 1', "it's-1 4"])
def test_an_event_is_found_by_its_id(mixed: Store, id_: str) -> None:
    assert mixed.find(id_) == next(e[0] for e in replayed(mixed) if e[3] == id_)


def test_an_id_that_no_event_has_is_found_nowhere(mixed: Store) -> None:
    assert mixed.find("plain-1 77") == 0


# The log's own streams


@pytest.fixture
def with_own(store: Store) -> Store:
    """A log in which every second event is its own."""
    commit(store, event("order-1"), event("$esctl", "ModelApplied"), event("order-1"), event("$marks", "ModelApplied"))
    commit(store, event("order-2"), event("$esctl", "ModelApplied"))
    return store


def test_the_logs_own_events_are_left_out_unless_they_are_asked_for(with_own: Store) -> None:
    assert positions(with_own) == positions(with_own, system=True)[::2]


def test_the_logs_own_events_are_read_where_their_stream_is_named(with_own: Store) -> None:
    assert positions(with_own, stream="$esctl") == positions(with_own, system=True)[1::4]


def test_the_logs_own_events_count_for_the_head(with_own: Store) -> None:
    assert with_own.head()[0] == positions(with_own, system=True)[-1]


def test_the_logs_own_streams_have_versions_without_gaps(with_own: Store) -> None:
    assert [e[1:3] for e in replayed(with_own, system=True)[1::2]] == [("$esctl", 1), ("$marks", 1), ("$esctl", 2)]


def test_the_logs_own_streams_are_not_among_the_names(with_own: Store) -> None:
    assert list(with_own.facts().names("stream")) == ["order-1", "order-2"]


# JSON


def strict(text: str) -> bool:
    """Whether Python's parser takes a text, without the words that it takes beyond RFC 8259."""

    def refuse(word: str) -> None:
        raise ValueError(word)

    try:
        json.loads(text, parse_constant=refuse)
    except ValueError:
        return False
    return True


@settings(max_examples=300)
@given(text=st.text(alphabet="{}[]\",:0123eE+-. \\/bfnrtua\t\n\r\x00\x1fé😀'N") | st.text(max_size=6).map(json.dumps))
def test_is_json_is_strict(mixed: Store, text: str) -> None:
    assert mixed.is_json(text) == strict(text)


@pytest.mark.parametrize(
    ("text", "valid"),
    [("{}", True), (' [1, "a"] ', True), ("0", True), ('"\x7f"', True), ("", False), (" ", False), ("{}{}", False),
     ("{a:1}", False), ("{'a':1}", False), ("[1,]", False), ('{"a":1,}', False), ("NaN", False), ("Infinity", False),
     ("-Infinity", False), ("01", False), (".5", False), ("5.", False), ("+1", False), ("0x1", False), ('"\t"', False),
     ('"\\x41"', False), ("// a\n1", False), ("/* a */ 1", False), ("\ufeff1", False), ("\xa01", False),
     ("1\x00", False), ("[" * 1000 + "]" * 1000, True), ("[" * 1001 + "]" * 1001, False),
     ('{"a":' * 1000 + "1" + "}" * 1000, True), ('{"a":' * 1001 + "1" + "}" * 1001, False)],
)  # fmt: skip
def test_is_json_knows_the_edges(store: Store, text: str, valid: bool) -> None:
    assert store.is_json(text) is valid


# The log as a whole


@pytest.mark.parametrize("full", [False, True])
def test_a_whole_log_has_no_findings(mixed: Store, full: bool) -> None:
    assert list(mixed.check(full=full)) == []


def test_a_store_may_be_closed_twice(connect: Open) -> None:
    store = connect()
    store.close()
    store.close()
    assert connect().head()[0] == 0


def test_the_log_id_stays(connect: Open) -> None:
    one = connect()
    commit(one, event())
    assert connect(write=False).log_id == one.log_id
