"""A state is what its events add up to, at any point, of one stream or of all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esctl.errors import EsctlError, MisfitError, NotFoundError, UsageError
from esctl.events.event import NewEvent
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.points.points import query_of
from esctl.states import differences, folding, snapshot_care
from esctl.states.folding import StateAt
from tests.logs import day, event, fresh, hold, put
from tests.states.conftest import ORDER, value


def at(log: EventLog, stream: str, aggregate: str | None = None, **points: Any) -> StateAt:
    return folding.state(log, query_of(log, stream, **points), aggregate)


# Points


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
    assert caught.value.fix == "esctl replay --since '#3' --limit 1 --raw-schema"
    assert {key: caught.value.details[key] for key in ("position", "stream", "field")} == {
        "position": 3, "stream": "a-1", "field": "aggregate.a.on.T.compute.n",
    }  # fmt: skip
    assert "position 3 in a-1" in caught.value.what
    assert "aggregate.a.on.T.compute.n" in caught.value.why


SUMS = """
[aggregate.a]
streams = "a-*"
on.T.add.n = "$.v"
on.U.compute.x = "json(new.data ->> 's')"
"""


def test_the_states_before_a_misfit_come_before_its_error(log: EventLog) -> None:
    hold(log, SUMS)
    put(log, *(event("a-1", "T", {"v": v}) for v in (1, 2, "x", 3)))
    states = folding.each(log, query_of(log, "a-1"))
    assert [value(next(states)) for _ in range(2)] == [{"n": 1}, {"n": 3}]
    with pytest.raises(MisfitError) as caught:
        next(states)
    assert (caught.value.details["position"], caught.value.details["field"]) == (4, "aggregate.a.on.T.add.n")


BAD = {"x": ("T", {"v": "x"}), "{": ("U", {"s": "{"})}


@settings(max_examples=25, deadline=None)
@given(streams=st.lists(st.lists(st.sampled_from([1, 2, 3, "x", "{"]), min_size=1, max_size=4), min_size=1, max_size=7))
def test_every_stream_that_can_be_folded_is_and_the_others_are_named(streams: list[list[Any]]) -> None:
    with fresh() as log:
        hold(log, SUMS)
        for number, values in enumerate(streams):
            put(log, *(event(f"a-{number}", *BAD.get(str(v), ("T", {"v": v}))) for v in values))
        found: dict[str, Any] = {}
        failures: Any = []
        try:
            for state in folding.states(log, "a", Query()):
                found[state.stream] = value(state)["n"]
        except MisfitError as error:
            failures = error.details["failures"]
        whole = {f"a-{n}": sum(values) for n, values in enumerate(streams) if not {"x", "{"} & set(values)}
        assert found == whole
        assert [one["stream"] for one in failures] == [f"a-{n}" for n in range(len(streams)) if f"a-{n}" not in whole]
        assert all("position" in one and "field" in one for one in failures)


def test_a_question_over_states_is_answered_for_all_others_and_then_fails(log: EventLog) -> None:
    hold(log, SUMS)
    put(log, event("a-1", "T", {"v": 1}), event("a-2", "T", {"v": "x"}), event("a-3", "T", {"v": 3}))
    _, rows = folding.question(log, "select stream, state from states")
    held = folding.Held(rows)
    assert list(held) == [("a-1", '{"n":1}'), ("a-3", '{"n":3}')]
    with pytest.raises(MisfitError, match="position 3 in a-2"):
        held.end()


def test_what_did_not_fail_ends_without_an_error() -> None:
    held = folding.Held(iter([1, 2]))
    assert list(held) == [1, 2]
    held.end()


def test_an_error_names_some_of_many_streams(log: EventLog) -> None:
    hold(log, SUMS)
    put(log, *(event(f"a-{n:02}", "T", {"v": "x"}) for n in range(14)))
    with pytest.raises(MisfitError) as caught:
        list(folding.states(log, "a", Query()))
    assert "a-01 (position 3)" in caught.value.why
    assert caught.value.why.endswith("and 3 more")
    failures: Any = caught.value.details["failures"]
    assert len(failures) == 14


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
    put(log, NewEvent("s-1", "T", "e-1", None, 1, text, "{}", None))
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
        patch.setattr(folding, "MAX_STREAMS", most)
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
