"""A writer appends as the log's model wants it, now."""

from __future__ import annotations

import pytest

from esctl.append.writer import Writer
from esctl.errors import EsctlError, RefusedError
from esctl.events.event import NewEvent, Prepared
from esctl.events.query import Query
from esctl.evolution.plan import Draft, drafted
from esctl.log import EventLog
from esctl.model.applied import record
from esctl.model.checks import checked
from tests.logs import hold

NEWER = """
[event.Placed]
schema = 2
[[event.Placed.upcast]]
from = 1
default = { total = 0 }
"""
RULED = """
[aggregate.order]
streams = "order-*"
initial = { paid = false }
accept.Paid = "state ->> 'paid' = 0"
on.Paid = [{ set = { paid = true } }]
"""
PAID: NewEvent = NewEvent("order-1", "Paid", "p", None, 0, "{}", "{}", None)
AGAIN: NewEvent = NewEvent("order-1", "Paid", "q", None, 0, "{}", "{}", None)


def test_what_no_schema_is_given_for_is_stamped_with_the_models_newest(log: EventLog) -> None:
    hold(log, NEWER)
    with log.transaction():
        Writer(log).append([NewEvent("s", "Placed", "a", None, 0, "{}", "{}", None)])
    assert [event[5] for event, _, _ in log.read(Query(raw_schema=True))] == [2]


def test_a_model_that_was_rolled_back_stamps_nothing(log: EventLog) -> None:
    writer = Writer(log)
    model, _ = checked(NEWER, {})
    with log.transaction(keep=False):
        log.apply(record(drafted(log, Draft(NEWER, {}, model))))
        writer.append([NewEvent("s", "Placed", "a", None, 0, "{}", "{}", None)])
    with log.transaction():
        writer.append([NewEvent("s", "Placed", "a", None, 0, "{}", "{}", None)])
    assert [event[5] for event, _, _ in log.read(Query(raw_schema=True))] == [1]


def test_states_that_were_rolled_back_judge_nothing(log: EventLog) -> None:
    hold(log, RULED)
    writer = Writer(log)
    with log.transaction(keep=False):
        writer.append([PAID])
    with log.transaction():
        writer.append([AGAIN])
    with pytest.raises(RefusedError), log.transaction():
        writer.append([PAID])


def test_rules_may_be_left_unasked(log: EventLog) -> None:
    hold(log, RULED)
    writer = Writer(log, rules=False)
    with log.transaction():
        writer.append([PAID, AGAIN])
    assert log.store.stream_version("order-1") == 2


INLINE = """
[projection.lines]
inline = true
table = "create table lines(k text primary key, item integer references lines(k))"
on.Placed = "insert into lines values (new.id, 'nothing')"
"""


def asks_for_foreign_keys(log: EventLog) -> bool:
    return bool(log.store._execute("pragma foreign_keys").get)


@pytest.mark.parametrize(("model", "asks"), [("", False), (NEWER, False), (INLINE, True)])
def test_only_rows_that_a_model_writes_are_asked_for_those_they_refer_to(log: EventLog, model: str, asks: bool) -> None:
    if model:
        hold(log, model)
    with Writer(log).transaction(waiting=lambda: None):
        assert asks_for_foreign_keys(log) is asks
    with log.transaction():
        assert asks_for_foreign_keys(log)


def test_a_row_of_an_inline_projection_that_refers_to_none_is_refused_in_a_run_of_appends(log: EventLog) -> None:
    hold(log, INLINE)
    writer = Writer(log)
    with pytest.raises(EsctlError, match="FOREIGN KEY"), writer.transaction(waiting=lambda: None):
        writer.append([NewEvent("s", "Placed", "a", None, 1, "{}", "{}", None)])


def test_a_model_that_another_applies_while_a_run_waits_for_the_lock_is_heeded(log: EventLog) -> None:
    before = log.store.model()
    hold(log, INLINE)
    with log.transaction(interned=before):
        assert asks_for_foreign_keys(log)


def test_events_that_come_in_parts_are_one_batch_to_the_model(log: EventLog) -> None:
    hold(log, RULED)
    writer, before = Writer(log), log.head()
    shipped = NewEvent("order-1", "Shipped", "s", None, 0, "{}", "{}", None)
    with pytest.raises(RefusedError) as caught, log.transaction():
        writer.append([PAID], more=iter([Prepared([shipped]), Prepared([]), Prepared([AGAIN])]))
    assert caught.value.details["index"] == 2
    assert log.head() == before
    with log.transaction():
        receipts = writer.append([PAID], more=iter([Prepared([shipped]), Prepared([PAID])]))
    assert [(receipt.id, receipt.version, receipt.duplicate) for receipt in receipts] == [
        ("p", 1, False),
        ("s", 2, False),
        ("p", 1, True),
    ]


def test_pins_hold_for_events_that_come_in_parts(log: EventLog) -> None:
    log.pins = {"Placed": 1}
    hold(log, NEWER)
    placed = [NewEvent("s", "Placed", id_, None, 0, "{}", "{}", None) for id_ in "abc"]
    with log.transaction():
        Writer(log).append(placed[:1], more=[Prepared(placed[1:])])
    assert [event.schema for event, _, _ in log.read(Query(raw_schema=True))] == [1, 1, 1]
