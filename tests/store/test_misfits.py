"""The place in a model at which an event does not fit: every operation and expression, in folds and in upcasts."""

from __future__ import annotations

import json

import pytest

from esctl.errors import MisfitError, RefusedError
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.states import folding, snapshot_care
from esctl.store import misfits
from tests.logs import event, hold, put, run

BAD = "json(new.data ->> 'bad')"
FOLDS = [
    ("set.'s.a' = 1", "set.s.a"),
    ("add.n = '$.text'", "add.n"),
    ("subtract.n = '$.text'", "subtract.n"),
    ("append.s = 1", "append.s"),
    ("merge = '$.text'", "merge"),
    (f'compute = {{ ok = "1", c = "{BAD}", after = "2" }}', "compute.c"),
    (f'when = "{BAD}"\nset.a = 1', "when"),
    (f'when = "1"\ncompute.c = "{BAD}"\nset.a = 1', "compute.c"),
    ("set = { a = 1, 's.b' = 2 }\nadd.n = 1", "set.s.b"),
]
DATA = {"text": "x", "bad": "{", "s": "x"}


@pytest.mark.parametrize(("body", "place"), FOLDS)
def test_a_fold_that_fails_names_its_operation(log: EventLog, body: str, place: str) -> None:
    begin = "[aggregate.a]\nstreams = 'a-*'\ninitial = { s = 'x' }\n[[aggregate.a.on.T]]\nset.first = 1\n"
    hold(log, f"{begin}[[aggregate.a.on.T]]\n{body}\n[[aggregate.a.on.T]]\nset.last = 1")
    put(log, event("a-1", "Other"), event("a-1", "T", DATA))
    with pytest.raises(MisfitError) as caught:
        folding.state(log, Query(stream="a-1"))
    details = caught.value.details
    assert (details["position"], details["stream"], details["field"]) == (3, "a-1", f"aggregate.a.on.T[2].{place}")
    assert str(details["reason"]) in caught.value.what
    assert log.store.traced() == ""  # a later failure that comes to no place names none


UPCASTS = [
    *((body.replace("'s.a'", "'s.a'"), place) for body, place in FOLDS),
    ("default.'s.a' = 1", "default.s.a"),
    ("convert.text = 'number'", "convert.text"),
    ("rename.text = 's.a'", "rename.text"),
]


@pytest.mark.parametrize(("body", "place"), UPCASTS)
def test_an_upcast_that_fails_names_its_operation(log: EventLog, body: str, place: str) -> None:
    put(log, event("a-1", "T", DATA | {"n": 1}, schema=1))
    hold(log, f"[[event.T.upcast]]\nfrom = 1\nset.first = 1\n[[event.T.upcast]]\nfrom = 2\n{body}")
    for read in (lambda: list(log.read(Query())), lambda: list(log.lines(Query()))):
        with pytest.raises(MisfitError) as caught:
            read()
        details = caught.value.details
        assert (details["position"], details["field"]) == (1, f"event.T.upcast[2].{place}")
        assert caught.value.why == f"event.T.upcast[2].{place} fails on it"
    assert misfits.upcast_field(log.store, log.definitions.model, 1) == f"event.T.upcast[2].{place}"
    with pytest.raises(MisfitError) as caught:
        folding.state(log, Query(stream="a-1"))
    assert caught.value.details["field"] == f"event.T.upcast[2].{place}"


def test_a_condition_that_hides_events_is_named(log: EventLog) -> None:
    put(log, event("a-1", "T", DATA, schema=1))
    hold(log, f'[event.T]\nschema = 2\n[[event.T.upcast]]\nfrom = 1\ndrop = true\nwhen = "{BAD}"')
    with pytest.raises(MisfitError) as caught:
        list(log.read(Query()))
    assert caught.value.details["field"] == "event.T.upcast from 1: when"


def test_an_append_that_is_refused_names_what_failed(log: EventLog) -> None:
    rules = f'[aggregate.a]\nstreams = "a-*"\non.T.compute.c = "{BAD}"\naccept.R = "{BAD} is null"'
    hold(log, f'{rules}\n[[event.V.upcast]]\nfrom = 1\ncompute.c = "{BAD}"')
    for type_, schema, field in (
        ("T", 0, "aggregate.a.on.T.compute.c"),
        ("R", 0, "aggregate.a.accept.R"),
        ("V", 1, "event.V.upcast[1].compute.c"),
    ):
        with pytest.raises(RefusedError) as caught:
            put(log, event("a-1", "Other"), event("a-1", type_, DATA, schema=schema))
        assert caught.value.details["field"] == field
        assert field in caught.value.why


def test_a_projection_that_an_upcast_stops_names_its_field_and_one_that_a_handler_stops_its_handler(
    log: EventLog,
) -> None:
    put(log, event("s", "T", DATA, schema=1), event("s", "U", DATA))
    table = "table = 'create table {0}(k)'\n[projection.{0}.on]\n{1} = \"insert into {0} values ({2})\""
    hold(
        log,
        f'[[event.T.upcast]]\nfrom = 1\ncompute.c = "{BAD}"\n[projection.p]\n{table.format("p", "T", "new.data")}\n'
        f"[projection.q]\n{table.format('q', 'U', BAD)}",
    )
    upcast, handler = (failure.details for failure in run(log).failures)
    assert (upcast["position"], upcast["field"], upcast["reason"]) == (
        1,
        "event.T.upcast[1].compute.c",
        "malformed JSON",
    )
    assert (handler["position"], handler["handler"], handler["reason"]) == (2, "on.U", "malformed JSON")


def test_a_snapshot_that_cannot_be_taken_names_the_field(log: EventLog) -> None:
    hold(log, f'[aggregate.a]\nstreams = "a-*"\non.T.compute.c = "{BAD}"')
    put(log, event("a-1", "T", DATA))
    with pytest.raises(MisfitError) as caught:
        list(snapshot_care.take_many(log, None, due=False))
    assert caught.value.details["field"] == "aggregate.a.on.T.compute.c"


def test_an_error_without_a_position_stays_as_it_is(log: EventLog) -> None:
    error = MisfitError("it fails")
    assert misfits.in_upcasts(log.store, log.definitions.model, error) is error
    assert json.dumps(error.details) == "{}"
