"""Events that handlers print."""

from __future__ import annotations

import json
import uuid

import pytest

from esctl.errors import RefusedError
from esctl.log import EventLog
from esctl.reactions.chaining import MAX_DEPTH, JudgedError, Outputs, depth, matches, output_id
from esctl.reactions.definition import EXEC, Definition
from esctl.reactions.items import Item, _decode
from tests.logs import event

APPEND = Definition(EXEC, "x", types=("T",), append=True)


def item(position: int = 1, meta: object = None, part: int = 0) -> Item:
    line = json.dumps(
        {"position": position, "stream": "s", "version": 1, "id": f"e{position}", "type": "T", "schema": 1,
         "time": "t", "recorded": "r", "data": {}, "meta": meta or {}, "part": part}
    ).encode()  # fmt: skip
    return Item(line, _decode(line), "s")


def outputs(log: EventLog, *, allow_loop: bool = False) -> Outputs:
    return Outputs(log, "r", APPEND, allow_loop=allow_loop)


def test_an_event_that_is_printed_knows_its_cause(log: EventLog) -> None:
    cause = item(meta={"correlation_id": "c", "depth": 3})
    printed = b'{"type":"U","data":{"n":1},"meta":{"actor":"x"}}\n\n{"stream":"other","type":"V"}'
    first, second = outputs(log).events(cause, printed)
    assert (first.stream, first.type, first.data) == ("s", "U", '{"n":1}')
    assert json.loads(first.meta) == {
        "actor": "x", "causation_id": "e1", "correlation_id": "c", "reaction": "r", "depth": 4
    }  # fmt: skip
    assert (second.stream, second.type) == ("other", "V")
    assert json.loads(outputs(log).events(item(), b'{"type":"U"}')[0].meta)["correlation_id"] == "e1"


def test_ids_follow_from_the_cause_and_the_number(log: EventLog) -> None:
    ids = {
        output_id(log.log_id, name, one, n)
        for name in "rq"
        for one in (item(1), item(1, part=1), item(2))
        for n in (0, 1)
    }
    assert len(ids) == 12
    assert all((uuid.UUID(id_).version, uuid.UUID(id_).variant) == (8, uuid.RFC_4122) for id_ in ids)
    assert outputs(log).events(item(), b'{"type":"U"}')[0].id == output_id(log.log_id, "r", item(), 0)
    assert output_id("00000000-0000-4000-8000-000000000000", "r", item(), 0) == "8f2544bd-5046-87d7-a0dd-5666bad4c393"


@pytest.mark.parametrize(
    ("printed", "why"),
    [
        (b"no json", "line 1 of its output: the line is not JSON"),
        (b'{"type":"U"}\n{"data":1}', "line 2 of its output: the event has no type"),
        (b'{"type":"U","id":"mine"}', "has an id"),
        (b'{"type":"T"}', "that the reaction itself is for"),
        (b'{"type":"U","stream":"$esctl"}', "the log's own"),
    ],
)
def test_what_cannot_be_appended_is_refused(log: EventLog, printed: bytes, why: str) -> None:
    with pytest.raises(RefusedError) as refused:
        outputs(log).events(item(), printed)
    assert why in refused.value.what


def test_a_loop_may_be_allowed_and_is_bounded(log: EventLog) -> None:
    allowed = outputs(log, allow_loop=True)
    assert allowed.events(item(meta={"depth": MAX_DEPTH - 1}), b'{"type":"T"}')
    with pytest.raises(RefusedError, match="100 causes"):
        allowed.events(item(meta={"depth": MAX_DEPTH}), b'{"type":"T"}')
    assert depth(item(meta={"depth": "deep"})) == 0


def test_the_first_try_is_what_counts(log: EventLog) -> None:
    out = outputs(log)
    with log.transaction():
        assert out.append([(item(), out.events(item(), b'{"type":"U","data":1}\n{"type":"V"}'))]) == 2
    with log.transaction():
        assert out.append([(item(), out.events(item(), b'{"type":"W","data":2}\n' * 3))]) == 0
        assert out.append([(item(2), out.events(item(2), b'{"type":"W"}')), (item(3), [])]) == 1
    from esctl.events.query import Query

    assert [sealed.event.type for sealed in log.read(Query())] == ["U", "V", "W"]


def test_of_several_handlers_the_one_whose_events_are_refused_is_named(log: EventLog) -> None:
    out = outputs(log)
    outcomes = [
        (one, out.events(one, b'{"type":"U"}\n{"type":"U","expect":9}' if one.position == 2 else b'{"type":"U"}'))
        for one in (item(1), item(2), item(3))
    ]
    with pytest.raises(JudgedError) as judged, log.transaction():
        out.append(outcomes)
    assert judged.value.item.position == 2
    assert log.head().position == 0


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        (Definition(EXEC, types=("T",)), True),
        (Definition(EXEC, types=("U",)), False),
        (Definition(EXEC, category="order"), True),
        (Definition(EXEC, category="order-1"), True),
        (Definition(EXEC, category="ord"), False),
        (Definition(EXEC, stream="order-1"), True),
        (Definition(EXEC, stream="order-2"), False),
        (Definition(EXEC, category="order", types=("U",)), False),
        (Definition(EXEC, where="0"), True),
    ],
)
def test_an_event_may_be_one_of_a_reaction(definition: Definition, expected: bool) -> None:
    assert matches(definition, event("order-1")) == expected
