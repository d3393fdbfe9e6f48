"""The law of projections: however events came and were fed, the rows are those of one pass over them from the first."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from esctl.archive import creation
from esctl.errors import HandlerError
from esctl.events.event import NewEvent
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.projections import admin, differences, reading, runs
from esctl.store import projections as projection_tables
from tests.conftest import write_empty_log, writer_of
from tests.logs import hold, run

# Projections: each shape is its tables (as the model lists them) and its handlers

N = "ifnull(new.data ->> 'n', 0)"
K = "ifnull(new.data ->> 'k', '')"
SHAPES: dict[str, tuple[str, dict[str, str]]] = {
    "upserts": (
        (
            "table = 'create table upserts(k text primary key, n numeric, many integer default 1, at text)'\n"
            "indexes = ['create index upserts_n on upserts(n)']"
        ),
        {
            "A": f"insert into upserts(k, n, at) values ({K}, {N}, new.time) on conflict(k) do update"
            " set n = n + excluded.n, many = many + 1, at = max(at, excluded.at)",
            "B": f"delete from upserts where k = {K}; update upserts set many = many + 1",
        },
    ),
    "running": (
        "table = 'create table running(position integer primary key, n numeric, total numeric)'",
        {
            "*": "insert into running select new.position * 10 + (select count(*) from running where position / 10 ="
            f" new.position), {N}, {N} + ifnull((select total from running order by position desc limit 1), 0)",
        },
    ),
    "keyless": (
        "table = 'create table keyless(stream, version, type, schema, data, meta)'",
        {
            "*": "insert into keyless values (new.stream, new.version, new.type, new.schema, new.data, new.meta)",
            "B": "delete from keyless where rowid = (select max(rowid) from keyless);"
            " insert into keyless(type, data) select type, count(*) from keyless group by type order by type",
        },
    ),
    "without": (
        "table = 'create table without(k text, type text, n any, primary key(k, type)) strict, without rowid'",
        {"*": f"insert or replace into without values ({K}, new.type, new.data -> 'n')"},
    ),
    "computed": (
        (
            'table = "create table computed(k, n, half generated always as (n / 2.0), name as (k || n) stored,'
            ' unique (k, name))"\nindexes = ["create unique index computed_half on computed(k, half) where half > 0"]'
        ),
        {
            "A": f"insert or ignore into computed(k, n) values ({K}, {N})",
            "C": f"update or replace computed set n = n + 1 where k = {K}",
        },
    ),
    # What refers stands before what it refers to, and to itself.
    "families": (
        (
            "[projection.families.tables]\n"
            "child = 'create table child(id integer primary key, k text not null references parent on delete cascade)'"
            "\nparent = 'create table parent(k text primary key, elder text references parent on update cascade)'\n"
        ),
        {
            "A": f"insert into parent values ({K}, null) on conflict do nothing;"
            f" update parent set elder = (select max(k) from parent) where k = {K};"
            f" insert into child(k) select k from parent where k = {K}",
            "B": f"update parent set elder = null where elder = {K}; delete from parent where k = {K}",
            "C": f"delete from child where id = (select min(id) from child where k = {K})",
        },
    ),
}
TABLES = {name: ("child", "parent") if name == "families" else (name,) for name in SHAPES}
UPCASTS = (
    "",
    "[event.A]\nschema = 2\n[[event.A.upcast]]\nfrom = 1\ndefault = { n = 7 }\n",
    "[[event.B.upcast]]\nfrom = 1\ntype = 'A'\nschema = 1\n",
    "[[event.C.upcast]]\nfrom = 1\ndrop = true\n",
    "[event.C]\nschema = 2\n[[event.C.upcast]]\nfrom = 1\ndrop = true\nwhen = \"new.data ->> 'n' > 1\"\n",
    (
        "[event.C]\nschema = 2\n[[event.C.upcast]]\nfrom = 1\nsplit = ["
        "{ type = 'A', schema = 1 }, { type = 'B', schema = 1, set = { k = 'x' } }, { type = 'C', schema = 2 }]\n"
    ),
)


def said(names: Sequence[str], upcasts: str, *, inline: bool = False) -> str:
    """A model with these projections."""
    text = upcasts
    for name in names:
        tables, on = SHAPES[name]
        text += f"[projection.{name}]\ninline = {str(inline).lower()}\n{tables}\n[projection.{name}.on]\n"
        text += "".join(f"{json.dumps(type_)} = {json.dumps(sql)}\n" for type_, sql in on.items())
    return text


# Logs

payload = st.fixed_dictionaries(
    {"k": st.sampled_from(["x", "y", "z", "é"])},
    optional={"n": st.integers(-2, 3) | st.sampled_from([0.25, 10**18, None])},
)
happening = st.tuples(st.sampled_from(["s-1", "s-2"]), st.sampled_from("AAABC"), payload, st.integers(1, 2))
Happening = tuple[str, str, dict[str, Any], int]


@st.composite
def batches(draw: DrawFn, least: int = 1) -> list[list[NewEvent]]:
    """Events as they are appended, some at a time."""
    made: list[list[NewEvent]] = [[]]
    for n, (stream, type_, data, schema) in enumerate(draw(st.lists(happening, min_size=least, max_size=24))):
        if draw(st.integers(0, 3)) == 0:
            made.append([])
        time = f"2026-01-01T00:00:{n * 7 % 60:02}.000000Z"
        made[-1].append(
            NewEvent(stream, type_, f"id-{n}", time, schema if type_ != "B" else 1, json.dumps(data), "{}", None)
        )
    return [batch for batch in made if batch]


@pytest.fixture(scope="module")
def empty() -> Iterator[Path]:
    """A log to make others of."""
    with tempfile.TemporaryDirectory() as folder:
        write_empty_log(Path(folder) / "empty.db")
        yield Path(folder) / "empty.db"


@contextmanager
def opened(empty: Path) -> Iterator[EventLog]:
    """A new log."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copyfile(empty, Path(folder) / "log.db")
        with EventLog(Path(folder) / "log.db", write=True) as log:
            yield log


def put(log: EventLog, events: list[NewEvent]) -> None:
    with log.transaction():
        writer_of(log).append(events)


def built(log: EventLog, name: str, until: int) -> None:
    """Build a projection in temporary tables of this connection."""
    for _ in reading.at(log, log.definitions.model.projections[name], Query(until=until)):
        pass


Rows = dict[str, list[tuple[Any, ...]]]


def rows(log: EventLog, names: Sequence[str], place: str = "main") -> Rows:
    """Every row of projections, with its rowid where it has one, and of which type each value is."""
    found: Rows = {}
    store = log.store.projections()
    for table in (table for name in names for table in TABLES[name]):
        keyed = "" if table == "without" else "rowid, "
        found[table] = [
            tuple((type(value), value) for value in row)
            for row in store.select(f"select {keyed}* from {place}.{table} order by 1, 2")
        ]
    return found


names_ = st.lists(st.sampled_from(list(SHAPES)), unique=True, min_size=1, max_size=3)
sizes = st.integers(1, 9)
quietly = settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])


@contextmanager
def portions(at_once: int, window: int) -> Iterator[None]:
    """Have so many positions be one transaction, and so many events one statement."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "POSITIONS_PER_TRANSACTION", at_once)
        patch.setattr(reading, "POSITIONS_PER_TRANSACTION", at_once)
        patch.setattr(projection_tables, "POSITIONS_PER_FEED", window)
        yield


def once(empty: Path, names: Sequence[str], upcasts: str, all_: list[list[NewEvent]], positions: int = 99) -> Rows:
    """What the law wants: the rows of one pass over the first events of a log; a model stands before them."""
    with opened(empty) as log:
        hold(log, said(names, upcasts))
        put(log, [event for batch in all_ for event in batch][: max(0, positions - 1)])
        run(log).end()
        return rows(log, names)


@quietly
@given(names=names_, upcasts=st.sampled_from(UPCASTS), all_=batches(), at_once=sizes, window=sizes)
def test_run_after_any_appends_in_any_batches_it_is_one_pass(
    empty: Path, names: list[str], upcasts: str, all_: list[list[NewEvent]], at_once: int, window: int
) -> None:
    with opened(empty) as log, portions(at_once, window):
        hold(log, said(names, upcasts))
        for batch in all_:
            put(log, batch)
            if len(batch) % 2:
                run(log).end()
        run(log).end()
        assert rows(log, names) == once(empty, names, upcasts, all_)


@quietly
@given(names=names_, upcasts=st.sampled_from(UPCASTS), all_=batches(), window=sizes)
def test_kept_inside_any_appends_it_is_one_pass(
    empty: Path, names: list[str], upcasts: str, all_: list[list[NewEvent]], window: int
) -> None:
    with opened(empty) as log, portions(99, window):
        hold(log, said(names, upcasts, inline=True))
        for batch in all_:
            put(log, batch)
        assert rows(log, names) == once(empty, names, upcasts, all_)


@quietly
@given(
    names=names_,
    upcasts=st.sampled_from(UPCASTS),
    all_=batches(),
    at_once=sizes,
    archived=st.integers(1, 20),
    most=st.integers(1, 8),
)
def test_rebuilt_in_any_batches_over_an_archived_log_it_is_one_pass(
    empty: Path, names: list[str], upcasts: str, all_: list[list[NewEvent]], at_once: int, archived: int, most: int
) -> None:
    with opened(empty) as log, portions(at_once, 256):
        hold(log, said(names, upcasts))
        for batch in all_:
            put(log, batch)
        run(log).end()
        list(creation.create(log, [(1, min(archived, log.head()[0]))], most=most))
        for name in names:
            for _ in runs.catch_up(log, admin.rebuild(log, name, from_scratch=True)):
                pass
        assert {version.state for version in log.store.projections().versions()} == {"live", "previous"}
        assert rows(log, names) == once(empty, names, upcasts, all_)


@quietly
@given(
    names=names_,
    upcasts=st.sampled_from(UPCASTS),
    all_=batches(),
    at_once=sizes,
    ran=st.integers(0, 24),
    until=st.integers(1, 26),
    archived=st.integers(0, 20),
)
def test_built_as_of_any_position_from_any_state_it_is_one_pass_up_to_there(
    empty: Path,
    names: list[str],
    upcasts: str,
    all_: list[list[NewEvent]],
    at_once: int,
    ran: int,
    until: int,
    archived: int,
) -> None:
    """The state that is near may be before the position, at it, or beyond it and then of no use."""
    with opened(empty) as log, portions(at_once, 256):
        hold(log, said(names, upcasts))
        events = [event for batch in all_ for event in batch]
        put(log, events[:ran])
        run(log).end()
        put(log, events[ran:])
        if archived:
            list(creation.create(log, [(1, min(archived, log.head()[0]))], most=5))
        with EventLog(log.path) as reader:
            for name in names:
                built(reader, name, until)
            found = rows(reader, names, "temp")
    assert found == once(empty, names, upcasts, all_, until)


@quietly
@given(
    names=names_,
    before=st.sampled_from(UPCASTS),
    after=st.sampled_from(UPCASTS),
    all_=batches(2),
    at_once=sizes,
    turn=st.integers(0, 24),
)
def test_under_upcasts_that_changed_it_is_one_pass_under_the_new_ones(
    empty: Path, names: list[str], before: str, after: str, all_: list[list[NewEvent]], at_once: int, turn: int
) -> None:
    events = [event for batch in all_ for event in batch]
    with opened(empty) as log, portions(at_once, 256):
        hold(log, said(names, before))
        put(log, events[:turn])
        run(log).end()
        hold(log, said(names, after) + "# another\n")
        put(log, events[turn:])
        run(log).end()
        run(log).end()
        found = rows(log, names)
    with opened(empty) as log:
        hold(log, said(names, before))  # as many events of the log's own
        put(log, events[:turn])
        hold(log, said(names, after) + "# another\n")
        for name in names:
            for _ in runs.catch_up(log, admin.rebuild(log, name, from_scratch=True)):
                pass
        put(log, events[turn:])
        run(log).end()
        assert found == rows(log, names)


@quietly
@given(names=names_, upcasts=st.sampled_from(UPCASTS), all_=batches(), refused=st.integers(0, 24))
def test_two_that_run_in_turns_make_one_pass(
    empty: Path, names: list[str], upcasts: str, all_: list[list[NewEvent]], refused: int
) -> None:
    with opened(empty) as log, portions(2, 256), EventLog(log.path, write=True) as other:
        hold(log, said(names, upcasts))
        for batch in all_:
            put(log, batch)
        done = runs.Run()
        ones, others = runs.run(log, [], done), runs.run(other, [], done)
        for _ in range(refused):  # a batch here, a batch there
            next(ones, None)
            next(others, None)
        run(other).end()
        assert rows(log, names) == once(empty, names, upcasts, all_)


@quietly
@given(names=names_, upcasts=st.sampled_from(UPCASTS), all_=batches(), at_once=sizes)
def test_what_was_verified_differs_in_nothing(
    empty: Path, names: list[str], upcasts: str, all_: list[list[NewEvent]], at_once: int
) -> None:
    with opened(empty) as log, portions(at_once, 256):
        hold(log, said(names, upcasts))
        for batch in all_:
            put(log, batch)
            run(log).end()
        for name in names:
            with EventLog(log.path) as reader:
                assert [found for found in differences.checked(reader, name) if not isinstance(found, int)] == []


def test_where_the_law_is_tried_no_handler_fails(empty: Path) -> None:
    """A shape whose handlers failed would try nothing: HandlerError is what a run ends with."""
    with opened(empty) as log:
        text = said(["upserts"], "").replace("many integer", "many integer check (many < 1)")
        hold(log, text)
        put(log, [NewEvent("s-1", "A", "id", None, 1, '{"k":"x"}', "{}", None)])
        with pytest.raises(HandlerError):
            run(log).end()
