"""Whose events a model would stamp with a version that they do not have, and which stored events look so."""

from __future__ import annotations

import pytest

from esctl.events.event import NewEvent
from esctl.evolution import stamps
from esctl.evolution.plan import Draft, drafted
from esctl.log import EventLog
from esctl.model.applied import Definitions
from esctl.model.checks import checked
from esctl.model.declared import Model
from tests.logs import IDS, hold, put

HEAD = "[[event.Placed.upcast]]\nfrom = 1\n"
RENAMED = HEAD + 'rename = { amount = "total" }\n'
TWICE = RENAMED + '[[event.Placed.upcast]]\nfrom = 2\nrename = { total = "sum" }\n'
SCHEMA = "[event.Placed]\njson_schema = { type = 'object', properties = { amount = {} } }\n"


def model(text: str) -> Model:
    made, problems = checked(text, {})
    assert problems == []
    return made


def risks(log: EventLog, text: str) -> list[tuple[str, int, int]]:
    definitions = Definitions(drafted(log, Draft(text, {}, model(text))))
    return [(risk.type, risk.before, risk.newest) for risk in stamps.risks(log.definitions, definitions)]


@pytest.mark.parametrize(
    ("before", "text", "found"),
    [
        pytest.param("", RENAMED, [("Placed", 1, 2)], id="a rename"),
        pytest.param("", HEAD + 'convert = { a = "number" }\n', [("Placed", 1, 2)], id="a conversion"),
        pytest.param("", HEAD + "default = { a = 0 }\n", [("Placed", 1, 2)], id="a default"),
        pytest.param("", TWICE, [("Placed", 1, 3)], id="two steps"),
        pytest.param(RENAMED, TWICE, [("Placed", 2, 3)], id="one step more"),
        pytest.param(TWICE, TWICE + "[event.Other]\nschema = 2\n", [], id="in force already"),
        pytest.param(RENAMED + SCHEMA, RENAMED, [("Placed", 1, 2)], id="the JSON Schema goes"),
        pytest.param("", RENAMED + SCHEMA, [], id="a JSON Schema"),
        pytest.param("", HEAD, [], id="nothing changes"),
        pytest.param("", "[event.Placed]\nschema = 2\n", [], id="no chain"),
        pytest.param("", HEAD + 'type = "Ordered"\nrename = { a = "b" }\n', [], id="another type"),
        pytest.param("", HEAD + "drop = true\n", [], id="dropped"),
    ],
)
def test_a_type_is_at_risk_if_its_payloads_change_unchecked(
    log: EventLog, before: str, text: str, found: list[tuple[str, int, int]]
) -> None:
    if before:
        hold(log, before)
    assert risks(log, text) == found


def test_a_risk_says_how_to_pin_the_writers(log: EventLog) -> None:
    hold(log, RENAMED)
    definitions = Definitions(drafted(log, Draft(TWICE, {}, model(TWICE))))
    (risk,) = stamps.risks(log.definitions, definitions)
    assert str(risk) == (
        "Placed: a writer that names no schema will be stamped with schema 3, even if its payload has an older shape"
        " (rename amount to total; rename total to sum). Pin such writers: esctl append --schema Placed=2, or"
        " ESCTL_SCHEMA=Placed=2; or give the type a json_schema"
    )


@pytest.mark.parametrize(
    ("text", "away"),
    [
        pytest.param(RENAMED, {"amount": "total"}, id="one"),
        pytest.param(TWICE, {"amount": "total", "total": "sum"}, id="two"),
        pytest.param(TWICE.replace('"sum"', '"amount"'), {"total": "amount"}, id="there and back"),
        pytest.param(RENAMED + "set = { amount = 1 }\n", {}, id="set again"),
        pytest.param(RENAMED + 'set = { "amount.value" = 1 }\n', {}, id="a field within it is set"),
        pytest.param(RENAMED + "default = { amount = 1 }\n", {}, id="a default"),
        pytest.param(RENAMED + 'compute = { amount = "1" }\n', {}, id="computed"),
        pytest.param(RENAMED + 'merge = "$.more"\n', {}, id="merged"),
        pytest.param(RENAMED + 'when = "1"\n', {}, id="under a condition"),
        pytest.param(RENAMED + SCHEMA, {}, id="named by the JSON Schema"),
        pytest.param("[event.Placed]\nschema = 4\n", {}, id="no chain"),
    ],
)
def test_a_field_is_renamed_away_unless_something_brings_it_back(text: str, away: dict[str, str]) -> None:
    assert stamps.renamed_away(model(text).events["Placed"]) == away


def event(schema: int, data: str = "{}", type_: str = "Placed") -> NewEvent:
    return NewEvent("s", type_, next(IDS), None, schema, data, "{}", None)


def test_events_of_the_newest_schema_with_a_field_of_an_older_one_are_suspect(log: EventLog) -> None:
    put(log, event(1, '{"amount":1}'), event(2, '{"amount":1}'), event(2, '{"total":1}'), event(2, '{"amount":null}'))
    put(log, event(2, "[1]"), event(2, '{"amount":1}', "Other"))
    hold(log, RENAMED)
    found = list(stamps.suspects(log, log.definitions))
    assert [(suspect.position, suspect.kind) for suspect in found] == [(2, "old shape"), (4, "old shape")]
    assert found[0].reason == "it has amount, which was renamed to total by schema 2: its payload is older"


def test_events_of_a_schema_without_a_chain_are_suspect(log: EventLog) -> None:
    put(log, event(1), event(2), event(3), event(4), event(2, "{}", "Other"), event(2, "{}", "Held"))
    hold(log, "[event.Placed]\nschema = 3\n[[event.Placed.upcast]]\nfrom = 2\n[event.Held]\nerasable = true\n")
    assert [suspect[:2] for suspect in stamps.suspects(log, log.definitions)] == [(1, "no chain"), (4, "no chain")]


def test_a_sample_is_of_the_positions_that_its_step_divides(log: EventLog) -> None:
    put(log, *(event(2, '{"amount":1}') for _ in range(6)))
    hold(log, RENAMED)
    assert [suspect.position for suspect in stamps.suspects(log, log.definitions, 3)] == [3, 6]
