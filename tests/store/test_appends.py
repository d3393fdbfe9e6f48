"""Positions and versions without gaps, duplicates that stand once, expectations that are met: all or nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esctl.append.expectations import RunExpectation
from esctl.errors import ConflictError, EsctlError, UnavailableError, VerificationError
from esctl.events import chain
from esctl.events.event import Expect, NewEvent, Prepared, Receipt
from esctl.events.query import Query
from esctl.store import appends
from esctl.store.store import Store
from tests.conftest import Open
from tests.logs import alter
from tests.stores import appended, commit, connection_of, event, events, ids, new_log, positions, replayed

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


def test_the_chain_of_the_events_follows_from_the_genesis(store: Store) -> None:
    commit(store, event(data='{"n": 1.0}', meta='{"actor":"é"}'), event("cart-1", time="2026-01-31T09:30:00.000000Z"))
    commit(store, event())
    previous = chain.genesis(store.log_id)
    for sealed, salt, hash_ in store.read(Query()):
        position, stream, version, id_, type_, schema, time_, recorded, data, meta = sealed
        header = chain.header(position, stream, version, id_, type_, schema, time_, recorded)
        previous = chain.event_hash(previous, chain.payload_digest(salt, data.encode(), meta.encode()), header)
        assert (len(salt), hash_) == (chain.SALT_BYTES, previous)


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


# Transactions


def test_the_appends_of_a_transaction_become_visible_together(connect: Open) -> None:
    writer, reader = connect(), connect(write=False)
    with writer.transaction():
        writer.append([event()])
        writer.append([event("cart-1")])
        assert positions(reader) == []
    assert positions(reader) == positions(writer) != []


def all_of(store: Store) -> tuple[object, ...]:
    """Everything that a store holds."""
    names = store.facts().names
    return list(store.read(Query())), store.head(), list(names("stream")), list(names("type"))


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


def _modelled(model: dict[str, tuple[str, int]], stream: str, n: int) -> tuple[str, int, str, bool]:
    """What the receipt of an event should say after its position; the model takes the event in."""
    id_ = f"{stream}/{n}"
    known = model.get(id_)
    version = 1 + sum(1 for name, _ in model.values() if name == stream)
    model.setdefault(id_, (stream, version))
    return (*(known or (stream, version)), id_, known is not None)


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


# A busy log

HOLD = (
    "import sqlite3, sys, time\n"
    "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
    "connection.execute('begin immediate')\n"
    "print('held', flush=True)\n"
    "time.sleep(float(sys.argv[2]))\n"
    "connection.execute('rollback')\n"
)


@contextmanager
def held(path: Path, seconds: float) -> Iterator[None]:
    """Another process has the log locked for writing."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path), str(seconds)], stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            yield
        finally:
            holder.kill()


def test_a_log_that_stays_busy_is_unavailable_after_the_time_limit(log_path: Path) -> None:
    with held(log_path, 60), closing(Store(log_path, write=True, timeout=0.3)) as store:
        started = time.monotonic()
        with pytest.raises(UnavailableError, match="is busy"):
            appended(store, events(1))
        assert 0.25 <= time.monotonic() - started < 10


def test_after_a_busy_log_the_store_is_usable(log_path: Path) -> None:
    with closing(Store(log_path, write=True, timeout=0.1)) as store:
        with held(log_path, 60), pytest.raises(UnavailableError):
            appended(store, events(1))
        assert appended(store, events(1)) == [1]


def test_a_log_that_is_released_in_time_is_written(log_path: Path) -> None:
    with held(log_path, 0.5), closing(Store(log_path, write=True, timeout=60)) as store:
        assert appended(store, events(1)) == [1]


def test_a_busy_log_can_be_read(filled: Path) -> None:
    with held(filled, 60), closing(Store(filled, timeout=0)) as store:
        assert len(ids(store)) == 20


# Failures of SQLite


def test_a_commit_that_fails_leaves_nothing_and_no_stale_versions(filled: Path) -> None:
    """SQLite rolls back by itself when a commit fails; a hook that refuses the commit makes it fail."""
    with closing(Store(filled, write=True)) as store:
        appended(store, events(1, prefix="before"))
        connection_of(store).set_commit_hook(lambda: True)
        with pytest.raises(EsctlError):
            appended(
                store, [*events(2, prefix="lost"), NewEvent("new-1", "NewType", "lost-2", None, 1, "{}", "{}", None)]
            )
        connection_of(store).set_commit_hook(None)
        assert appended(store, events(1, prefix="after")) == [22]
        assert appended(store, [NewEvent("new-1", "NewType", "after-2", None, 1, "{}", "{}", None)]) == [1]
        assert list(store.check(full=True)) == []


def test_a_full_disk_is_unavailable_and_leaves_nothing_and_no_stale_versions(filled: Path) -> None:
    with closing(Store(filled, write=True)) as store:
        connection = connection_of(store)
        connection.execute(f"pragma max_page_count = {connection.execute('pragma page_count').get}")
        with pytest.raises(UnavailableError, match="no room left"):
            appended(store, [*events(2, prefix="lost"), *events(200, prefix="much", data=f'"{"x" * 5000}"')])
        connection.execute("pragma max_page_count = 4294967294")
        assert appended(store, events(1, prefix="after")) == [21]
        assert list(store.check(full=True)) == []


def test_more_streams_than_are_remembered_have_right_versions(log_path: Path) -> None:
    with closing(Store(log_path, write=True, bulk=True)) as store:
        many = appends.MAX_CACHED_STREAMS + 10
        assert set(
            appended(store, [NewEvent(f"s-{n}", "T", f"id-{n}", None, 1, "{}", "{}", None) for n in range(many)])
        ) == {1}
        assert appended(store, [*events(2, "s-1", "one"), *events(1, f"s-{many - 1}", "two")]) == [2, 3, 2]


# Names that are new


def test_new_categories_and_types_are_reported_once_in_the_order_of_the_events(store: Store) -> None:
    commit(store, event("order-1", "Placed"))
    with store.transaction():
        store.append([event("zeta-1", "Z"), event("order-2", "Placed"), event("alpha-1", "A"), event("alpha-2", "A")])
        assert store.new_names() == (["zeta", "alpha"], ["Z", "A"])
        assert store.new_names() == ([], [])
    with store.transaction():
        store.append([event("zeta", "Z"), event("alpha-3", "A")])
        assert store.new_names() == ([], [])


def test_what_a_duplicate_undoes_is_new_all_the_same(store: Store) -> None:
    commit(store, event("order-1", "Placed", "a"))
    with store.transaction():
        store.append([event("cart-1", "Filled"), event("order-1", "Placed", "a")])
        assert store.new_names() == (["cart"], ["Filled"])


def test_what_an_undone_transaction_named_is_new_afterwards(store: Store) -> None:
    for keep in (False, True):
        with store.transaction(keep=keep):
            store.append([event("cart-1", "Filled")])
            assert store.new_names() == (["cart"], ["Filled"])


@pytest.mark.parametrize(
    "escaped", [event('cart-"1"'), event(type="Fill\\ed"), event(id='a "b"')], ids=["stream", "type", "id"]
)
def test_a_log_says_whether_any_of_its_names_is_escaped_in_json(store: Store, escaped: NewEvent) -> None:
    noted = []
    for one in (event("cart-1", data='"\\""'), escaped, event()):
        commit(store, one)
        noted.append(connection_of(store).execute("select quoting from head").get)
    assert noted == [0, 1, 1]


def test_the_search_for_new_categories_ends_in_a_log_of_very_many(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appends, "MAX_CATEGORIES", 3)
    with store.transaction():
        store.append([event(f"user{n}") for n in range(9)])
        assert len(store.new_names()[0]) == 3


@pytest.mark.parametrize("sql", ["update streams set archived = 9", "update events set version = 9 where position = 3"])
def test_a_stream_has_no_more_versions_than_the_log_positions(filled: Path, sql: str) -> None:
    alter(filled, sql.replace("9", str(2**53)))
    with closing(Store(filled, write=True)) as store, pytest.raises(VerificationError, match="is damaged") as raised:
        commit(store, event("order-1"))
    assert f"is at version {2**53}, the log at position 20" in raised.value.why


@pytest.mark.parametrize("position", [19, 21, 2**53])
def test_nothing_is_appended_after_a_head_that_is_not_there(filled: Path, position: int) -> None:
    alter(filled, f"update head set position = {position}")
    with closing(Store(filled, write=True)) as store, pytest.raises(VerificationError, match="is damaged") as raised:
        commit(store, event("order-1"))
    assert raised.value.why.startswith(f"its head is at position {position}, its newest event at 20")


def test_events_that_come_in_parts_are_stored_before_the_next_part_is_asked_for(store: Store) -> None:
    def more() -> Iterator[Prepared]:
        for n in range(2):
            assert store.head().position == 1 + n
            salt = bytes([n]) * 16
            yield Prepared([event()], [salt], [chain.payload_digest(salt, b"{}", b"{}")], 4)

    with store.transaction():
        assert [receipt.position for receipt in store.append([event()], more=more())] == [1, 2, 3]
    assert not list(store.check(full=True))
    assert [sealed.salt for sealed in store.read(Query())][1:] == [bytes(16), b"\1" * 16]


def test_an_error_counts_the_events_of_earlier_parts(store: Store) -> None:
    twice = [event(id="x"), event(id="x", data="1")]
    with pytest.raises(ConflictError) as caught, store.transaction():
        store.append([event(), twice[0]], more=[Prepared([event()]), Prepared([event(), twice[1]])])
    assert caught.value.details["index"] == 4
    with pytest.raises(ConflictError) as caught, store.transaction():
        store.append([event()], more=[Prepared([event("other-1", expect=7)])])
    assert caught.value.details["index"] == 1
