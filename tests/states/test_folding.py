"""States at any point, what changed between two of them, and the event that did it; held against folds in Python."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esctl.errors import DifferenceError, EsctlError, MisfitError, NotFoundError, UsageError
from esctl.events.event import NewEvent
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.points.marks import set_mark
from esctl.points.points import query_of
from esctl.states import differences, folding, reducing, snapshot_care
from esctl.states.folding import StateAt
from tests.conftest import write_empty_log
from tests.logs import IDS, hold, put

ORDER = """
[aggregate.order]
streams = "order-*"
initial = { status = "New" }

[aggregate.order.on.Placed]
set = { status = "Placed", total = "$.total" }

[aggregate.order.on.Paid]
set = { status = "Paid" }
add = { paid = "$.amount" }

[aggregate.wide]
streams = "nothing-*"

[aggregate.wide.on."*"]
add = { events = 1 }
"""


@contextmanager
def fresh() -> Iterator[EventLog]:
    """A new log, open for writing."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.db"
        write_empty_log(path)
        with EventLog(path, write=True) as log:
            yield log


def event(stream: str, type_: str = "T", data: object = None, *, time: str | None = None, schema: int = 0) -> NewEvent:
    payload = json.dumps({} if data is None else data)
    return stream, type_, next(IDS), time, schema, payload, "{}", None


def at(log: EventLog, stream: str, aggregate: str | None = None, **points: Any) -> StateAt:
    return folding.state(log, query_of(log, stream, **points), aggregate)


def value(state: StateAt) -> Any:
    return json.loads(state.state)


def day(n: int) -> str:
    return f"2026-01-{n:02}T00:00:00.000000Z"


# Points


@pytest.fixture
def shop(log: EventLog) -> EventLog:
    """Two orders, three transactions; the times of the second order run backwards."""
    hold(log, ORDER)
    put(log, event("order-1", "Placed", {"total": 30}, time=day(1)), event("order-2", "Placed", {"total": 5}))
    set_mark(log, "placed", 3)
    put(log, event("order-1", "Paid", {"amount": 10}, time=day(5)))
    put(log, event("order-1", "Paid", {"amount": 20}, time=day(3)))
    return log


@pytest.mark.parametrize(
    ("points", "version", "paid"),
    [
        pytest.param({}, 3, 30, id="now"),
        pytest.param({"until": "v0"}, 0, None, id="before the first event"),
        pytest.param({"until": "v1"}, 1, None, id="version"),
        pytest.param({"until": "v2"}, 2, 10, id="later version"),
        pytest.param({"until": "v99"}, 3, 30, id="a version that is not there yet"),
        pytest.param({"until": "#1"}, 0, None, id="a position before the stream"),
        pytest.param({"until": "#3"}, 1, None, id="a position within"),
        pytest.param({"until": "#5"}, 2, 10, id="another position"),
        pytest.param({"until": "placed"}, 1, None, id="mark"),
        pytest.param({"until": "2025-12-31T00:00:00Z"}, 0, None, id="a time before all"),
        pytest.param({"until": "2026-01-04T00:00:00Z"}, 3, 20, id="a time leaves out what happened later"),
        pytest.param({"until": "2026-01-05T00:00:00Z"}, 3, 30, id="a time is inclusive"),
        pytest.param({"as_of": "#5"}, 2, 10, id="as of a position"),
        pytest.param({"as_of": "placed"}, 1, None, id="as of a mark"),
        pytest.param({"as_of": "now"}, 3, 30, id="as of now"),
        pytest.param({"as_of": "2000-01-01T00:00:00Z"}, 0, None, id="as of a time before all"),
        pytest.param({"until": "v3", "as_of": "#5"}, 2, 10, id="the narrower of two"),
    ],
)
def test_a_state_is_that_of_the_events_up_to_a_point(
    shop: EventLog, points: dict[str, str], version: int, paid: int | None
) -> None:
    found = at(shop, "order-1", **points)
    assert (found.version, value(found).get("paid")) == (version, paid)


def test_as_of_a_recorded_time_is_the_log_as_it_stood_then(shop: EventLog) -> None:
    events = [event for event, _, _ in shop.read(Query(stream="order-1"))]
    for one in events:
        known = [e for e in events if e[7] <= one[7]]
        assert at(shop, "order-1", as_of=one[7]).version == known[-1][2]


def test_a_state_names_its_aggregate_and_its_last_event(shop: EventLog) -> None:
    found = at(shop, "order-1", until="v2").record()
    assert found | {"state": None} == {
        "stream": "order-1", "aggregate": "order", "version": 2, "position": 5, "time": day(5), "state": None
    }  # fmt: skip


def test_before_the_first_event_a_state_is_what_the_model_says_it_begins_with(shop: EventLog) -> None:
    found = at(shop, "order-1", until="v0")
    assert (value(found), found.position, found.time) == ({"status": "New"}, 0, None)


def test_a_state_as_a_line_is_the_record(shop: EventLog) -> None:
    found = at(shop, "order-1")
    assert json.loads(found.line()) == {**found.record(), "state": value(found)}


def test_another_aggregate_can_fold_a_stream_that_it_does_not_cover(shop: EventLog) -> None:
    found = at(shop, "order-1", "wide")
    assert (found.aggregate, value(found)) == ("wide", {"events": 3})


def test_an_aggregate_that_is_not_there_is_named_with_those_that_are(shop: EventLog) -> None:
    with pytest.raises(NotFoundError, match="no aggregate ordr") as caught:
        at(shop, "order-1", "ordr")
    assert "order" in caught.value.why


def test_a_stream_that_is_not_there_has_no_state(shop: EventLog) -> None:
    with pytest.raises(NotFoundError, match="order-3"):
        at(shop, "order-3")


def test_an_event_that_cannot_be_folded_is_named(shop: EventLog) -> None:
    put(shop, event("order-1", "Paid", {"amount": "ten"}))
    with pytest.raises(MisfitError) as caught:
        at(shop, "order-1")
    assert caught.value.details["position"] == 7
    assert value(at(shop, "order-1", until="v3"))["paid"] == 30


@pytest.mark.parametrize("compute", ["abs(new.data ->> 'n')", "unhex('ff00')"])
def test_an_expression_that_fails_on_an_event_is_a_misfit(log: EventLog, compute: str) -> None:
    hold(log, f'[aggregate.a]\nstreams = "a-*"\non.T.compute = {{ n = "{compute}" }}')
    put(log, event("a-1", "U"), event("a-1", "T", {"n": -(2**63)}))
    with pytest.raises(MisfitError) as caught:
        at(log, "a-1")
    assert caught.value.fix == "esctl state a-1 --each"  # which shows how far it can be folded


def test_a_state_uses_what_old_events_are_read_as(log: EventLog) -> None:
    put(log, event("order-1", "Placed", {"sum": 30}, schema=1))
    hold(log, ORDER + '[[event.Placed.upcast]]\nfrom = 1\nrename = { sum = "total" }\n')
    assert value(at(log, "order-1")) == {"status": "Placed", "total": 30}


def test_hidden_events_leave_a_state_as_it_was(log: EventLog) -> None:
    hold(log, ORDER + "[[event.Paid.upcast]]\nfrom = 1\ndrop = true\n")
    put(log, event("order-1", "Placed", {"total": 1}), event("order-1", "Paid", {"amount": "no number"}))
    assert value(at(log, "order-1")) == {"status": "Placed", "total": 1}


def test_several_states_can_be_asked_of_one_open_log_whatever_snapshots_there_are(log: EventLog) -> None:
    hold(log, ORDER)
    for n in range(1, 4):
        put(log, event("order-1", "Paid", {"amount": n}))
        snapshot_care.take(log, "order-1")
    assert [value(at(log, "order-1", until=f"v{n}"))["paid"] for n in (1, 2, 3)] == [1, 3, 6]
    changes = differences.diff(log, Query(stream="order-1", until_version=1), Query(stream="order-1"))
    assert [change.path for change in changes] == ["paid"]


def test_a_log_that_is_open_for_reading_is_not_written_to_after_a_fold(log_path: Path) -> None:
    with EventLog(log_path, write=True) as log:
        put(log, event("s-1"))
    with EventLog(log_path) as log:
        at(log, "s-1")
        with pytest.raises(EsctlError):
            put(log, event("s-1"))
    with EventLog(log_path) as log:
        assert log.head()[0] == 1


# Without an aggregate: JSON merge patch, as RFC 7396 writes it down

simple = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.sampled_from(["", "x", "Zoë"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)


def merged(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    made = dict(target) if isinstance(target, dict) else {}
    for name, inner in patch.items():
        if inner is None:
            made.pop(name, None)
        else:
            made[name] = merged(made.get(name), inner)
    return made


@settings(max_examples=40)
@given(payloads=st.lists(simple, min_size=1, max_size=6))
def test_without_an_aggregate_a_state_is_all_payloads_merged(payloads: list[Any]) -> None:
    with fresh() as log:
        put(log, *(event("s-1", "T", payload) for payload in payloads))
        state: Any = {}
        for payload, found in zip(payloads, folding.each(log, Query(stream="s-1")), strict=True):
            state = merged(state, {} if payload is None else payload)
            assert (value(found), found.aggregate) == (state, None)


def test_the_text_of_numbers_survives_the_merge(log: EventLog) -> None:
    text = '{"a":1.10,"b":12345678901234567890123,"c":1E400,"d":-0.0}'
    put(log, ("s-1", "T", "e-1", None, 1, text, "{}", None))
    assert at(log, "s-1").state == text


# Each and all


def test_each_gives_the_state_after_every_event(shop: EventLog) -> None:
    found = list(folding.each(shop, Query(stream="order-1")))
    assert [state.version for state in found] == [1, 2, 3]
    assert [(s.version, s.position, s.time, s.state) for s in found] == [
        (s.version, s.position, s.time, s.state) for s in (at(shop, "order-1", until=f"v{n}") for n in (1, 2, 3))
    ]


kind = st.sampled_from(["order-1", "order-2", "order-3", "other-1"])
happening = st.tuples(kind, st.sampled_from(["Placed", "Paid"]), st.integers(0, 3), st.integers(1, 9))
happenings = st.lists(happening, min_size=1, max_size=15)
BY_TIME_OR_POSITION: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    st.integers(0, 16).map(lambda n: {"until": n}),
    st.integers(1, 9).map(lambda n: {"until_time": day(n)}),
)


def happened(log: EventLog, events: list[tuple[str, str, int, int]]) -> None:
    for stream, type_, number, of_month in events:
        put(log, event(stream, type_, {"total": number, "amount": number}, time=day(of_month)))


@settings(max_examples=30)
@given(events=happenings, point=BY_TIME_OR_POSITION, most=st.sampled_from([1, 2, 1000]))
def test_the_states_of_all_are_those_of_each_stream(
    events: list[tuple[str, str, int, int]], point: dict[str, Any], most: int
) -> None:
    split = (
        '[[event.Placed.upcast]]\nfrom = 1\nsplit = [{ type = "Placed", schema = 2 }, { type = "Paid", schema = 1 }]'
    )
    with fresh() as log, pytest.MonkeyPatch.context() as patch:
        patch.setattr(folding, "MOST_STREAMS", most)
        hold(log, ORDER + f"[event.Placed]\nschema = 2\n{split}\n")
        happened(log, events)
        found = {s.stream: s[:6] for s in folding.states(log, "order", Query(**point))}
        streams = {stream for stream, *_ in events if stream.startswith("order")}
        single = {stream: folding.state(log, Query(stream=stream, **point))[:6] for stream in streams}
        assert found == {stream: state for stream, state in single.items() if state[2]}
        assert list(found) == sorted(found)


def test_the_states_of_all_can_be_filtered_by_what_they_say(shop: EventLog) -> None:
    asked = "state ->> 'status' = 'Paid' and stream glob 'order*' and version > 1 and position > 1 and time > '2026'"
    assert [s.stream for s in folding.states(shop, "order", Query(), asked)] == ["order-1"]


def test_a_filter_that_is_no_condition_is_refused_before_anything_is_folded(shop: EventLog) -> None:
    with pytest.raises(UsageError, match="--where"):
        next(folding.states(shop, "order", Query(), "state ->>"))


# Differences


def leaves(state: Any, path: str = "") -> dict[str, Any]:
    """Path -> value of what a state holds; empty objects and arrays are values."""
    if isinstance(state, dict) and state:
        inner = [(f"{path}.{name}" if path else name, value) for name, value in state.items()]
    elif isinstance(state, list) and state:
        inner = [(f"{path}[{n}]", value) for n, value in enumerate(state)]
    else:
        return {path: state}
    return {key: leaf for where, value in inner for key, leaf in leaves(value, where).items()}


def followed(state: Any, path: str) -> Any:
    """The JSON text of what stands at a path, `$` being all of it; None where nothing does."""
    path = path.removeprefix("$")
    for part in path.replace("[", ".[").split(".") if path else ():
        try:
            if part.startswith("["):
                if not isinstance(state, list):
                    return None
                state = state[int(part[1:-1])]
            else:
                if not isinstance(state, dict):
                    return None
                state = state[part]
        except (KeyError, IndexError):
            return None
    return json.dumps(state, separators=(",", ":"))


JOURNAL = """
[aggregate.journal]
streams = "j-*"
[aggregate.journal.on.Set]
merge = "$"
[aggregate.journal.on.Noted]
append = { notes = "$.a" }
[aggregate.journal.on.Gone]
remove = ["a", "b"]
"""
entry = st.tuples(
    st.sampled_from(["Set", "Set", "Noted", "Gone"]),
    st.dictionaries(
        st.sampled_from("abc"), st.integers(0, 2) | st.dictionaries(st.sampled_from("xy"), st.integers(0, 2))
    ),
)


@settings(max_examples=60)
@given(entries=st.lists(entry, min_size=1, max_size=8), low=st.integers(0, 8), high=st.integers(0, 8))
def test_a_difference_names_the_event_after_which_the_path_kept_its_value(
    entries: list[tuple[str, dict[str, Any]]], low: int, high: int
) -> None:
    low, high = sorted((min(low, len(entries)), min(high, len(entries))))
    with fresh() as log:
        hold(log, JOURNAL)
        put(log, *(event("j-1", *one) for one in entries))
        states = [{}, *(value(s) for s in folding.each(log, Query(stream="j-1")))]
        changes = differences.diff(log, Query(stream="j-1", until_version=low), Query(stream="j-1", until_version=high))
        before, after = states[low], states[high]
        differing = {p for p in {*leaves(before), *leaves(after)} if p and followed(before, p) != followed(after, p)}
        starts = {p: {(followed(state, p) or "")[:1] for state in (before, after)} for p in differing}
        emptied = {p for p in differing if starts[p] in ({"{"}, {"["})}  # what was in it is told instead
        assert {change.path for change in changes} >= {p for p in differing - emptied if p in leaves(after)}
        assert bool(changes) == (before != after)
        for change in changes:
            assert (change.before, change.after) == (followed(before, change.path), followed(after, change.path))
            seen = [followed(state, change.path) == change.after for state in states[: high + 1]]
            made = max(n for n, (had, has) in enumerate(pairwise(seen), 1) if not had and has)
            assert (change.position, change.type) == (made + 1, entries[made - 1][0])


def test_between_equal_states_there_is_no_difference(shop: EventLog) -> None:
    assert differences.diff(shop, Query(stream="order-1"), Query(stream="order-1")) == []


def test_a_difference_can_be_looked_at_backwards(shop: EventLog) -> None:
    found = differences.diff(shop, Query(stream="order-1"), Query(stream="order-1", until_version=2))
    assert [tuple(change) for change in found] == [("paid", "30", "10", 5, "Paid")]


def test_a_difference_between_times_is_of_what_happened_by_then(shop: EventLog) -> None:
    since, until = (Query(stream="order-1", until_time=day(n)) for n in (1, 4))
    found = differences.diff(shop, since, until)
    assert [tuple(change) for change in found] == [
        ("paid", None, "20", 6, "Paid"), ("status", '"Placed"', '"Paid"', 6, "Paid")
    ]  # fmt: skip


# Bisection


@settings(max_examples=40)
@given(
    numbers=st.lists(st.integers(1, 3), min_size=1, max_size=12),
    bound=st.integers(1, 20),
    taken=st.sets(st.integers(1, 12)),
)
def test_bisect_finds_the_first_event_after_which_what_stays_true_is_true(
    numbers: list[int], bound: int, taken: set[int]
) -> None:
    with fresh() as log:
        hold(log, ORDER)
        for n, number in enumerate(numbers, 1):
            put(log, event("order-1", "Paid", {"amount": number}))
            if n in taken:
                snapshot_care.take(log, "order-1")
        states = [(s.version, s.state) for s in folding.each(log, Query(stream="order-1"))]
        expected = next(((v, s) for v, s in states if json.loads(s)["paid"] >= bound), None)
        for saved in (True, False):
            try:
                found = differences.bisect(log, Query(stream="order-1"), f"state ->> 'paid' >= {bound}", saved=saved)
            except DifferenceError:
                assert expected is None
            else:
                assert (found.version, found.state) == expected


def test_bisect_with_snapshots_folds_little(log: EventLog) -> None:
    hold(log, ORDER)
    for _ in range(8):
        put(log, *(event("order-1", "Paid", {"amount": 1}) for _ in range(10)))
        snapshot_care.take(log, "order-1")
    found = differences.bisect(log, Query(stream="order-1"), "state ->> 'paid' >= 55")
    assert (found.version, found.folded) == (55, 5)
    assert 0 < found.looked <= 4


def test_bisect_without_snapshots_finds_what_was_true_for_a_moment(log: EventLog) -> None:
    put(log, *(event("s-1", "T", {"n": n}) for n in (1, 2, 9, 3)))
    assert differences.bisect(log, Query(stream="s-1"), "state ->> 'n' = 9").version == 3


def test_bisect_looks_no_further_than_its_point(log: EventLog) -> None:
    put(log, *(event("s-1", "T", {"n": n}) for n in (1, 2, 9)))
    with pytest.raises(DifferenceError, match="after no event of s-1"):
        differences.bisect(log, Query(stream="s-1", until_version=2), "state ->> 'n' = 9")


def test_bisect_takes_every_column_that_it_says_a_condition_is_over(log: EventLog) -> None:
    put(log, *(event("s-1", "T", {"n": n}) for n in range(5)))
    asked = "stream = 's-1' and version >= 3 and position >= 3 and time > '2026' and state ->> 'n' > 0"
    assert differences.bisect(log, Query(stream="s-1"), asked).version == 3


@pytest.mark.parametrize("condition", ["state ->>", "nothing = 1", "(select 1)", "random() > 0", "1; select 1"])
def test_bisect_refuses_what_is_no_condition(log: EventLog, condition: str) -> None:
    put(log, event("s-1"))
    with pytest.raises(UsageError, match="--when"):
        differences.bisect(log, Query(stream="s-1"), condition)


def test_a_condition_that_fails_on_some_state_is_the_users_to_mend(log: EventLog) -> None:
    put(log, event("s-1", "T", {"n": -(2**63)}))
    with pytest.raises(UsageError, match="overflow"):
        differences.bisect(log, Query(stream="s-1"), "abs(state ->> 'n') > 5")


# Reducers

REDUCERS = """
def count(state, event):
    return {"n": state.get("n", 0) + 1, "last": event.data, "type": event.type, "seen": event.version}

def fails(state, event):
    return state["missing"]

def odd(state, event):
    return object()

nothing = 7
"""


@pytest.fixture
def reducers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module in this folder with functions that reduce."""
    name = f"reducers_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(REDUCERS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [str(tmp_path), *__import__("sys").path])
    return name


def test_a_python_function_folds_a_stream(log: EventLog, reducers: str) -> None:
    put(log, event("s-1", "A", {"big": 10**30}), event("s-1", "B", [1.5]))
    found = list(reducing.reduced(log, Query(stream="s-1"), f"{reducers}:count"))
    assert [(s.version, s.folded) for s in found] == [(0, 0), (1, 1), (2, 2)]
    assert [value(s) for s in found[1:]] == [
        {"n": 1, "last": {"big": 10**30}, "type": "A", "seen": 1},
        {"n": 2, "last": [1.5], "type": "B", "seen": 2},
    ]


def test_a_python_function_gets_events_as_they_are_read(log: EventLog, reducers: str) -> None:
    hold(log, "[[event.A.upcast]]\nfrom = 1\nset = { n = 2 }\n")
    put(log, event("s-1", "A", schema=1))
    *_, last = reducing.reduced(log, Query(stream="s-1"), f"{reducers}:count")
    assert value(last)["last"] == {"n": 2}


@pytest.mark.parametrize("name", ["x", ":f", "m:", ""])
def test_what_names_no_reducer_is_a_wrong_command_line(name: str) -> None:
    with pytest.raises(UsageError):
        reducing.reducer(name)


def test_a_reducer_that_is_no_function_is_refused(reducers: str) -> None:
    with pytest.raises(UsageError):
        reducing.reducer(f"{reducers}:nothing")


@pytest.mark.parametrize("name", ["no_such_module:f", "json:no_such_function"])
def test_a_reducer_that_is_not_there_is_not_found(name: str) -> None:
    with pytest.raises(NotFoundError):
        reducing.reducer(name)


@pytest.mark.parametrize("function", ["fails", "odd"])
def test_a_reducer_that_fails_is_told_as_a_handlers_failure(log: EventLog, reducers: str, function: str) -> None:
    put(log, event("s-1"))
    with pytest.raises(EsctlError) as caught:
        list(reducing.reduced(log, Query(stream="s-1"), f"{reducers}:{function}"))
    assert caught.value.exit_code == 9
