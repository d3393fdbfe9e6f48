"""Which events a model lets in, and the schema version that they are stamped with."""

from __future__ import annotations

import pytest

from esctl.append.writer import Writer
from esctl.errors import RefusedError
from esctl.events.event import NewEvent
from esctl.log import EventLog
from esctl.points import marks
from tests.conftest import writer_of
from tests.logs import hold, put, refused, stored_schema
from tests.models import COUNT, UPCAST


@pytest.mark.parametrize(("type_", "given", "stored"), [("T", 0, 3), ("T", 1, 1), ("U", 0, 1), ("U", 9, 9)])
def test_an_event_without_a_schema_version_gets_the_newest(log: EventLog, type_: str, given: int, stored: int) -> None:
    hold(log, UPCAST)
    assert stored_schema(log, type_, given) == stored


def test_a_schema_version_that_the_model_does_not_know_yet_is_refused(log: EventLog) -> None:
    hold(log, UPCAST)
    with pytest.raises(RefusedError, match="knows it up to schema 3") as caught:
        stored_schema(log, "T", 4)
    assert caught.value.details["index"] == 0


def test_an_event_that_its_upcasts_cannot_be_done_on_is_refused(log: EventLog) -> None:
    hold(log, '[[event.T.upcast]]\nfrom = 1\nconvert = { n = "integer" }\n')
    before = log.head()
    with pytest.raises(RefusedError, match="n cannot be converted to integer"), log.transaction():
        writer_of(log).append(
            [
                NewEvent("s", "T", "a", None, 1, '{"n":"5"}', "{}", None),
                NewEvent("s", "T", "b", None, 1, '{"n":"x"}', "{}", None),
            ]
        )
    assert log.head() == before


def test_a_refusal_by_an_expression_of_an_upcast_names_no_position_which_the_event_does_not_get(log: EventLog) -> None:
    hold(log, "[[event.T.upcast]]\nfrom = 1\ncompute = { n = \"json(new.data ->> 'n')\" }\n")
    with pytest.raises(RefusedError) as raised, log.transaction():
        writer_of(log).append([NewEvent("s", "T", "a", None, 1, '{"n":"{"}', "{}", None)])
    assert raised.value.what == "T in s is refused: malformed JSON"
    assert raised.value.details["field"] == "event.T.upcast[1].compute.n"


def test_an_expression_may_not_make_texts_of_any_size(log: EventLog) -> None:
    bomb = "length(hex(printf('%400000000s', 'x')))"
    hold(log, f'[[event.T.upcast]]\nfrom = 1\ncompute = {{ n = "{bomb}" }}\n')
    with pytest.raises(RefusedError, match="too big"):
        stored_schema(log, "T", 1)


def test_the_schema_version_follows_the_model(log: EventLog) -> None:
    assert stored_schema(log, "T") == 1
    hold(log, UPCAST)
    assert stored_schema(log, "T") == 3
    hold(log, COUNT)
    assert stored_schema(log, "T") == 1


STRICT = """
[model]
strict = true
[aggregate.account]
streams = "account-*"
on.Deposited.add = { n = 1 }
[aggregate.other]
streams = "other"
[projection.p]
table = "create table p(a)"
on.Shown = "insert into p values (1)"
[[event.Old.upcast]]
from = 1
type = "New"
"""


@pytest.mark.parametrize("type_", ["Deposited", "Shown", "Old", "New"])
@pytest.mark.parametrize("stream", ["account-1", "other"])
def test_a_strict_model_takes_what_its_declarations_name(log: EventLog, stream: str, type_: str) -> None:
    hold(log, STRICT)
    put(log, NewEvent(stream, type_, "a", None, 0, "{}", "{}", None))


@pytest.mark.parametrize(
    ("stream", "type_", "why"),
    [
        ("account-1", "Depositd", "did you mean Deposited?"),
        ("acount-1", "Deposited", "did you mean account-1?"),
        ("account", "Deposited", "they match account-*, other"),
        ("account-1", "Xyz", "they name Deposited, New, Old, Shown"),
        ("xyz-1", "Deposited", "they match account-*, other"),
    ],
)
def test_a_strict_model_refuses_what_no_declaration_names(log: EventLog, stream: str, type_: str, why: str) -> None:
    hold(log, STRICT)
    good = NewEvent("account-1", "Deposited", "a", None, 0, "{}", "{}", None)
    error = refused(log, good, NewEvent(stream, type_, "b", None, 0, "{}", "{}", None))
    assert (error.why, error.details["index"], error.details["type"]) == (why, 1, type_)


def test_a_strict_model_takes_the_duplicate_of_an_event_from_before_it(log: EventLog) -> None:
    before = NewEvent("x-1", "Xyz", "a", None, 0, "{}", "{}", None)
    put(log, before)
    hold(log, STRICT)
    (receipt,) = put(log, before)
    assert receipt.duplicate


def test_a_strict_model_holds_without_rules_and_lets_the_logs_own_events_pass(log: EventLog) -> None:
    hold(log, STRICT)
    with pytest.raises(RefusedError), log.transaction():
        Writer(log, rules=False).append([NewEvent("account-1", "Xyz", "a", None, 0, "{}", "{}", None)])
    marks.set_mark(log, "m", 1)
