"""Folds in SQLite: cut into windows without a seam, over temporary tables alone, and nothing but their own in reach."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from esctl.errors import EsctlError, HandlerError, MisfitError
from esctl.events.event import NewEvent
from esctl.events.query import Query
from esctl.model.checks import checked
from esctl.model.operations import MERGE, program
from esctl.model.program import Program
from esctl.store import folds, reads, windows
from esctl.store.folds import Refused
from esctl.store.guard import Guard
from esctl.store.store import Store
from tests.conftest import write_empty_log
from tests.logs import alter

EVENTS = 2 * windows.POSITIONS_PER_STATEMENT + 7
COUNT = """
[aggregate.c]
streams = "c-*"
[aggregate.c.on."*"]
add = { n = 1, sum = "$.n" }
"""


def compiled(text: str, name: str = "c") -> Program:
    model, problems = checked(text, {})
    assert problems == []
    return program(model.aggregates[name])


def event(n: int, stream: str = "c-1", data: str | None = None) -> NewEvent:
    time = f"2026-01-{1 + n % 28:02}T00:00:00.000000Z"
    return NewEvent(stream, f"T{n % 3}", f"{stream} {n}", time, 1, data or f'{{"n":{n}}}', "{}", None)


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stream of more than two windows among others; tests only read it."""
    path = tmp_path_factory.mktemp("folds") / "log.db"
    write_empty_log(path)
    with closing(Store(path, write=True)) as store, store.transaction():
        store.append([event(n, stream) for n in range(1, EVENTS + 1) for stream in ("c-1", "c-2")])
    return path


@pytest.fixture
def store(long: Path) -> Iterator[Store]:
    with closing(Store(long)) as store:
        yield store


@pytest.fixture
def written(log_path: Path) -> Iterator[Store]:
    with closing(Store(log_path, write=True)) as store:
        yield store


def put(store: Store, *events: NewEvent) -> None:
    with store.transaction():
        store.append(events)


# Windows


def test_a_fold_over_several_windows_is_one_fold(store: Store) -> None:
    fold = store.fold(compiled(COUNT))
    fold.begin("c-1")
    assert sum(1 for _ in fold.feed(Query(stream="c-1"))) == -(-EVENTS // folds.EVENTS_PER_FEED) > 1
    (version, position, _, latest, state), folded = fold.state("c-1")
    assert (version, position, folded) == (EVENTS, 2 * EVENTS - 1, EVENTS)
    assert json.loads(state) == {"n": EVENTS, "sum": EVENTS * (EVENTS + 1) // 2}
    assert latest == "2026-01-28T00:00:00.000000Z"


@pytest.mark.parametrize("window", [1, 2, 10, 10_000])
def test_each_state_comes_once_and_in_order_whatever_the_window(
    store: Store, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    monkeypatch.setattr(folds, "EVENTS_PER_FEED", window)
    fold = store.fold(compiled(COUNT))
    fold.begin("c-1")
    states = [
        (version, json.loads(text)["n"]) for version, _, _, text in fold.each(Query(stream="c-1", until_version=25))
    ]
    assert states == [(n, n) for n in range(1, 26)]


@pytest.mark.parametrize("window", [1, 3, 10_000])
def test_the_event_that_made_a_value_is_found_whatever_the_window(
    written: Store, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    monkeypatch.setattr(windows, "POSITIONS_PER_STATEMENT", window)
    values = ['{"a":1}', '{"a":2,"b":1}', '{"a":1}', '{"b":null}', '{"b":1}', '{"c":0}']
    put(written, *(event(n, data=value) for n, value in enumerate(values)))
    fold = written.fold(MERGE)
    fold.begin("c-1")
    found = fold.turned(Query(stream="c-1"), {"$.a": "1", "$.b": "1", "$.c": "0", "$.d": None})
    assert {path: position for path, (position, _) in found.items()} == {"$.a": 3, "$.b": 5, "$.c": 6}


def test_many_streams_are_fed_in_one_go_each_from_where_it_began(store: Store) -> None:
    fold = store.fold(compiled(COUNT))
    fold.begin("c-1")
    fold.begin("c-2", (EVENTS - 1, 2 * EVENTS - 2, "t", "t", '{"n":100,"sum":0}'))
    fold.feed_all(Query())
    found = {stream: (version, json.loads(text)["n"]) for stream, version, _, _, text in fold.states()}
    assert found == {"c-1": (EVENTS, EVENTS), "c-2": (EVENTS, 101)}


def test_states_come_in_the_order_of_names_where_a_condition_holds(store: Store) -> None:
    fold = store.fold(compiled(COUNT))
    for stream in ("c-2", "c-1"):
        fold.begin(stream)
    assert [row[0] for row in fold.states()] == ["c-1", "c-2"]
    assert [row[0] for row in fold.states("stream > 'c-1' -- said")] == ["c-2"]
    fold.clear()
    assert list(fold.states()) == []


def test_two_folds_of_one_store_do_not_meet(store: Store) -> None:
    one, other = store.fold(compiled(COUNT)), store.fold(MERGE)
    for fold in (one, other):
        fold.begin("c-1")
        list(fold.feed(Query(stream="c-1", until_version=3)))
    assert json.loads(one.state("c-1")[0][4]) == {"n": 3, "sum": 6}
    assert json.loads(other.state("c-1")[0][4]) == {"n": 3}


def test_a_fold_begins_where_a_state_says(store: Store) -> None:
    fold = store.fold(compiled(COUNT))
    fold.begin("c-1", (5, 9, "x", "z", '{"n":5,"sum":1.50}'))
    assert fold.state("c-1") == ((5, 9, "x", "z", '{"n":5,"sum":1.50}'), 0)


def test_large_events_are_fed_a_few_at_a_time(written: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(written, *(event(n, data=json.dumps({"n": n, "x": "y" * 1000})) for n in range(10)))
    monkeypatch.setattr(reads, "SAFE_BYTES", 3000)
    fold = written.fold(compiled(COUNT))
    fold.begin("c-1")
    assert sum(1 for _ in fold.feed(Query(stream="c-1"))) == 5


# Refusals, doubts, misfits

RULED = COUNT + "[aggregate.c.accept]\nT2 = \"state ->> 'n' < 3\"\n"


def test_the_first_event_that_is_not_accepted_is_told_with_the_state_that_it_met(written: Store) -> None:
    put(written, *(event(n) for n in range(1, 9)))
    fold = written.fold(compiled(RULED))
    fold.begin("c-1")
    with pytest.raises(Refused) as caught:
        fold.judge(Query(), "c-*")
    assert (caught.value.position, caught.value.type, json.loads(caught.value.state)) == (5, "T2", {"n": 4, "sum": 10})


def test_the_state_in_a_refusal_may_hold_line_feeds(written: Store) -> None:
    put(written, event(1, data='{"n":1,"text":"a\\nb"}'), event(2))
    merging = RULED.replace('add = { n = 1, sum = "$.n" }', 'merge = "$"').replace("< 3", "< 0")
    fold = written.fold(compiled(merging))
    fold.begin("c-1")
    with pytest.raises(Refused) as caught:
        fold.judge(Query(), "c-*")
    assert json.loads(caught.value.state)["text"] == "a\nb"


def test_doubts_name_every_event_that_is_not_accepted(written: Store) -> None:
    put(written, *(event(n) for n in range(1, 9)))
    fold = written.fold(compiled(RULED))
    fold.begin("c-1")
    assert fold.feed_all(Query(), doubt=True) == [(5, "T2"), (8, "T2")]


def test_an_event_that_an_operation_cannot_be_done_on_is_named(written: Store) -> None:
    put(written, event(1), event(2, data='{"n":"two"}'))
    fold = written.fold(compiled(COUNT))
    fold.begin("c-1")
    with pytest.raises(MisfitError) as caught:
        list(fold.feed(Query(stream="c-1")))
    assert caught.value.details["position"] == 2


def test_a_fold_that_runs_away_is_stopped(written: Store) -> None:
    numbers = json.dumps([json.dumps(list(range(300)))])
    put(written, event(1, data=numbers))
    each = ", ".join(f"json_each(new.data ->> 0) {name}" for name in "abcd")
    endless = f'[aggregate.c]\nstreams = "c-*"\non.T1.compute = {{ n = "(select count(*) from {each})" }}\n'
    written.statements.limit(0.1)
    fold = written.fold(compiled(endless))
    fold.begin("c-1")
    with pytest.raises(HandlerError, match=r"0\.1 seconds"):
        list(fold.feed(Query(stream="c-1")))


# What a fold may reach


def authorizer() -> Guard:
    return Guard(apsw.Connection(":memory:"), write=True)


@pytest.mark.parametrize(
    ("action", "first", "second"),
    [
        (apsw.SQLITE_ATTACH, "/tmp/x.db", None),
        (apsw.SQLITE_PRAGMA, "writable_schema", "on"),
        (apsw.SQLITE_READ, "events", "data"),
        (apsw.SQLITE_READ, "sqlite_master", "sql"),
        (apsw.SQLITE_INSERT, "events", None),
        (apsw.SQLITE_UPDATE, "events", "data"),
        (apsw.SQLITE_DELETE, "esctl_fold_1", None),
        (apsw.SQLITE_DROP_TABLE, "esctl_fold_1", None),
        (apsw.SQLITE_FUNCTION, None, "random"),
        (apsw.SQLITE_FUNCTION, None, "load_extension"),
        (apsw.SQLITE_FUNCTION, None, "last_insert_rowid"),
    ],
)
def test_what_a_model_says_reaches_nothing_but_its_fold(action: int, first: str | None, second: str | None) -> None:
    allow = authorizer()
    assert allow(action, first, second, "main", "esctl_feed_1_0") == apsw.SQLITE_DENY
    assert allow(action, first, second, "main", None) == apsw.SQLITE_OK


@pytest.mark.parametrize(
    ("action", "first", "second"),
    [
        (apsw.SQLITE_SELECT, None, None),
        (apsw.SQLITE_READ, "esctl_fold_1", "state"),
        (apsw.SQLITE_UPDATE, "esctl_fold_1", "state"),
        (apsw.SQLITE_INSERT, "esctl_after_1", None),
        (apsw.SQLITE_FUNCTION, None, "json_extract"),
        (apsw.SQLITE_FUNCTION, None, "abs"),
    ],
)
def test_what_a_fold_needs_is_allowed(action: int, first: str | None, second: str | None) -> None:
    assert authorizer()(action, first, second, "temp", "esctl_feed_1_0") == apsw.SQLITE_OK


@pytest.mark.parametrize(
    "expression",
    [
        "(select count(*) from events)",
        "(select name from streams limit 1)",
        "random()",
        "(select sql from sqlite_master)",
    ],
)
def test_a_program_that_nobody_judged_fails_and_reads_nothing(store: Store, expression: str) -> None:
    sneaked = Program("c", "{}", f"jsonb_set(state, '$.x', {expression})", None, ("position", "type", "data"), "f")
    fold = store.fold(sneaked)
    fold.begin("c-1")
    with pytest.raises((EsctlError, apsw.Error)):
        list(fold.feed(Query(stream="c-1", until_version=1)))


def test_the_clock_cannot_be_read_by_a_time_that_comes_with_an_event(written: Store) -> None:
    put(written, event(1, data='{"at":"now"}'))
    clock = '[aggregate.c]\nstreams = "c-*"\non.T1.compute = { at = "datetime(new.data ->> \'at\')" }\n'
    fold = written.fold(compiled(clock))
    fold.begin("c-1")
    with pytest.raises(EsctlError):
        list(fold.feed(Query(stream="c-1")))


def test_a_time_of_an_event_can_be_computed_with(written: Store) -> None:
    put(written, event(1))
    day = '[aggregate.c]\nstreams = "c-*"\non.T1.compute = { next = "date(new.time, \'+1 day\')" }\n'
    fold = written.fold(compiled(day))
    fold.begin("c-1")
    list(fold.feed(Query(stream="c-1")))
    assert json.loads(fold.state("c-1")[0][4]) == {"next": "2026-01-03"}


def test_folds_leave_nothing_in_the_file(long: Path) -> None:
    before = long.read_bytes()
    with closing(Store(long)) as store:
        fold = store.fold(compiled(COUNT))
        fold.begin("c-1")
        list(fold.each(Query(stream="c-1", until_version=3)))
    assert long.read_bytes() == before


def test_a_file_that_nobody_may_write_can_be_folded(log_path: Path) -> None:
    with closing(Store(log_path, write=True)) as store:
        put(store, event(1))
    log_path.chmod(0o400)
    with closing(Store(log_path)) as store:
        fold = store.fold(compiled(COUNT))
        fold.begin("c-1")
        list(fold.feed(Query(stream="c-1")))
        assert json.loads(fold.state("c-1")[0][4]) == {"n": 1, "sum": 1}


def test_a_store_that_is_open_for_reading_refuses_to_write_after_a_fold(log_path: Path) -> None:
    with closing(Store(log_path)) as store:
        store.fold(MERGE)
        with pytest.raises(EsctlError):
            put(store, event(1))


def test_a_fold_begins_while_a_read_is_under_way(written: Store) -> None:
    put(written, *(event(n, data=json.dumps({"n": n, "x": "y" * 200_000})) for n in range(400)))
    read = written.read(Query())
    next(read)
    for _ in range(2):
        fold = written.fold(compiled(COUNT))
        fold.begin("c-1")
        list(fold.feed(Query(stream="c-1", until_version=2)))
    assert sum(1 for _ in read) == 399


@pytest.mark.parametrize("action", [apsw.SQLITE_INSERT, apsw.SQLITE_UPDATE, apsw.SQLITE_DELETE])
def test_a_reader_that_folds_may_write_nothing_but_temporary_tables(action: int) -> None:
    allow = Guard(apsw.Connection(":memory:"), write=False)
    assert allow(action, "events", None, "main", None) == apsw.SQLITE_DENY
    assert allow(action, "esctl_fold_1", None, "temp", None) == apsw.SQLITE_OK


@pytest.mark.parametrize("most", [1, 500, 100_000])
def test_many_streams_are_fed_in_spans_of_versions_that_make_no_difference(
    store: Store, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(folds, "EVENTS_PER_FEED_OF_MANY", most)
    fold = store.fold(compiled(COUNT))
    fold.begin_all(["c-1", "c-2"])
    fold.feed_all(Query(until=EVENTS))
    assert sum(json.loads(text)["n"] for *_, text in fold.states()) == EVENTS
    fold.feed_all(Query())
    assert [json.loads(text)["n"] for *_, text in fold.states()] == [EVENTS, EVENTS]


def test_a_fold_survives_a_rollback_or_knows_that_it_did_not(written: Store) -> None:
    put(written, event(1), event(2))
    before = written.fold(compiled(COUNT))
    with written.transaction(keep=False):
        within = written.fold(compiled(COUNT))
        for fold in (before, within):
            fold.begin_all(["c-1"])
            fold.feed_all(Query())
    assert (before.survive(), within.survive()) == (True, False)
    before.begin_all(["c-1"])
    before.feed_all(Query())
    assert json.loads(before.state("c-1")[0][4])["n"] == 2


@pytest.mark.parametrize("version", [2**53, 2**62])
def test_a_version_that_is_far_too_large_ends_a_feed_of_all_streams(tmp_path: Path, version: int) -> None:
    path = write_empty_log(tmp_path / "log.db")
    with closing(Store(path, write=True)) as store, store.transaction():
        store.append([event(n) for n in range(1, 4)])
    alter(path, f"update events set version = {version} where position = 3")
    with closing(Store(path)) as store:
        fold = store.fold(compiled(COUNT))
        fold.begin_all(["c-1"])
        fold.feed_all(Query())
        assert [json.loads(state)["n"] for *_, state in fold.states()] == [2]
