"""A projection built anew for some streams has the rows that a build from the first event gives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esctl.archive import creation
from esctl.events.event import NewEvent
from esctl.log import EventLog
from esctl.model.compiled import BUILDING, LIVE, Version
from esctl.projections import differences, partial, runs, versions
from esctl.upkeep import erasure
from esctl.upkeep.traces import Traces
from tests.logs import fresh, hold, put, run

MODEL = '''
[event.T]
erasable = true
[event.U]
erasable = true
[projection.names]
[projection.names.tables]
names = "create table names(k text primary key, name text, n integer not null check (n < 90)) without rowid"
places = "create table places(v integer, stream text, place text, primary key (stream, v))"
[projection.names.on]
T = """
insert into names values (new.stream, new.data ->> 'name', 1)
  on conflict(k) do update set n = n + 1, name = name || excluded.name;
insert into places values (new.version, new.stream, new.data ->> 'name')"""
U = "update names set n = n * 2, name = name || '+' where k = new.stream; delete from places where stream = new.stream"
"erased.T" = "insert into places values (new.version, new.stream, 'erased')"
'''
OTHER = """
[projection.total]
table = "create table total(one integer primary key, n integer)"
[projection.total.on]
T = "insert into total values (1, 1) on conflict(one) do update set n = n + 1"
"""


def event(stream: str, type_: str, n: int) -> NewEvent:
    return NewEvent(stream, type_, f"id-{n}", None, 0, f'{{"name": "secret-{n:04}-of-{stream}"}}', "{}", None)


def filled(log: EventLog, count: int = 60) -> None:
    hold(log, MODEL + OTHER)
    put(log, *(event(f"s-{n % 7}", "U" if n % 5 == 4 else "T", n) for n in range(count)))
    run(log)


def invalid(log: EventLog, *positions: int) -> tuple[Version, Version, Traces]:
    """Erase payloads; the live version of `names`, the one that takes its place, and what is known of the erasure."""
    found = Traces()
    list(erasure.erase(log, positions, "test", found))
    by_state = {version.state: version for version in versions.synced(log) if version.name == "names"}
    return by_state[LIVE], by_state[BUILDING], found


def right(log: EventLog) -> None:
    """The rows are those of a build from the first event."""
    for name in ("names", "total"):
        assert [cell for cell in differences.checked(log, name) if not isinstance(cell, int)] == []


@pytest.mark.parametrize("archived", [0, 30])
def test_only_rows_of_the_erased_streams_are_built(log: EventLog, archived: int) -> None:
    filled(log)
    if archived:
        list(creation.create(log, [(1, archived)]))
    live, building, found = invalid(log, 3, 10, 25)
    assert partial.begin(log, live, building, found.streams, lambda: True)
    after = log.store.projections().version(building.version)
    assert after is not None
    assert after.position == live.position  # no event of another stream is read
    assert erasure.scrub(log, found)
    right(log)


def test_nothing_is_begun_where_it_does_not_fit_any_more(log: EventLog) -> None:
    filled(log)
    live, building, found = invalid(log, 3)
    assert not partial.begin(log, live, building, [], lambda: True)
    assert not partial.begin(log, live, building, [f"s-{n}" for n in range(partial.MAX_STREAMS + 1)], lambda: True)
    assert not partial.begin(log, live, building, found.streams, lambda: False)
    list(runs.catch_up(log, building.version))
    assert not partial.begin(log, live, building, found.streams, lambda: True)


def test_rows_that_depend_on_all_streams_are_built_from_the_first_event(log: EventLog) -> None:
    filled(log)
    found = Traces()
    list(erasure.erase(log, [3], "test", found))
    by_state = {version.state: version for version in versions.synced(log) if version.name == "total"}
    assert not partial.begin(log, by_state[LIVE], by_state[BUILDING], found.streams, lambda: True)
    assert erasure.scrub(log, found)
    right(log)


def test_another_definition_is_built_from_the_first_event(log: EventLog) -> None:
    filled(log)
    live, _, found = invalid(log, 3)
    hold(log, MODEL.replace("n * 2", "n * 3") + OTHER)
    by_state = {version.state: version for version in versions.synced(log) if version.name == "names"}
    assert not partial.begin(log, live, by_state[BUILDING], found.streams, lambda: True)
    assert erasure.scrub(log, found)
    right(log)


def test_a_handler_that_fails_without_the_erased_event_stops_the_build_from_the_first_one(log: EventLog) -> None:
    hold(
        log,
        "[event.T]\nerasable = true\n[projection.names]\n"
        "table = 'create table names(k text primary key, n integer check (n <> 1))'\n[projection.names.on]\n"
        "T = \"insert into names values (new.stream, new.data ->> 'n') on conflict(k) do update set n = n - 1\"\n",
    )
    put(log, *(NewEvent("s-1", "T", f"i{n}", None, 0, f'{{"n": {n}}}', "{}", None) for n in (7, 2, 5)))
    run(log).end()
    found = Traces()
    list(erasure.erase(log, [2], "test", found))
    assert erasure.scrub(log, found)
    (live,) = (version for version in log.store.projections().versions() if version.state == LIVE)
    assert (live.failed, live.position) == (4, 3)


def test_an_erasure_by_another_process_meanwhile_builds_all(log: EventLog) -> None:
    filled(log)
    found = Traces()
    list(erasure.erase(log, [3], "test", found))
    with EventLog(log.path, write=True) as other:
        list(erasure.erase(other, [4, 5], "stopped"))
    assert erasure.scrub(log, found)
    right(log)
    log.close()
    raw = b"".join(path.read_bytes() for path in Path(log.path).parent.iterdir() if path.is_file())
    assert [n for n in (1, 2, 3) if f"secret-{n:04}".encode() in raw] == []


@pytest.mark.parametrize("archived", [0, 30])
@pytest.mark.parametrize("positions", [[3], [4, 5, 6], [3, 10, 17, 24, 31, 38, 45, 52, 59]])
def test_what_an_erasure_will_change_is_the_same_if_only_its_streams_are_built(
    log: EventLog, archived: int, positions: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(log)
    if archived:
        list(creation.create(log, [(1, archived)]))
    plan, projection = erasure.named(log, list(map(str, positions)), force=False), log.definitions.model.projections

    def found() -> list[differences.Cell]:
        with log.store.projections().imagined(plan.positions) as imagined:
            cells = differences.without(log, projection["names"], imagined, plan.streams)
            return [cell for cell in cells if not isinstance(cell, int)]

    some = found()
    monkeypatch.setattr(partial, "MAX_STREAMS", 0)
    assert some == found() != []


@settings(max_examples=20)
@given(
    kinds=st.lists(st.tuples(st.integers(0, 4), st.sampled_from("TTTU")), min_size=5, max_size=60),
    chosen=st.lists(st.integers(0, 200), min_size=1, max_size=5),
    late=st.integers(0, 5),
    archived=st.integers(0, 30),
)
def test_any_erasure_gives_the_rows_of_a_build_from_the_first_event(
    kinds: Sequence[tuple[int, str]], chosen: Sequence[int], late: int, archived: int
) -> None:
    with fresh() as log:
        hold(log, MODEL + OTHER)
        events = [event(f"s-{stream}", type_, n) for n, (stream, type_) in enumerate(kinds)]
        put(log, *events[late:])
        run(log)
        put(log, *events[:late])  # not in the rows yet
        if archived:
            list(creation.create(log, [(1, min(archived, log.head().position))]))
        positions = sorted({2 + n % len(events) for n in chosen})  # the model is the first event
        for some in (positions[::2], positions[1::2]):
            found = Traces()
            list(erasure.erase(log, some, "test", found))
            assert erasure.scrub(log, found)
        run(log)
        right(log)
        raw = b"".join(path.read_bytes() for path in Path(log.path).parent.iterdir() if path.is_file())
        names = [str(events[n]).split('"name": "')[1].split('"')[0].encode() for n in range(len(events))]
        order = [*names[late:], *names[:late]]
        assert [name for p in positions if (name := order[p - 2]) in raw] == []
