"""Events as Python sees them: payloads decoded, and nothing of a number lost that Python can hold."""

from __future__ import annotations

import json

import pytest

from esctl.events.decoded import decoded
from esctl.events.event import Event, Part
from esctl.events.json import MAX_DEPTH
from tests.logs import day


def stored(data: str, meta: str = "{}") -> Event:
    return Event(7, "order-1", 2, "id-7", "Placed", 1, day(31), day(31), data, meta)


def test_every_field_has_its_name() -> None:
    event = decoded(stored('{"a":[1,null]}', '{"actor":"zoe"}'))
    assert (event.position, event.stream, event.version, event.id, event.type) == (7, "order-1", 2, "id-7", "Placed")
    assert (event.schema, event.time, event.recorded) == (1, day(31), day(31))
    assert (event.data, event.meta) == ({"a": [1, None]}, {"actor": "zoe"})
    assert (event.part, event.erased) == (None, False)


@pytest.mark.parametrize("number", [2**63, 10**400, -(2**200)])
def test_a_whole_number_of_any_size_is_itself(number: int) -> None:
    assert decoded(stored(f'{{"n":{number}}}')).data == {"n": number}


@pytest.mark.parametrize("data", ["null", "[]", '"text"', "1.5", "true"])
def test_a_payload_may_be_any_value(data: str) -> None:
    event = decoded(stored(data))
    assert event.data == json.loads(data)
    assert not event.erased


def test_a_payload_may_be_nested_as_deeply_as_a_log_holds_it() -> None:
    value = decoded(stored("[" * MAX_DEPTH + "]" * MAX_DEPTH)).data
    depth = 0
    while isinstance(value, list):
        depth, value = depth + 1, value[0] if value else None
    assert depth == MAX_DEPTH


def test_an_erased_payload_is_told_from_one_that_is_null() -> None:
    event = decoded(stored("null")._replace(data=None, meta=None))  # type: ignore[arg-type]  # as it is read once it was erased
    assert (event.data, event.meta, event.erased) == (None, {}, True)


def test_the_parts_of_a_split_event_are_told_apart() -> None:
    part = Part._make(stored("{}"))
    part.part = 2
    assert decoded(part).part == 2
