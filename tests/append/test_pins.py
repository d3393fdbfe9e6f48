"""A writer's events without a schema have the version that the writer is pinned to."""

from __future__ import annotations

import pytest

from esctl.append import pins
from esctl.append.writer import Writer
from esctl.errors import EsctlError, RefusedError, UsageError
from esctl.events.event import NewEvent
from esctl.events.query import Query
from esctl.log import EventLog
from tests.logs import hold

MODEL = """
[[event.Placed.upcast]]
from = 1
default = { discount = 0 }
[[event.Placed.upcast]]
from = 2
rename = { amount = "total" }
[event.Gapped]
schema = 3
[[event.Gapped.upcast]]
from = 2
remove = ["x"]
[event.Plain]
schema = 3
[event.Held]
erasable = true
"""


def event(id_: str, schema: int = 0, type_: str = "Placed") -> NewEvent:
    return NewEvent("order-1", type_, id_, None, schema, '{"amount":1}', "{}", None)


def stored(log: EventLog) -> list[int]:
    return [sealed.event.schema for sealed in log.read(Query(raw_schema=True))]


@pytest.mark.parametrize(
    ("options", "variable", "wanted"),
    [
        pytest.param([], "", (0, {}), id="nothing"),
        pytest.param(["2"], "", (2, {}), id="for all types"),
        pytest.param(["Placed=2", "Paid=1"], "", (0, {"Placed": 2, "Paid": 1}), id="for two types"),
        pytest.param([], "Placed=2,Paid=1", (0, {"Placed": 2, "Paid": 1}), id="by the environment"),
        pytest.param([], " Placed = 2 , ,Paid=1,", (0, {"Placed": 2, "Paid": 1}), id="with blanks and commas"),
        pytest.param(["Placed=3"], "Placed=2,Paid=1", (0, {"Placed": 3, "Paid": 1}), id="the option comes first"),
        pytest.param(["3"], "Placed=2", (3, {}), id="all types, whatever the environment"),
        pytest.param(["a=b=2"], "", (0, {"a=b": 2}), id="a type with an equals sign"),
    ],
)
def test_pins_are_given_by_options_and_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, options: list[str], variable: str, wanted: tuple[int, dict[str, int]]
) -> None:
    monkeypatch.setenv("ESCTL_SCHEMA", variable)
    assert pins.given(options) == wanted


@pytest.mark.parametrize(
    ("options", "variable", "kind"),
    [
        pytest.param(["x"], "", UsageError, id="no number"),
        pytest.param(["=2"], "", UsageError, id="no type"),
        pytest.param(["Placed="], "", UsageError, id="no version"),
        pytest.param(["Placed=1.5"], "", UsageError, id="a fraction"),
        pytest.param(["Placed=0"], "", RefusedError, id="version 0"),
        pytest.param(["0"], "", RefusedError, id="version 0 for all types"),
        pytest.param(["1", "2"], "", UsageError, id="two versions for all types"),
        pytest.param(["1", "Placed=2"], "", UsageError, id="all types and one"),
        pytest.param(["Placed=1", "Placed=2"], "", UsageError, id="two versions for one type"),
        pytest.param([], "Placed=1,Placed=2", UsageError, id="two versions for one type in the environment"),
        pytest.param([], "Placed", UsageError, id="no version in the environment"),
        pytest.param([], "Placed:2", UsageError, id="a colon in the environment"),
    ],
)
def test_what_is_no_pin_is_refused(
    monkeypatch: pytest.MonkeyPatch, options: list[str], variable: str, kind: type[EsctlError]
) -> None:
    monkeypatch.setenv("ESCTL_SCHEMA", variable)
    with pytest.raises(kind):
        pins.given(options)


@pytest.mark.parametrize("schema", ["1", True, 1.0, None])
def test_what_is_not_a_whole_number_is_no_schema_version(schema: int) -> None:
    with pytest.raises(UsageError, match="Placed is pinned to"):
        pins.checked("Placed", schema)


def test_a_pin_gives_the_schema_to_events_that_name_none(log: EventLog) -> None:
    hold(log, MODEL)
    log.pins = {"Placed": 2}
    with log.transaction():
        Writer(log).append([event("a"), event("b", 1), event("c", 0, "Other")])
    assert stored(log) == [2, 1, 1]


def test_a_pin_holds_in_a_log_without_a_model_too(log: EventLog) -> None:
    log.pins = {"Placed": 2}
    with log.transaction():
        Writer(log).append([event("a")])
    assert stored(log) == [2]


@pytest.mark.parametrize(
    "pin", [{"Placed": 3}, {"Gapped": 2}, {"Gapped": 3}, {"Held": 7}, {"Plain": 2}, {"Unheard": 1}]
)
def test_a_pin_to_a_version_that_the_model_knows_is_taken(log: EventLog, pin: dict[str, int]) -> None:
    hold(log, MODEL)
    pins.check(log.definitions, pin)


@pytest.mark.parametrize(
    ("pin", "why"),
    [
        pytest.param({"Placed": 4}, "it knows 1, 2, 3", id="newer"),
        pytest.param({"Plain": 4}, "it knows 1 to 3", id="newer, without a chain"),
        pytest.param({"Gapped": 1}, "it knows 2, 3; no chain leads from schema 1", id="no chain"),
        pytest.param({"Placd": 1}, "did you mean Placed?", id="misspelt"),
        pytest.param({"Unheard": 2}, "a type without a declaration has schema 1", id="not declared"),
    ],
)
def test_a_pin_that_the_model_contradicts_is_refused_before_anything_is_stored(
    log: EventLog, pin: dict[str, int], why: str
) -> None:
    hold(log, MODEL)
    log.pins = pin
    with pytest.raises(RefusedError) as refused, log.transaction():
        Writer(log).append([event("a", 0, "Other")])
    assert refused.value.why == why
    assert stored(log) == []


def test_pins_are_checked_again_when_another_model_is_in_force(log: EventLog) -> None:
    hold(log, MODEL)
    log.pins = {"Placed": 1}
    writer = Writer(log)
    with log.transaction():
        writer.append([event("a")])
    hold(log, MODEL.replace("from = 1", "from = 3").replace("from = 2\nrename", "from = 2\nschema = 4\nrename"))
    with pytest.raises(RefusedError, match="Placed is pinned to schema 1"), log.transaction():
        writer.append([event("b")])
