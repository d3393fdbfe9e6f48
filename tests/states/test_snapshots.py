"""Saved states never change an answer: whatever was saved, and whatever became of it, the events have the last word."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from esctl.errors import MisfitError
from esctl.events.event import NewEvent
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.states import folding, snapshot_care, snapshots
from esctl.states.snapshots import Bounds, digest
from esctl.store import migrations
from esctl.store.snapshots import Snapshot
from tests.conftest import write_empty_log
from tests.logs import alter, day, event, hold, put


@contextmanager
def folder() -> Iterator[Path]:
    """The path of a new, empty log."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "log.db"
        write_empty_log(path)
        yield path


# Models: any operations on any of three types, upcast, split, hidden or not

FIELDS = ("a", "b", "c.d")
EXPRESSIONS = (
    "ifnull(state ->> 'a', 0) + new.version",
    "json_array(state -> 'b', new.type)",
    "new.time",
    "new.data ->> 'n'",
)
CONDITIONS = ("new.data ->> 'n' > 1", "state ->> 'a' is null", "new.version % 2", "json_type(state, '$.b') = 'array'")


def _table(draw: DrawFn, values: st.SearchStrategy[str], fields: tuple[str, ...] = FIELDS) -> str:
    made = draw(st.dictionaries(st.sampled_from(fields), values, min_size=1, max_size=2))
    return "{ " + ", ".join(f'"{field}" = {value}' for field, value in made.items()) + " }"


@st.composite
def step(draw: DrawFn) -> str:
    """One table of operations of a fold."""
    kinds = draw(st.sets(st.sampled_from(["set", "add", "append", "merge", "compute", "remove", "when"]), min_size=1))
    # Numbers are added to fields of their own, lists appended to theirs: an event that does not fit is another test.
    tables: dict[str, Callable[[], str]] = {
        "set": lambda: _table(draw, st.sampled_from(['"$.n"', '"$.t"', '"x"', "1.50", "[1, true]"])),
        "add": lambda: _table(draw, st.sampled_from(['"$.n"', "2", "0.25"]), ("sum", "total.of")),
        "append": lambda: _table(draw, st.sampled_from(['"$.n"', '"$.o"', '"x"']), ("list", "lists.one")),
        "merge": lambda: '"$.o"',
        "compute": lambda: _table(draw, st.sampled_from([f'"{sql}"' for sql in EXPRESSIONS])),
        "remove": lambda: json.dumps(draw(st.lists(st.sampled_from([*FIELDS, "list", "sum"]), min_size=1, max_size=2))),
        "when": lambda: json.dumps(draw(st.sampled_from(CONDITIONS))),
    }
    return "\n".join(f"{kind} = {tables[kind]()}" for kind in tables if kind in kinds)


UPCASTS = (
    "",
    "[[event.A.upcast]]\nfrom = 1\nset = { n = 7 }\n",
    '[[event.A.upcast]]\nfrom = 1\nrename = { n = "m" }\n[[event.A.upcast]]\nfrom = 2\ndefault = { n = 3 }\n',
    '[[event.B.upcast]]\nfrom = 1\ntype = "A"\nschema = 1\n',
    "[[event.C.upcast]]\nfrom = 1\ndrop = true\n",
    "[event.B]\nschema = 2\n[[event.B.upcast]]\nfrom = 1\ndrop = true\nwhen = \"new.data ->> 'n' = 1\"\n",
    '[[event.C.upcast]]\nfrom = 1\nsplit = [{ type = "A", schema = 1 }, { type = "B", schema = 1, set = { n = 5 } }]\n',
)


@st.composite
def models(draw: DrawFn) -> str:
    """A model with one aggregate over the streams `s-…`; now and then with none."""
    text = draw(st.sampled_from(UPCASTS))
    if draw(st.integers(0, 5)) == 0:
        return text
    text += '[aggregate.any]\nstreams = "s-*"\ninitial = { status = "New" }\n'
    if draw(st.booleans()):
        text += f'snapshot = {{ every = {draw(st.integers(1, 4))} }}\naccept = {{ A = "1" }}\n'
    for type_ in draw(st.lists(st.sampled_from(["A", "B", "C", "*"]), unique=True, min_size=1)):
        for one in draw(st.lists(step(), min_size=1, max_size=2)):
            text += f'[[aggregate.any.on."{type_}"]]\n{one}\n'
    return text


payload = st.fixed_dictionaries(
    {},
    optional={
        "n": st.integers(-3, 3) | st.sampled_from([0.5, 10**20]),
        "t": st.sampled_from(["x", "Zoë", '"', ""]),
        "o": st.dictionaries(st.sampled_from(["a", "b", "z"]), st.none() | st.integers(0, 2), max_size=2),
    },
)
happening = st.tuples(
    st.sampled_from(["s-1", "s-1", "s-2"]), st.sampled_from("ABC"), payload, st.integers(1, 9), st.integers(1, 2)
)
points: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    st.integers(0, 14).map(lambda n: {"until_version": n}),
    st.integers(0, 16).map(lambda n: {"until": n}),
    st.integers(0, 9).map(lambda n: {"until_time": day(n) if n else "2025-01-01T00:00:00.000000Z"}),
    st.integers(0, 15).map(lambda n: {"as_of": n}),
)


OTHER_TEXTS = ["''", "'x'", "'{}'", "'{\"a\":9}'", "'9'", "'not json'", "cast(x'7bff' as text)", "cast(x'00' as text)"]


OTHER_TEXTS += ["'s-1'", "'any'", f"'{day(1)}'", f"'{day(9)}'", "upper(fold)", "replace(state, '1', '2')", "latest"]


OTHER_BLOBS = ["x''", "x'00'", "zeroblob(32)", "anchor", "hash", "randomblob(32)"]
OTHER_NUMBERS = ["0", "-1", "1", "2", "5", "version + 1", "position", "position + 1", "9223372036854775807"]
COLUMNS = {
    **dict.fromkeys(("aggregate", "time", "latest", "fold", "upcasts", "state", "taken"), OTHER_TEXTS),
    **dict.fromkeys(("anchor", "hash"), OTHER_BLOBS),
    **dict.fromkeys(("stream_id", "version", "position"), OTHER_NUMBERS),
}


@st.composite
def statements(draw: DrawFn) -> str:
    """One thing that another program does to the saved states."""
    column = draw(st.sampled_from(list(COLUMNS)))
    which = draw(st.sampled_from(["1", "version % 2", "stream_id = 1", "rowid = (select max(rowid) from snapshots)"]))
    if draw(st.integers(0, 9)) == 0:
        return f"delete from snapshots where {which}"
    return f"update or replace snapshots set {column} = {draw(st.sampled_from(COLUMNS[column]))} where {which}"


def states(log: EventLog, asked: list[tuple[str, dict[str, Any]]], *, saved: bool) -> list[object]:
    """What each question is answered with: the state with its version, position and time, or why there is none."""
    found: list[object] = []
    recorded = [event[7] for event, _, _ in log.store.read(Query(system=True))]
    for stream, point in asked:
        bounds = {"as_of": recorded[min(point["as_of"], len(recorded) - 1)]} if "as_of" in point else point
        if log.store.stream_version(stream):
            try:
                found.append(folding.state(log, Query(stream=stream, **bounds), saved=saved)[:6])
            except MisfitError as misfit:
                found.append(misfit.what)
    return found


@settings(max_examples=25)
@given(
    happenings=st.lists(happening, min_size=1, max_size=14),
    model=models(),
    later=st.none() | models(),
    taken=st.sets(st.integers(0, 13), max_size=5),
    harm=st.lists(statements(), max_size=3),
    asked=st.lists(st.tuples(st.sampled_from(["s-1", "s-2"]), points), min_size=1, max_size=6),
)
def test_a_state_with_snapshots_is_the_state_folded_from_the_beginning(
    happenings: list[tuple[str, str, Any, int, int]],
    model: str,
    later: str | None,
    taken: set[int],
    harm: list[str],
    asked: list[tuple[str, dict[str, Any]]],
) -> None:
    with folder() as path:
        with EventLog(path, write=True) as log:
            hold(log, model)
            waiting: list[NewEvent] = []
            for n, (stream, type_, data, of_month, schema) in enumerate(happenings):
                waiting.append(event(stream, type_, data, time=day(of_month), schema=schema))
                halfway = later is not None and n == len(happenings) // 2
                if n in taken or halfway or n == len(happenings) - 1:
                    put(log, *waiting)
                    waiting.clear()
                if n in taken:
                    snapshot_care.take(log, stream)
                if halfway:
                    hold(log, later or "")
        alter(path, ";".join(harm))
        with EventLog(path) as log:
            assert states(log, asked, saved=True) == states(log, asked, saved=False)


# What serves, and what does not

COUNT = '[aggregate.c]\nstreams = "c-*"\n[aggregate.c.on."*"]\nadd = { n = 1 }\n'
OTHER = '[aggregate.c]\nstreams = "c-*"\n[aggregate.c.on."*"]\nadd = { n = 2 }\n'
UPCAST = "[[event.T.upcast]]\nfrom = 1\nset = { a = 1 }\n"


@pytest.fixture
def counted(log_path: Path) -> Path:
    """Six events, the fourth with the latest time, and snapshots after the second, fourth and sixth."""
    with EventLog(log_path, write=True) as log:
        hold(log, COUNT)
        for n, of_month in enumerate([1, 2, 3, 9, 4, 5], 1):
            put(log, event("c-1", "T", {}, time=day(of_month)))
            if n % 2 == 0:
                snapshot_care.take(log, "c-1")
    return log_path


def served(path: Path, **bounds: Any) -> tuple[int | None, int, int, list[str]]:
    """From which snapshot a state was folded, how many events, to which count; and what was ignored."""
    told: list[str] = []
    with EventLog(path) as log:
        found = folding.state(log, Query(stream="c-1", **bounds), ignored=told.append)
    return found.snapshot, found.folded, json.loads(found.state).get("n", 0), told


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        pytest.param({}, (6, 0, 6), id="now"),
        pytest.param({"until_version": 5}, (4, 1, 5), id="version"),
        pytest.param({"until_version": 4}, (4, 0, 4), id="version of a snapshot"),
        pytest.param({"until_version": 1}, (None, 1, 1), id="before the first"),
        pytest.param({"until": 4}, (2, 1, 3), id="position"),
        pytest.param({"until_time": day(9)}, (6, 0, 6), id="a time after all"),
        pytest.param({"until_time": day(8)}, (2, 3, 5), id="one event of the later snapshots is after the time"),
        pytest.param({"until_time": day(1)}, (None, 1, 1), id="an early time"),
    ],
)
def test_the_newest_snapshot_that_holds_nothing_beyond_the_point_serves(
    counted: Path, bounds: dict[str, Any], expected: tuple[int | None, int, int]
) -> None:
    assert served(counted, **bounds) == (*expected, [])


def test_as_of_a_time_a_snapshot_serves_that_ends_by_then(counted: Path) -> None:
    with EventLog(counted) as log:
        moment = log.event("6")[0][7]  # the fifth event of the stream
    assert served(counted, as_of=moment) == (4, 1, 5, [])


def test_nothing_saved_serves_who_does_not_want_it(counted: Path) -> None:
    with EventLog(counted) as log:
        found = folding.state(log, Query(stream="c-1"), saved=False)
    assert (found.snapshot, found.folded) == (None, 6)


@pytest.mark.parametrize("column", [column for column in COLUMNS if column not in ("stream_id", "taken")])
def test_a_snapshot_whose_hash_does_not_cover_what_it_says_is_ignored(counted: Path, column: str) -> None:
    kinds = {"anchor": "x'00'", "hash": "x'00'", "version": "5", "position": "6", "aggregate": "''"}
    alter(counted, f"update snapshots set {column} = {kinds.get(column, repr('9'))} where version = 6")
    snapshot, folded, n, told = served(counted)
    assert (snapshot, folded, n) == (4, 2, 6)
    assert column == "aggregate" or told == [
        f"the snapshot of c-1 at version {5 if column == 'version' else 6} is ignored: it is damaged"
    ]


def test_a_snapshot_whose_text_is_no_text_is_ignored(counted: Path) -> None:
    alter(counted, "update snapshots set state = cast(x'7bff7d' as text) where version = 6")
    assert served(counted)[:3] == (4, 2, 6)


def test_when_it_was_taken_changes_no_answer(counted: Path) -> None:
    alter(counted, "update snapshots set taken = 'long ago'")
    assert served(counted) == (6, 0, 6, [])


@pytest.mark.parametrize(
    ("model", "reason", "n"),
    [
        pytest.param(
            OTHER,
            "the aggregate has changed, or how esctl folds it",
            12,
            id="another fold",
        ),
        pytest.param(COUNT + UPCAST, "the upcasts have changed", 6, id="other upcasts"),
    ],
)
def test_a_snapshot_of_another_model_is_ignored_with_the_reason(counted: Path, model: str, reason: str, n: int) -> None:
    with EventLog(counted, write=True) as log:
        hold(log, model)
    expected = [f"the snapshot of c-1 at version {version} is ignored: {reason}" for version in (6, 4, 2)]
    assert served(counted) == (None, 6, n, expected)


def test_a_snapshot_serves_again_when_its_model_is_back(counted: Path) -> None:
    with EventLog(counted, write=True) as log:
        hold(log, OTHER)
        hold(log, COUNT)
    assert served(counted) == (6, 0, 6, [])


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(COUNT + '[aggregate.c.accept]\nT = "1"\n', id="a rule"),
        pytest.param(COUNT.replace("streams", "snapshot = { every = 9 }\nstreams"), id="a policy"),
        pytest.param(COUNT + "[event.T]\nerasable = true\n", id="an event type"),
    ],
)
def test_what_changes_no_state_makes_no_snapshot_stale(counted: Path, model: str) -> None:
    with EventLog(counted, write=True) as log:
        hold(log, model)
    assert served(counted) == (6, 0, 6, [])


def test_a_snapshot_of_another_history_is_ignored(counted: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    migrations.create(other)
    with EventLog(other, write=True) as log:
        hold(log, COUNT)
        for of_month in (1, 2, 3, 9, 4, 5):
            put(log, event("c-1", "T", {"not": "the same"}, time=day(of_month)))
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("attach ? as counted", (str(counted),))
        connection.execute("insert into snapshots select * from counted.snapshots")
        connection.commit()
    snapshot, folded, n, told = served(other)
    assert (snapshot, folded, n) == (None, 6, 6)
    assert len(told) == 3
    assert all("another history" in reason for reason in told)


def test_a_snapshot_of_the_merge_does_not_serve_an_aggregate(log_path: Path) -> None:
    with EventLog(log_path, write=True) as log:
        put(log, event("c-1", "T", {"n": 40}))
        snapshot_care.take(log, "c-1")
        assert folding.state(log, Query(stream="c-1")).snapshot == 1
        hold(log, COUNT)
    assert served(log_path) == (None, 1, 1, [])


def test_a_snapshot_continues_after_all_parts_of_a_split_event(log_path: Path) -> None:
    split = '[[event.S.upcast]]\nfrom = 1\nsplit = [{ type = "T", schema = 1 }, { type = "U", schema = 1 }]\n'
    with EventLog(log_path, write=True) as log:
        hold(log, COUNT + split)
        put(log, event("c-1", "S", {}))
        snapshot_care.take(log, "c-1")
        put(log, event("c-1", "S", {}))
    assert served(log_path) == (1, 2, 4, [])


def test_a_snapshot_before_any_event_is_not_kept(log_path: Path) -> None:
    with EventLog(log_path, write=True) as log:
        hold(log, COUNT + "[[event.T.upcast]]\nfrom = 1\ndrop = true\n")
        put(log, event("c-1", "T", {}))
        assert snapshot_care.take(log, "c-1") is None
        assert list(log.store.snapshots().of()) == []


# The pieces


def snapshot(**changes: Any) -> Snapshot:
    fixed = ("c-1", "c", 2, 3, day(2), day(4), "fold", "upcasts", b"\1\2", "{}", b"", day(5))
    return Snapshot(*fixed)._replace(**changes)


def test_the_hash_of_a_snapshot_has_one_value_for_ever() -> None:
    assert digest(snapshot()).hex() == "e52a5b4b41acd8071a7ca375172ab267ed3309bdbd7ff01e78c2aace47ab7895"


@pytest.mark.parametrize("field", [name for name in Snapshot._fields if name not in ("hash", "taken")])
def test_the_hash_covers_every_field_that_an_answer_depends_on(field: str) -> None:
    other: dict[type, object] = {str: "other", int: 99, bytes: b"other"}
    changed = snapshot(**{field: other[type(getattr(snapshot(), field))]})
    assert digest(changed) != digest(snapshot())


@pytest.mark.parametrize(
    ("bounds", "holds"),
    [
        (Bounds(), True),
        (Bounds(version=2), True),
        (Bounds(version=1), False),
        (Bounds(position=3), True),
        (Bounds(position=2), False),
        (Bounds(time=day(4)), True),
        (Bounds(time=day(3)), False),
        (Bounds(2, 3, day(4)), True),
        (Bounds(2, 2, day(4)), False),
    ],
)
def test_bounds_hold_what_lies_within_all_of_them(bounds: Bounds, holds: bool) -> None:
    assert bounds.holds(snapshot()) == holds


def test_usable_snapshots_come_newest_first(counted: Path) -> None:
    with EventLog(counted) as log:
        definitions = log.definitions
        program = definitions.program(definitions.aggregate("c"))
        found = list(snapshots.usable(log.store, "c-1", program, definitions.upcasts))
    assert [one.version for one in found] == [6, 4, 2]
