"""Filters give the same with summaries as without: hot, archived, mixed, erased."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esctl.archive import creation
from esctl.events.event import NewEvent
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.store import candidates, reads
from esctl.store import format as storage
from esctl.store.candidates import Candidates, Filter
from esctl.upkeep import erasure
from tests.logs import day, event, fresh, hold, put

EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["a-1", "a-2", "ab-1", "b", "b-1", "c-1"]), st.sampled_from("TTTTUV"), st.integers(1, 28)
    ),
    min_size=1,
    max_size=60,
)
MODEL = """
[event.V]
schema = 1
[event.U]
schema = 2
[[event.U.upcast]]
from = 1
split = [{ type = "U", schema = 2 }, { type = "V" }]
"""
DAYS = st.none() | st.integers(1, 28).map(day)
FILTERS = st.fixed_dictionaries(
    {
        "types": st.sampled_from([(), ("T",), ("U",), ("V", "U"), ("MarkSet",), ("none",)]),
        "category": st.sampled_from([None, "a", "b", "none", "$esctl"]),
        "since_time": DAYS,
        "until_time": DAYS,
        "since": st.integers(1, 40),
        "reverse": st.booleans(),
        "system": st.booleans(),
        "last": st.none() | st.integers(0, 5),
        "limit": st.none() | st.integers(0, 9),
        "hot_only": st.booleans(),
        "where": st.sampled_from(
            [
                *(None, None, "position % 2 = 0", "type = 'U'", "type in ('U', 'V') and time >= '2026-01-05'"),
                *("type = 'V' or time > '2026-01-20'", "not type = 'T'", "time between '2026-01-03' and '2026-01-09'"),
                *(
                    "type > 'T'",
                    "'U' = type and stream like 'a%'",
                    "type = 'none'",
                    "time = '2026-01-07T01:00:00+01:00'",
                ),
            ]
        ),
    }
)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "POSITIONS_PER_BLOCK", 5)
    monkeypatch.setattr(reads, "LEAST_POSITIONS", 0)
    monkeypatch.setattr(candidates, "DENSE", 3)
    monkeypatch.setattr(candidates, "POINTS", 4)
    monkeypatch.setattr(candidates, "BLOCKS_AT_FIRST", 1)
    monkeypatch.setattr(candidates, "BLOCKS_AT_ONCE", 2)
    monkeypatch.setattr(candidates, "FIRST_BUDGET", 3)


def filled(log: EventLog, events: list[tuple[str, str, int]]) -> None:
    put(log, *(event(stream, type_, time=day(of)) for stream, type_, of in events))
    log.record("MarkSet", {"name": "m", "position": 1})


def answers(log: EventLog, query: Query) -> list[Any]:
    """What a query gives, as lines and as events."""
    return [b"".join(log.lines(query)), [sealed.event for sealed in log.read(query)]]


@settings(max_examples=150)
@given(EVENTS, FILTERS, st.integers(0, 60), st.sets(st.integers(1, 60), max_size=3), st.booleans())
def test_a_filter_gives_the_same_as_without_summaries(
    events: list[tuple[str, str, int]],
    filters: dict[str, Any],
    archived: int,
    erased: set[int],
    renamed: bool,
) -> None:
    query = Query(**filters)
    with fresh() as log:
        filled(log, events)
        if renamed:
            hold(log, MODEL)
        some = sorted({min(position, len(events)) for position in erased})
        if some:
            list(erasure.erase(log, some, "asked"))
        if archived:
            list(creation.create(log, [(1, min(archived, len(events)))], most=7))
        found = answers(log, query)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reads.Scan, "candidates", lambda *_, **__: None)
            assert found == answers(log, query)


def positions(
    log: EventLog, wanted: Filter, low: int, high: int, *, reverse: bool = False, size: int = 100
) -> list[int]:
    """All candidates, taken one portion after the other."""
    taking = Candidates(log.store._reading, wanted, low, high, reverse=reverse)
    found: list[int] = []
    while low <= high and (at := taking.start(high if reverse else low)) is not None:
        low, high = (low, at) if reverse else (at, high)
        first, last, points = taking.take(low, high, size)
        some = list(range(first, last + 1)) if points is None else list(points)
        assert len(some) <= size
        found += some[::-1] if reverse else some
        low, high = (low, first - 1) if reverse else (last + 1, high)
    return found


def wanted(types: list[int] | None = None, category: str | None = None, since: str | None = None) -> Filter:
    made = Filter()
    made.types, made.category, made.since = types, category, since
    return made


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("size", [1, 3, 100])
def test_only_blocks_that_may_match_are_candidates(size: int, *, reverse: bool) -> None:
    with fresh() as log:
        put(log, *(event(f"s-{n}", "Rare" if n in (3, 17) else "T", time=day(1 + n // 2)) for n in range(1, 21)))
        found = positions(log, wanted(types=[2]), 1, 20, reverse=reverse, size=size)
        assert sorted(found) == [3, 17]
        late = positions(log, wanted(since=day(9)), 1, 20, reverse=reverse, size=size)
        assert sorted(late) == [16, 17, 18, 19, 20]
        assert late == sorted(late, reverse=reverse)


def test_events_in_no_full_block_are_candidates() -> None:
    with fresh() as log:
        put(log, *(event("s", "T") for _ in range(13)))
        assert positions(log, wanted(types=[7]), 1, 13) == [11, 12, 13]


def test_a_block_without_a_summary_is_a_candidate() -> None:
    with fresh() as log:
        put(log, *(event("s", "T") for _ in range(15)))
        log.store._connection.execute("delete from block_summaries where block = 1")
        assert set(range(6, 11)) <= set(positions(log, wanted(types=[7]), 1, 15))


@pytest.mark.parametrize("archived", [0, 12, 30])
def test_a_category_of_few_events_is_found_by_its_streams(archived: int) -> None:
    with fresh() as log:
        put(log, *(event("rare-1" if n in (4, 29) else f"order-{n}") for n in range(1, 31)))
        if archived:
            list(creation.create(log, [(1, archived)], most=30))
        assert positions(log, wanted(category="rare"), 1, 30) == [4, 29]


def test_a_category_of_many_events_is_looked_for_again_after_a_while() -> None:
    with fresh() as log:
        put(log, *(event("order-1" if n < 8 else f"other-{n}") for n in range(1, 40)))
        assert positions(log, wanted(category="order"), 1, 39) == [1, 2, 3, 4, 5, 6, 7]
        assert positions(log, wanted(category="other"), 1, 39)[:3] == [1, 2, 3]


def test_short_ranges_are_read_without_a_look_for_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "LEAST_POSITIONS", 50)
    with fresh() as log:
        put(log, *(NewEvent("s", "T", f"e{n}", None, 1, "{}", "{}", None) for n in range(40)))
        scan = log.store._scan(Query(types=("T",)))
        assert scan.candidates(log.store._reading, reverse=False) is None
