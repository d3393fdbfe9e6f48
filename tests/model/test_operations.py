"""Operations on payloads and states: each by table, against a reference in Python, and what they leave as it is."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from esctl.errors import MisfitError
from esctl.events.event import Event
from esctl.events.paths import Parts, parts, spelled
from esctl.model.checks import checked
from esctl.model.declared import Aggregate, Copy, Literal, Source, Step
from esctl.model.operations import MERGE, payload_after, program, state_after
from esctl.model.paths import source_parts
from esctl.model.program import Program
from esctl.sql import decimals
from esctl.sql.judge import FAIL, TRACE
from esctl.store.store import Store
from esctl.store.upcasts import fail
from tests.conftest import write_empty_log
from tests.logs import day

POSITION = 7


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Evaluates expressions over an event; nothing is ever appended to it."""
    path = tmp_path_factory.mktemp("operations") / "log.db"
    write_empty_log(path)
    with StoreOf(path) as store:
        yield store


class StoreOf:
    """A store that a block closes."""

    def __init__(self, path: Path) -> None:
        self.store = Store(path)

    def __enter__(self) -> Store:
        return self.store

    def __exit__(self, *_: object) -> None:
        self.store.close()


def upcast(store: Store, steps: list[Step], data: str) -> str:
    """A payload after steps of an upcast."""
    event = Event(POSITION, "s", 1, "id", "T", 1, day(1), day(1), data, "{}")
    return store.evaluated(payload_after([("T", 1, step) for step in steps]), event)


FOLDING = """
create table fold(state);
create view feed as select 1 as position, 's' as stream, 1 as version, 'i' as id, 'T' as type, 1 as schema,
                           't' as time, 'r' as recorded, '' as data, '' as meta;
create trigger folds instead of insert on feed begin update fold set state = {0}; end
"""


def fold(steps: list[Step], state: str, data: str) -> str:
    """A state after steps for an event."""
    connection = apsw.Connection(":memory:")
    try:
        decimals.define(connection)
        connection.create_scalar_function(FAIL, fail, 2)  # type: ignore[arg-type]  # it takes any two values
        connection.execute(FOLDING.format(state_after(steps))).fetchall()
        connection.execute("insert into fold values (jsonb(?))", (state,))
        connection.execute("insert into feed (position, type, data) values (?, 'T', ?)", (POSITION, data))
        made: str = connection.execute("select json(state) from fold").get
        return made
    finally:
        connection.close()


def upcast_steps(body: str) -> list[Step]:
    """The step of an upcast that a model has."""
    model, problems = checked(f"[[event.T.upcast]]\nfrom = 1\n{body}", {})
    assert not problems
    return [part.step for upcast in model.events["T"].upcasts for part in upcast.parts]


def fold_steps(body: str) -> list[Step]:
    """The steps of a fold that a model has."""
    begin = "[aggregate.a]\nstreams = '*'\n"
    model, problems = checked(begin + (body if "[[" in body else f"[aggregate.a.on.T]\n{body}"), {})
    assert not problems
    return list(model.aggregates["a"].on["T"])


# Upcasts, by table

UPCASTS: dict[str, list[tuple[str, str, str]]] = {
    "rename": [
        ("rename = { a = 'b' }", '{"x":1,"a":2,"y":3}', '{"x":1,"b":2,"y":3}'),
        ("rename = { a = 'b' }", '{"x":1}', '{"x":1}'),
        ("rename = { a = 'b' }", '{"a":null}', '{"b":null}'),
        ("rename = { a = 'b' }", '{"a":{"a":1}}', '{"b":{"a":1}}'),
        ("rename = { a = 'b' }", '{"n":{"a":1},"a":2}', '{"n":{"a":1},"b":2}'),
        ("rename = { a = 'b' }", '{"n":{"a":1}}', '{"n":{"a":1}}'),
        ("rename = { a = 'b' }", '{"x":"a","a":2}', '{"x":"a","b":2}'),
        ("rename = { a = 'b' }", r'{"\u0061":1,"x":"a"}', '{"b":1,"x":"a"}'),
        ("rename = { a = 'b' }", r'{"\u0061":1,"n":{"a":2}}', '{"b":1,"n":{"a":2}}'),
        ("rename = { a = 'b' }", r'{"x\"a":1,"a":2}', r'{"x\"a":1,"b":2}'),
        ("rename = { a = 'b' }", '{"b":1,"x":2,"a":3}', '{"x":2,"b":3}'),
        ("rename = { a = 'b' }", '{"a":3,"x":2,"b":1}', '{"b":3,"x":2}'),
        ("rename = { a = 'b', b = 'c' }", '{"a":1,"x":2}', '{"c":1,"x":2}'),
        ("rename = { 'n.a' = 'n.b' }", '{"n":{"x":1,"a":2,"y":3},"a":4}', '{"n":{"x":1,"b":2,"y":3},"a":4}'),
        ("rename = { 'n.a' = 'b' }", '{"n":{"a":2,"x":1},"y":3}', '{"n":{"x":1},"y":3,"b":2}'),
        ("rename = { a = 'n.b' }", '{"a":2,"n":{"x":1}}', '{"n":{"x":1,"b":2}}'),
        ("rename = { a = 'n.b' }", '{"a":2}', '{"n":{"b":2}}'),
        ("rename = { a = 'n.b' }", '{"n":1}', '{"n":1}'),
        ("rename = { 'a b' = \"it's\", 'ä' = 'ß\"q' }", '{"a b":1,"ä":2}', '{"it\'s":1,"ß\\"q":2}'),
        ("rename = { 'a\"b' = 'c' }", r'{"a\"b":1}', '{"c":1}'),
        (r"rename = { 'a\b' = 'c' }", r'{"a\\b":1}', '{"c":1}'),
        ("rename = { '\"a[0]\"' = 'c' }", '{"a[0]":1,"a":[2]}', '{"c":1,"a":[2]}'),
        ("rename = { '\"http.method\"' = 'method' }", '{"http":{"method":1},"http.method":2}',
         '{"http":{"method":1},"method":2}'),
        ("rename = { method = '\"http.method\"' }", '{"method":2}', '{"http.method":2}'),
        ("rename = { 'a[0].b' = 'a[0].c' }", '{"a":[{"b":1},{"b":2}]}', '{"a":[{"c":1},{"b":2}]}'),
        ("rename = { 'a[#-1].b' = 'c' }", '{"a":[{"b":1},{"b":2}]}', '{"a":[{"b":1},{}],"c":2}'),
        ("rename = { 'a[7].b' = 'c' }", '{"a":[{"b":1}]}', '{"a":[{"b":1}]}'),
        ("rename = { '$' = 'c', '$x' = 'd', '#' = 'e' }", '{"$":1,"$x":2,"#":3}', '{"c":1,"d":2,"e":3}'),
        ("rename = { a = 'b' }", '{ "x" : 1 , "a" : 2 }', '{ "x" : 1 , "b" : 2 }'),
    ],
    "default": [
        ("default = { d = 0 }", '{"a":1}', '{"a":1,"d":0}'),
        ("default = { d = 0 }", '{"d":5}', '{"d":5}'),
        ("default = { d = 0 }", '{"d":null}', '{"d":null}'),
        ("default = { d = 0 }", '{"d":false}', '{"d":false}'),
        ("default = { d = '$.a' }", '{"a":1.0}', '{"a":1.0,"d":1.0}'),
        ("default = { d = '$.a' }", '{"b":1}', '{"b":1}'),
        ("default = { d = '$.a' }", '{"a":1,"d":2}', '{"a":1,"d":2}'),
        ("default = { 'n.d' = [1, { x = true }] }", '{"n":{"a":1}}', '{"n":{"a":1,"d":[1,{"x":true}]}}'),
        ("default = { 'n.d' = 1 }", "{}", '{"n":{"d":1}}'),
    ],
    "set": [
        ("set = { s = 'Placed' }", '{"a":1}', '{"a":1,"s":"Placed"}'),
        ("set = { a = 'x' }", '{"a":1,"b":2}', '{"a":"x","b":2}'),
        ("set = { t = '$.a' }", '{"a":100.10}', '{"a":100.10,"t":100.10}'),
        ("set = { t = '$.a' }", '{"a":true}', '{"a":true,"t":true}'),
        ("set = { t = '$.a' }", '{"a":null}', '{"a":null,"t":null}'),
        ("set = { t = '$.a' }", '{"a":"[1]"}', '{"a":"[1]","t":"[1]"}'),
        ("set = { t = '$.a' }", '{"a":[1,{"b":2.50}]}', '{"a":[1,{"b":2.50}],"t":[1,{"b":2.50}]}'),
        ("set = { t = '$.a' }", '{"b":1}', '{"b":1}'),
        ("set = { t = '$.a' }", '{"t":1}', '{"t":1}'),
        ("set = { t = '$$.a' }", '{"a":1}', '{"a":1,"t":"$.a"}'),
        ("set = { t = '$', u = '$x', v = '$$', w = '$$x' }", "{}", '{"t":"$","u":"$x","v":"$$","w":"$$x"}'),
        ("set = { a = '$.b', b = '$.a' }", '{"a":1,"b":2}', '{"a":2,"b":1}'),
        ("set = { t = '$.a.b' }", '{"a":{"b":1}}', '{"a":{"b":1},"t":1}'),
        ("set = { t = '$.a[0]', u = '$.a[1].b' }", '{"a":[1,{"b":2}]}', '{"a":[1,{"b":2}],"t":1,"u":2}'),
        ("set = { t = '$.a[#-1]' }", '{"a":[1,2]}', '{"a":[1,2],"t":2}'),
        ("set = { t = '$.a[9]' }", '{"a":[1]}', '{"a":[1]}'),
        ("set = { 'n.c' = 'x' }", '{"n":{"a":1}}', '{"n":{"a":1,"c":"x"}}'),
        ("set = { 'n.c.d' = 'x' }", "{}", '{"n":{"c":{"d":"x"}}}'),
        ("set = { \"it's\" = \"it's\", 'q\"' = '\"' }", "{}", '{"it\'s":"it\'s","q\\"":"\\""}'),
        (r"set = { '\' = '\' }", "{}", r'{"\\":"\\"}'),
        ("set = { t = '$.ä ö' }", '{"ä ö":1}', '{"ä ö":1,"t":1}'),
        ("set = { a = 2026-01-02 }", "{}", '{"a":"2026-01-02"}'),
        ("set = { a = { b = [], c = {} } }", "{}", '{"a":{"b":[],"c":{}}}'),
        ("set = {}", '{"a":1}', '{"a":1}'),
        ("set = { '\"http.method\"' = 1, '\"a[0]\"' = 2 }", '{"http":0}', '{"http":0,"http.method":1,"a[0]":2}'),
        ("set = { t = '$.\"a.b\".c', u = '$.\"x[0]\"' }", '{"a.b":{"c":1},"x[0]":2}',
         '{"a.b":{"c":1},"x[0]":2,"t":1,"u":2}'),
        ("set = { 'a[0].q' = 1 }", '{"a":[{"q":0},{"q":0}]}', '{"a":[{"q":1},{"q":0}]}'),
        ("set = { 'a[1].q' = 1 }", '{"a":[{"q":0}]}', '{"a":[{"q":0},{"q":1}]}'),
        ("set = { 'a[#-1]' = 1 }", '{"a":[0,0]}', '{"a":[0,1]}'),
        ("set = { 'a[0].q' = 1 }", "{}", '{"a":[{"q":1}]}'),
        ("set = { 'a[0]' = 1, 'a[1]' = 2 }", "{}", '{"a":[1,2]}'),
        ("set = { a = {}, 'a.b' = 1 }", '{"a":5}', '{"a":{"b":1}}'),
        ("set = { 'n.a' = '$.absent' }", '{"n":5}', '{"n":5}'),
    ],
    "add and subtract": [
        ("add = { a = 1 }", '{"a":2}', '{"a":3}'),
        ("add = { a = 1 }", "{}", '{"a":1}'),
        ("add = { a = 1 }", '{"a":null}', '{"a":1}'),
        ("add = { a = -1 }", '{"a":2}', '{"a":1}'),
        ("add = { a = 0.5 }", '{"a":2}', '{"a":2.5}'),
        ("add = { a = 0.1 }", '{"a":0.7}', '{"a":0.8}'),
        ("add = { a = 0.01 }", '{"a":1647.30}', '{"a":1647.31}'),
        ("add = { a = '$.b' }", '{"a":130.00,"b":0}', '{"a":130.00,"b":0}'),
        ("subtract = { a = 0.50 }", '{"a":0.5}', '{"a":0.00}'),
        ("add = { a = 0.5 }", '{"a":1e3}', '{"a":1000.5}'),
        ("add = { a = 1 }", '{"a":9223372036854775807}', '{"a":9223372036854775808}'),
        ("add = { a = 0.5 }", '{"a":-9223372036854775808}', '{"a":-9223372036854775807.5}'),
        ("add = { a = -1 }", '{"a":-9223372036854775808}', '{"a":-9223372036854775809}'),
        ("add = { a = 0.1 }", '{"a":1234567890123456.2}', '{"a":1234567890123456.3}'),
        ("add = { a = 1 }", '{"a":1e30}', '{"a":1000000000000000000000000000001}'),
        ("add = { a = 1e300 }", '{"a":1e300}', '{"a":2E+300}'),
        ("subtract = { a = 9223372036854775807 }", '{"a":-2}', '{"a":-9223372036854775809}'),
        ("add = { a = 0.0000000000001 }", '{"a":null}', '{"a":0.0000000000001}'),
        ("subtract = { a = 1 }", '{"a":2}', '{"a":1}'),
        ("subtract = { a = -1 }", '{"a":2}', '{"a":3}'),
        ("subtract = { a = 1 }", "{}", '{"a":-1}'),
        ("add = { a = '$.b' }", '{"a":2,"b":0.25}', '{"a":2.25,"b":0.25}'),
        ("add = { a = '$.b' }", '{"a":2}', '{"a":2}'),
        ("add = { a = '$.b' }", "{}", "{}"),
        ("add = { 'n.a' = 1 }", '{"n":{"x":1}}', '{"n":{"x":1,"a":1}}'),
        ("add = { a = 1, b = '$.a' }", '{"a":1,"b":0}', '{"a":2,"b":2}'),
        ("add = { a = '$.a' }", '{"a":4}', '{"a":8}'),
    ],
    "append": [
        ("append = { l = '$.a' }", '{"a":1.0}', '{"a":1.0,"l":[1.0]}'),
        ("append = { l = '$.a' }", '{"a":{"b":1},"l":[0]}', '{"a":{"b":1},"l":[0,{"b":1}]}'),
        ("append = { l = '$.a' }", '{"a":null,"l":[]}', '{"a":null,"l":[null]}'),
        ("append = { l = '$.a' }", '{"l":[0]}', '{"l":[0]}'),
        ("append = { l = 'x' }", '{"l":[1.50]}', '{"l":[1.50,"x"]}'),
        ("append = { 'n.l' = [1] }", "{}", '{"n":{"l":[[1]]}}'),
        ("append = { l = '$.a' }", '{"a":"it\'s"}', '{"a":"it\'s","l":["it\'s"]}'),
    ],
    "merge": [
        ("merge = '$.m'", '{"a":1,"m":{"a":2,"b":3.0}}', '{"a":2,"m":{"a":2,"b":3.0},"b":3.0}'),
        ("merge = '$.m'", '{"a":1,"m":{"a":null}}', '{"m":{"a":null}}'),
        ("merge = '$.m'", '{"a":1}', '{"a":1}'),
        ("merge = '$.m'", '{"n":{"a":1},"m":{"n":{"b":2}}}', '{"n":{"a":1,"b":2},"m":{"n":{"b":2}}}'),
    ],
    "compute": [
        ("compute = { c = \"new.data ->> 'a' * 2\" }", '{"a":2}', '{"a":2,"c":4}'),
        ("compute = { c = \"new.data ->> 'x'\" }", '{"a":2}', '{"a":2,"c":null}'),
        ("compute = { c = \"new.data -> 'a'\" }", '{"a":[1.0]}', '{"a":[1.0],"c":[1.0]}'),
        ("compute = { c = \"new.data ->> 'a'\" }", '{"a":"{}"}', '{"a":"{}","c":"{}"}'),
        ("compute = { c = 'new.type || new.schema || new.stream || new.version' }", "{}", '{"c":"T1s1"}'),
        ("compute = { c = 'new.position', 'n.d' = '1 -- one' }", "{}", '{"c":7,"n":{"d":1}}'),
        ("compute = { c = '1', d = \"new.data ->> 'c' + 1\" }", "{}", '{"c":1,"d":2}'),
        ("compute = { c = 'new.id' , d = 'NEW.\"meta\"', e = 'new . [recorded]' }", "{}",
         '{"c":"id","d":"{}","e":"2026-01-01T00:00:00.000000Z"}'),
        ("compute = { c = \"(select sum(value) from json_each(new.data, '$.l'))\" }", '{"l":[1,2]}',
         '{"l":[1,2],"c":3}'),
        ('compute = { c = "date(new.time)" }', "{}", '{"c":"2026-01-01"}'),
    ],
    "remove": [
        ("remove = ['a']", '{"a":1,"b":2.0}', '{"b":2.0}'),
        ("remove = ['a', 'n.b', 'nope', 'n.nope', 'x.y']", '{"a":1,"n":{"b":1,"c":2}}', '{"n":{"c":2}}'),
        ("remove = ['a b', \"it's\", 'ü']", '{"a b":1,"it\'s":2,"ü":3,"z":4}', '{"z":4}'),
        ("remove = ['a[0]', '\"b.c\"', 'd[7]', 'e.f']", '{"a":[1,2],"b.c":1,"b":{"c":2},"d":[1],"e":3}',
         '{"a":[2],"b":{"c":2},"d":[1],"e":3}'),
    ],
    "when": [
        ("when = \"new.data ->> 'a' = 1\"\nset = { b = 2 }", '{"a":1}', '{"a":1,"b":2}'),
        ("when = \"new.data ->> 'a' = 1\"\nset = { b = 2 }", '{"a":3}', '{"a":3}'),
        ("when = \"new.data ->> 'a' = 1\"\nset = { b = 2 }", "{}", "{}"),
        ("when = \"new.data ->> 'a' = 1 -- one\"\nset = { b = 2 }\nremove = ['a']", '{"a":1}', '{"b":2}'),
        ("when = 'new.schema = 1'\nrename = { a = 'b' }\nset = { c = '$.b' }", '{"a":1}', '{"b":1,"c":1}'),
        ("when = '0'\nadd = { a = 1 }", '{"a":"no number"}', '{"a":"no number"}'),
        ("when = \"new.data ->> 'b'\"\nrename = { a = 'b' }", '{"a":1}', '{"a":1}'),
    ],
    "the order within one table": [
        ("remove = ['b']\nrename = { a = 'b' }\nset = { c = '$.b' }", '{"a":1}', '{"c":1}'),
        ("set = { d = '$.a' }\ndefault = { a = 1 }", "{}", '{"a":1,"d":1}'),
        ("default = { b = 1 }\nrename = { a = 'b' }", '{"a":5}', '{"b":5}'),
        ("add = { a = 1 }\nconvert = { a = 'integer' }", '{"a":"4"}', '{"a":5}'),
        ("convert = { a = 'string' }\ndefault = { a = 4 }", "{}", '{"a":"4"}'),
        ("set = { a = 9 }\nconvert = { a = 'number' }", '{"a":"8"}', '{"a":9}'),
        ("subtract = { a = 1 }\nadd = { a = 2 }\nset = { a = 10 }", "{}", '{"a":11}'),
        ("append = { l = '$.a' }\nadd = { a = 1 }\nsubtract = { a = 5 }", '{"a":1}', '{"a":-3,"l":[-3]}'),
        ("merge = '$.m'\nappend = { 'm.l' = 1 }", '{"m":{}}', '{"m":{"l":[1]},"l":[1]}'),
        ("compute = { c = \"new.data ->> 'b'\" }\nmerge = '$.m'\nremove = ['m']", '{"m":{"b":2}}', '{"b":2,"c":2}'),
        ("remove = ['c']\ncompute = { c = '1', d = \"new.data ->> 'c'\" }", "{}", '{"d":1}'),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("body", "before", "after"),
    [pytest.param(*case, id=f"{name}: {case[0]} of {case[1]}") for name, some in UPCASTS.items() for case in some],
)
def test_what_an_upcast_makes_of_a_payload(store: Store, body: str, before: str, after: str) -> None:
    assert upcast(store, upcast_steps(body), before) == after


CONVERSIONS: list[tuple[str, str, str | None]] = [
    *(("number", same, same) for same in ("1", "-0", "1.0", "100.10", "1e5", "-1.5E+3", "9" * 30)),
    ("number", '"100.10"', "100.10"),
    ("number", '"1e5"', "1e5"),
    ("number", '"-7"', "-7"),
    ("number", f'"{"9" * 30}"', "9" * 30),
    *(("number", bad, None) for bad in ("true", "false", "null", "[]", "{}", '""', '"x"', '"1x"', '"1,5"', '"0x10"')),
    *(("number", bad, None) for bad in ('"NaN"', '"Infinity"', '"+1"', '"01"', '".5"', '"5."', '"true"', '"null"')),
    *(("number", bad, None) for bad in ('"[1]"', "[1]", '{"a":1}', '"\\"1\\""', '"1 2"', '"\uff11"')),
    *(("integer", same, same) for same in ("0", "-5", "9" * 30)),
    ("integer", "1.0", "1"),
    ("integer", "-3.0", "-3"),
    ("integer", "1e3", "1000"),
    ("integer", '"42"', "42"),
    ("integer", '"42.0"', "42"),
    ("integer", '"1e2"', "100"),
    ("integer", f'"{"9" * 30}"', "9" * 30),
    *(("integer", bad, None) for bad in ("1.5", "1e300", "1E400", '"1.5"', '"x"', '""', "true", "null", "[]", "{}")),
    *(("string", same, same) for same in ('"x"', '""', '"1"', r'"\u00e4\n"')),
    *(("string", n, f'"{n}"') for n in ("1", "100.10", "1e5", "-0", "1.0", "-1.5E+3", "9" * 30, "true", "false")),
    *(("string", bad, None) for bad in ("null", "[]", "{}", "[1]", '{"a":1}')),
    *(("boolean", same, same) for same in ("true", "false")),
    *(("boolean", n, "true") for n in ("1", '"true"', '"1"')),
    *(("boolean", n, "false") for n in ("0", '"false"', '"0"')),
    *(("boolean", bad, None) for bad in ("2", "-1", "1.5", '"yes"', '""', "null", "[]", "{}", "9" * 30)),
]


@pytest.mark.parametrize(("kind", "before", "after"), CONVERSIONS)
def test_what_a_conversion_makes_of_a_value(store: Store, kind: str, before: str, after: str | None) -> None:
    for field, around in (("v", '{"a":1.0,"v":%s,"z":true}'), ("n.v", '{"n":{"v":%s,"z":1e5},"v":"x"}')):
        steps = upcast_steps(f"convert = {{ '{field}' = '{kind}' }}")
        if after is not None:
            assert upcast(store, steps, around % before) == around % after
            continue
        with pytest.raises(MisfitError) as refused:
            upcast(store, steps, around % before)
        assert refused.value.details["position"] == POSITION
        assert f"{field} cannot be converted to {kind}" in refused.value.what


@pytest.mark.parametrize("kind", ["number", "integer", "string", "boolean"])
def test_a_missing_field_is_not_converted(store: Store, kind: str) -> None:
    assert upcast(store, upcast_steps(f"convert = {{ v = '{kind}', 'n.v' = '{kind}' }}"), '{"a":1}') == '{"a":1}'


IMPOSSIBLE = [
    ("add = { a = 1 }", '{"a":"1"}', "a holds no number"),
    ("add = { a = 1 }", '{"a":true}', "a holds no number"),
    ("add = { 'n.a' = 1 }", '{"n":{"a":[]}}', "n.a holds no number"),
    ("add = { a = '$.b' }", '{"b":"1"}', "$.b is not a number"),
    ("add = { a = '$.b' }", '{"b":null}', "$.b is not a number"),
    ("subtract = { a = '$.b' }", '{"b":{}}', "$.b is not a number"),
    ("append = { a = 1 }", '{"a":1}', "a is not an array"),
    ("append = { a = 1 }", '{"a":null}', "a is not an array"),
    ("append = { a = '$.b' }", '{"a":{},"b":1}', "a is not an array"),
    ("merge = '$.m'", '{"m":1}', "$.m is not an object"),
    ("merge = '$.m'", '{"m":[]}', "$.m is not an object"),
    ("merge = '$.m'", '{"m":null}', "$.m is not an object"),
    *(
        (
            f"{operation} = {{ 's.deep' = {value} }}",
            f'{{"s":{scalar},"v":7}}',
            f"{operation} s.deep: s is not an object",
        )
        for operation, values in (
            ("set", ("1", "'$.v'")),
            ("add", ("1", "'$.v'")),
            ("subtract", ("1", "'$.v'")),
            ("append", ("1", "'$.v'")),
            ("compute", ("'1'",)),
        )
        for value in values
        for scalar in ('"x"', "5", "1.5", "true", "null", "[1]")
    ),
    ("set = { 'a.b.c.d' = 1 }", '{"a":{"b":{"c":1}}}', "a.b.c is not an object"),
    ("set = { 'a[0].b' = 1 }", '{"a":{}}', "set a[0].b: a is not an array"),
    ("set = { 'a[2]' = 1 }", '{"a":[0]}', "set a[2]: a has too few elements"),
    ("set = { 'a[1]' = 1 }", "{}", "set a[1]: a has too few elements"),
    ("set = { 'a[#-1]' = 1 }", '{"a":[]}', "set a[#-1]: a has too few elements"),
    ("set = { 'a[0].b' = 1 }", '{"a":[5]}', "set a[0].b: a[0] is not an object"),
    ("set = { a = 1, 'a.b' = 2 }", '{"a":{}}', "set a.b: a is not an object"),
    ("append = { 'a[0]' = 1 }", '{"a":[5]}', "a[0] is not an array"),
    ("when = '1'\nset = { 's.deep' = 1 }", '{"s":1}', "set s.deep: s is not an object"),
]


@pytest.mark.parametrize(("body", "data", "reason"), IMPOSSIBLE)
def test_what_cannot_be_done_names_the_event_and_the_field(store: Store, body: str, data: str, reason: str) -> None:
    both: list[Callable[[], str]] = [
        lambda: upcast(store, upcast_steps(body), data),
        lambda: fold(fold_steps(body), data, data),
    ]
    for done in both:
        with pytest.raises(MisfitError) as refused:
            done()
        assert refused.value.exit_code == 6
        assert refused.value.details["position"] == POSITION
        assert f"position {POSITION} " in refused.value.what
        assert reason in refused.value.what


UPCAST_ONLY = [
    ("default = { 's.deep' = 1 }", '{"s":"x"}', "upcast of T from 1: default s.deep: s is not an object"),
    ("default = { 's.deep' = '$.v' }", '{"s":null,"v":1}', "default s.deep: s is not an object"),
    ("convert = { 's.deep' = 'number' }", '{"s":[1]}', "convert s.deep: s is not an object"),
    ("rename = { v = 's.deep' }", '{"s":"x","v":1}', "s.deep has no place for v"),
    *(
        (body, payload, "upcast of T from 1: the payload is not an object")
        for body in ("set = { a = 1 }", "default = { a = 1 }", "add = { a = 1 }", "append = { a = 1 }",
                     "compute = { a = '1' }")
        for payload in ("5", "null", "[1]", '"x"', " 5")
    ),
    ("when = '1'\nset = { a = 1 }", "5", "set a: the payload is not an object"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "data", "reason"), UPCAST_ONLY)
def test_an_upcast_that_cannot_write_names_the_event_the_step_and_the_field(
    store: Store, body: str, data: str, reason: str
) -> None:
    with pytest.raises(MisfitError) as refused:
        upcast(store, upcast_steps(body), data)
    assert refused.value.details["position"] == POSITION
    assert reason in refused.value.what


def test_a_fold_that_cannot_write_names_its_step() -> None:
    steps = fold_steps("[[aggregate.a.on.T]]\nset = { a = 1 }\n[[aggregate.a.on.T]]\nset = { 's.deep' = 1 }")
    with pytest.raises(MisfitError, match=r"aggregate\.a\.on\.T\[2\]: set s\.deep: s is not an object"):
        fold(steps, '{"s":1}', "{}")


def test_a_fold_writes_where_a_field_of_one_name_is_an_element_or_has_a_dot() -> None:
    body = "add = { 'items[0].qty' = '$.n', '\"http.method\"' = 1 }\nappend = { 'lists[1]' = '$.n' }"
    assert fold(fold_steps(body), '{"items":[{"qty":1}],"lists":[[]]}', '{"n":2}') == (
        '{"items":[{"qty":3}],"lists":[[],[2]],"http.method":1}'
    )


FAILING = ["json(new.data ->> 'bad')", "abs(new.data ->> 'least')", "json_extract(new.data ->> 'bad', '$.a')"]


@pytest.mark.parametrize("sql", FAILING)
@pytest.mark.parametrize("key", ["compute = { c = %s }", "when = %s"])
def test_an_expression_that_fails_on_an_event_names_the_event_and_does_not_call_the_log_damaged(
    store: Store, sql: str, key: str
) -> None:
    body = key % json.dumps(sql) + "\nremove = ['x']"
    with pytest.raises(MisfitError) as refused:
        upcast(store, upcast_steps(body), '{"bad":"{","least":-9223372036854775808}')
    assert refused.value.details["position"] == POSITION


@pytest.mark.parametrize("scalar", ['"text"', "1", "true", "null", "[1]"])
def test_a_field_that_is_moved_into_what_is_no_object_is_not_lost(store: Store, scalar: str) -> None:
    before = f'{{"amount":1.50,"details":{scalar}}}'
    try:
        after = upcast(store, upcast_steps("rename = { amount = 'details.amount' }"), before)
    except MisfitError as refused:
        assert refused.details["position"] == POSITION  # noqa: PT017 - one of two ways not to lose it
    else:
        assert "1.50" in after


@pytest.mark.parametrize("data", ["[]", "[1.0]", '"text"', "1e5", "100.10", "true", "null", '[{"a":1}]'])
@pytest.mark.parametrize(
    "body",
    ["rename = { a = 'b' }", "rename = { 'a.b' = 'a.c' }", "rename = { a = 'n.b' }", "convert = { a = 'number' }",
     "set = { a = '$.b' }", "add = { a = '$.b' }", "append = { a = '$.b' }", "remove = ['a']", "merge = '$.m'",
     "default = { a = '$.b' }"],
)  # fmt: skip
def test_a_payload_that_is_no_object_and_lacks_the_field_stays_as_it_is(store: Store, body: str, data: str) -> None:
    assert upcast(store, upcast_steps(body), data) == data


# What is not touched

UNTOUCHED = (
    '"n1":100.10,"n2":123456789012345678901234567890,"n3":1e5,"n4":-0,"n5":1.0,"n6":-0.0,"n7":1E+400,"n8":-1.50e-7,'
    r'"t":true,"f":false,"nil":null,"s":"\u00e4\/\"\n","o":{"z":1.0,"a":[2.50,{"y":-0}],"":{}},"l":[],"1":1,'
    '"it\'s":"it\'s","a b":"[1]","é\U0001f600":"\U0001f600"'
)
TOUCHING = [
    "rename = { key = 'other' }",
    "rename = { key = 'o2.other' }",
    "rename = { key = 'taken' }\nremove = ['never']",
    "default = { key = 1, other = 2 }",
    "convert = { key = 'string' }",
    "set = { key = 'x', other = '$.key' }",
    "add = { key = 1 }",
    "subtract = { key = 1 }",
    "append = { other = '$.key' }",
    "merge = '$.patch'",
    "compute = { key = 'new.version' }",
    "remove = ['key']",
    "when = 'new.version = 1'\nremove = ['key']",
]


@pytest.mark.parametrize("body", TOUCHING)
def test_an_upcast_leaves_every_other_field_as_it_was_written(store: Store, body: str) -> None:
    for data in (
        f'{{"key":1,{UNTOUCHED},"patch":{{"key":2}},"twice":{{"key":"key"}},"taken":0}}',
        f'{{{UNTOUCHED},"key":1,"taken":0}}',
    ):
        after = upcast(store, upcast_steps(body), data)
        assert UNTOUCHED in after


@pytest.mark.parametrize("body", [body for body in TOUCHING if not body.startswith(("rename", "default", "convert"))])
def test_a_fold_leaves_every_other_field_of_the_state_as_it_was_written(body: str) -> None:
    after = fold(fold_steps(body), f'{{"key":1,{UNTOUCHED}}}', '{"key":1,"patch":{"key":2}}')
    assert UNTOUCHED in after


def quoted(value: str) -> str:
    """A text as TOML."""
    return json.dumps(value, ensure_ascii=False)


def test_what_a_fold_copies_is_what_the_payload_has() -> None:
    names = list(json.loads(f"{{{UNTOUCHED}}}"))
    plain = [name for name in names if name]
    paths = ", ".join(f"{quoted(name)} = {quoted('$.' + name)}" for name in plain)
    assert fold(fold_steps(f"set = {{ {paths} }}"), "{}", f"{{{UNTOUCHED}}}") == f"{{{UNTOUCHED}}}"
    assert fold(fold_steps("append = { all = '$.o' }"), "{}", f"{{{UNTOUCHED}}}") == (
        '{"all":[{"z":1.0,"a":[2.50,{"y":-0}],"":{}}]}'
    )


def test_what_a_merge_brings_is_what_the_payload_has() -> None:
    kept = UNTOUCHED.replace('"nil":null,', "")
    assert fold(fold_steps("merge = '$'"), "{}", f"{{{UNTOUCHED}}}") == f"{{{kept}}}"


def test_a_literal_keeps_the_text_of_its_numbers(store: Store) -> None:
    body = "set = { a = 100.10, b = 1e5, c = -0.0, d = 123456789012345678901234567890, e = [1.0, { f = 2.50 }] }"
    after = '{"a":100.10,"b":1e5,"c":-0.0,"d":123456789012345678901234567890,"e":[1.0,{"f":2.50}]}'
    assert upcast(store, upcast_steps(body), "{}") == after
    assert fold(fold_steps(body), "{}", "{}") == after


# Folds, by table: body, state, payload, state after

FOLDS: list[tuple[str, str, str, str]] = [
    ("set = { status = 'Placed', total = '$.amount' }", '{"status":"New"}', '{"amount":1.0}',
     '{"status":"Placed","total":1.0}'),
    ("set = { a = '$.x', b = '$.missing' }", '{"b":1}', '{"x":{"y":[true,null]}}', '{"b":1,"a":{"y":[true,null]}}'),
    ("set = { a = '$.a' }", '{"a":1}', '{"b":2}', '{"a":1}'),
    ("set = { 'ship.city' = '$.address.city' }", "{}", '{"address":{"city":"Köln"}}', '{"ship":{"city":"Köln"}}'),
    ("add = { balance = '$.amount' }", "{}", '{"amount":2}', '{"balance":2}'),
    ("add = { balance = '$.amount' }", '{"balance":1}', "{}", '{"balance":1}'),
    ("add = { balance = '$.balance' }", '{"balance":1}', '{"balance":5}', '{"balance":6}'),
    ("subtract = { balance = '$.amount' }", '{"balance":1}', '{"amount":2.5}', '{"balance":-1.5}'),
    ("append = { items = '$.item' }", "{}", '{"item":{"sku":"a","n":1.0}}', '{"items":[{"sku":"a","n":1.0}]}'),
    ("append = { items = '$.items' }", '{"items":[0]}', '{"items":[1]}', '{"items":[0,[1]]}'),
    ("remove = ['a']", '{"a":1,"b":2}', '{"b":1}', '{"b":2}'),
    ("merge = '$'", '{"a":1,"b":{"c":2}}', '{"b":{"c":null,"d":3},"a":null}', '{"b":{"d":3}}'),
    ("merge = '$.p'", '{"a":1}', '{"p":{"b":2}}', '{"a":1,"b":2}'),
    ("merge = '$.p'", '{"a":1}', "{}", '{"a":1}'),
    ("compute = { balance = \"state ->> 'balance' * 2\" }", '{"balance":4}', "{}", '{"balance":8}'),
    ("compute = { n = \"state ->> 'n' + (new.data ->> 'n')\" }", '{"n":4}', '{"n":3}', '{"n":7}'),
    ("compute = { l = \"json((select json_group_array(value) from json_each(state, '$.l') where value > 1))\" }",
     '{"l":[1,2,3]}', "{}", '{"l":[2,3]}'),
    ("compute = { t = 'new.type', p = 'new.position' }", "{}", "{}", '{"t":"T","p":7}'),
    ("when = \"state ->> 'a' = new.data ->> 'a'\"\nset = { b = 1 }", '{"a":1}', '{"a":1}', '{"a":1,"b":1}'),
    ("when = \"state ->> 'a' = new.data ->> 'a'\"\nset = { b = 1 }", '{"a":1}', '{"a":2}', '{"a":1}'),
    ("when = \"state ->> 'a'\"\nadd = { a = 1 }\nset = { a = 5 }", '{"a":1}', "{}", '{"a":6}'),
    ("[[aggregate.a.on.T]]\nadd = { n = 1 }\n[[aggregate.a.on.T]]\nwhen = \"state ->> 'n' = 2\"\nset = { done = true }",
     '{"n":1}', "{}", '{"n":2,"done":true}'),
    ("[[aggregate.a.on.T]]\nset = { n = 1 }\n[[aggregate.a.on.T]]\nadd = { n = '$.n' }", "{}", '{"n":4}', '{"n":5}'),
    ("remove = ['a']\nset = { a = '$.a' }\nadd = { b = 1 }", "{}", '{"a":1}', '{"b":1}'),
]  # fmt: skip


@pytest.mark.parametrize(("body", "state", "data", "after"), FOLDS)
def test_what_a_fold_makes_of_a_state(body: str, state: str, data: str, after: str) -> None:
    assert fold(fold_steps(body), state, data) == after


@pytest.mark.parametrize("data", ["null", "[1]", '"x"', "1.0"])
def test_merging_a_payload_that_is_no_object_names_the_event(data: str) -> None:
    with pytest.raises(MisfitError, match=f"position {POSITION} "):
        fold(fold_steps("merge = '$'"), "{}", data)


# Against a reference


class Num(str):
    """A number as its text."""

    __slots__ = ()


def loaded(text: str) -> Any:
    return json.loads(text, parse_int=Num, parse_float=Num)


def written(value: Any) -> str:
    """JSON text with numbers as they were and keys in their order."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{written(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    return str(value) if isinstance(value, Num) else json.dumps(value)


def same(one: str, other: str) -> bool:
    return written(loaded(one)) == written(loaded(other))


class MisfitOfReferenceError(Exception):
    """The reference cannot do it either."""


ABSENT = object()


def at(value: Any, path: Parts) -> Any:
    for part in path:
        if isinstance(part, int):
            if not isinstance(value, list) or not -len(value) <= part < len(value):
                return ABSENT
        elif not isinstance(value, dict) or part not in value:
            return ABSENT
        value = value[part]
    return value


def put(value: Any, path: Parts, new: Any, *, only_absent: bool = False) -> None:
    """Set what a path names, and make what is absent on the way; nothing else may be in the way."""
    if only_absent and at(value, path) is not ABSENT:
        return
    for part, after in zip(path, [*path[1:], None], strict=True):
        if not isinstance(value, list if isinstance(part, int) else dict):
            raise MisfitOfReferenceError
        if isinstance(part, int) and not -len(value) <= part <= len(value):
            raise MisfitOfReferenceError
        absent = at(value, (part,)) is ABSENT
        made = copy.deepcopy(new) if after is None else [] if isinstance(after, int) else {}
        if absent and part == len(value) and isinstance(value, list):
            value.append(made)
        elif absent and isinstance(part, int) and part < 0:
            raise MisfitOfReferenceError
        elif absent or after is None:
            value[part] = made  # type: ignore[index]  # a list, if it is an integer
        value = value[part]


def removed(value: Any, path: Parts) -> None:
    if at(value, path) is not ABSENT:
        del at(value, path[:-1])[path[-1]]


def renamed(value: Any, old: Parts, new: Parts) -> None:
    moved = at(value, old)
    if moved is ABSENT:
        return
    around = at(value, old[:-1])
    if old[:-1] == new[:-1]:
        made = {new[-1] if k == old[-1] else k: v for k, v in around.items() if k != new[-1]}
        around.clear()
        around.update(made)
        return
    removed(value, new)
    put(value, new, moved)
    removed(value, old)


def number(value: Any) -> float:
    if not isinstance(value, Num):
        raise MisfitOfReferenceError
    return float(value) if set(value) & set(".eE") else int(value)


def merged(target: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    made = dict(target) if isinstance(target, dict) else {}
    for key, inner in patch.items():
        if inner is None:
            made.pop(key, None)
        else:
            made[key] = merged(made.get(key), inner)
    return made


def value_of(source: Source, payload: Any) -> Any:
    return at(payload, source_parts(source.path)) if isinstance(source, Copy) else loaded(source.json)


WHENS: Mapping[str, Callable[[Any], bool]] = {
    "json_type({}, '$.a') is not null": lambda subject: at(subject, ("a",)) is not ABSENT,
    "ifnull(json_type({}, '$.b') in ('integer', 'real'), 0)": lambda subject: isinstance(at(subject, ("b",)), Num),
    "1": lambda _: True,
    "null": lambda _: False,
}
COMPUTED: Mapping[str, Callable[[Any], Any]] = {
    "ifnull(json_type({}, '$.a'), 'none') = 'none'": lambda subject: Num(int(at(subject, ("a",)) is ABSENT)),
    "{} -> '$.n'": lambda subject: None if at(subject, ("n",)) is ABSENT else copy.deepcopy(at(subject, ("n",))),
    "'it''s'": lambda _: "it's",
}


def reference(step: Step, subject: Any, payload: Any, *, own: bool) -> Any:
    """What a step makes of a subject; `own`: it is the payload as well."""
    if step.when is not None and not WHENS[step.when](subject):
        return subject
    subject = copy.deepcopy(subject)

    def given_() -> Any:
        return copy.deepcopy(subject) if own else payload

    for old, new in step.rename:
        renamed(subject, parts(old), parts(new))
    for fields, only_absent in ((step.default, True), (step.set, False)):
        before = given_()
        for field, source in fields:
            if (value := value_of(source, before)) is not ABSENT:
                put(subject, parts(field), value, only_absent=only_absent)
    for operation, many in ((_added, step.add), (_subtracted, step.subtract), (_appended, step.append)):
        for field, source in many:
            if (value := value_of(source, given_())) is not ABSENT:
                put(subject, parts(field), operation(at(subject, parts(field)), value))
    if step.merge is not None:
        subject = _merged_with(subject, value_of(step.merge, given_()))
    return _last(step, subject)


def _last(step: Step, subject: Any) -> Any:
    for field, sql in step.compute:
        put(subject, parts(field), COMPUTED[sql](subject))
    for field in step.remove:
        removed(subject, parts(field))
    return subject


def _added(here: Any, value: Any, sign: int = 1) -> Any:
    balance = 0 if here is ABSENT or here is None else number(here)
    total = balance + sign * number(value)
    if isinstance(total, int):
        return Num(total)
    left = "0" if here is ABSENT or here is None else str(here)
    return Num(f"{Decimal(left) + sign * Decimal(str(value)):f}")


def _subtracted(here: Any, value: Any) -> Any:
    return _added(here, value, -1)


def _appended(here: Any, value: Any) -> Any:
    if here is ABSENT:
        return [value]
    if not isinstance(here, list):
        raise MisfitOfReferenceError
    return [*here, value]


def _merged_with(subject: Any, patch: Any) -> Any:
    if patch is ABSENT:
        return subject
    if not isinstance(patch, dict):
        raise MisfitOfReferenceError
    return merged(subject, patch)


NAMES = ["a", "b", "c", "n", "n.a", "n.b", "n.n.a", "it's", 'q"é ', '"a.b"', "n[0]", "n[1].a", "n[#-1]", "n[0][0]"]
a_field = st.sampled_from(NAMES)
a_number = st.sampled_from(["0", "1", "-2", "0.5", "100.50", "1e2", "-0", "1.0"])
a_scalar = a_number | st.sampled_from(['"x"', '"1"', "true", "false", "null", '""', r'"\u00e4"', '"a"'])


def _object_of(values: SearchStrategy[str]) -> SearchStrategy[str]:
    keys = st.sampled_from(["a", "b", "c", "n", "it's", 'q"é ', "z", "a.b"])
    return st.dictionaries(keys, values, max_size=4).map(
        lambda made: "{" + ",".join(f"{json.dumps(key)}:{value}" for key, value in made.items()) + "}"
    )


a_value = st.recursive(
    a_scalar,
    lambda values: _object_of(values) | st.lists(values, max_size=2).map(lambda made: f"[{','.join(made)}]"),
    max_leaves=6,
)
an_object = _object_of(a_value)
a_copy = a_field.map(lambda field: Copy(f"$.{field}"))
a_source = a_value.map(Literal) | a_copy
an_amount = a_number.map(Literal) | a_copy


def of_fields(values: SearchStrategy[Any]) -> SearchStrategy[tuple[tuple[str, Any], ...]]:
    return st.dictionaries(a_field, values, max_size=2).map(lambda made: tuple(made.items()))


fold_operations: dict[str, SearchStrategy[Any]] = {
    "set": of_fields(a_source),
    "add": of_fields(an_amount),
    "subtract": of_fields(an_amount),
    "append": of_fields(a_source),
    "merge": st.sampled_from([Copy("$"), Copy("$.n"), Copy("$.n.a")]),
    "compute": of_fields(st.sampled_from(sorted(COMPUTED))),
    "remove": st.lists(a_field, max_size=2, unique=True).map(tuple),
    "when": st.sampled_from(sorted(WHENS)),
}


def _moves(pair: tuple[str, str]) -> bool:
    old, new = pair
    before, after = parts(old), parts(new)
    named = isinstance(before[-1], str) and isinstance(after[-1], str)
    return named and before[: len(after)] != after and after[: len(before)] != before


renames = st.lists(st.tuples(a_field, a_field).filter(_moves), max_size=2, unique_by=lambda pair: pair[0]).map(tuple)
a_fold_step = st.fixed_dictionaries({}, optional=fold_operations)
an_upcast_step = st.fixed_dictionaries(
    {}, optional={"rename": renames, "default": of_fields(a_source), **fold_operations}
)


def over(step: Step, subject: str) -> Step:
    """The step with its expressions over a subject."""
    return step._replace(
        compute=tuple((field, sql.format(subject)) for field, sql in step.compute),
        when=None if step.when is None else step.when.format(subject),
    )


def equal(steps: list[Step], subject: str, payload: str, done: Callable[[], str], *, own: bool) -> None:
    """What is done is what the reference does, or neither can do it."""
    expected = loaded(subject)
    try:
        for step in steps:
            expected = reference(step, expected, loaded(payload), own=own)
    except MisfitOfReferenceError:
        with pytest.raises(MisfitError):
            done()
        return
    assert written(loaded(done())) == written(expected)


@settings(max_examples=80)
@given(drawn=st.lists(an_upcast_step, min_size=1, max_size=3), data=an_object)
def test_any_steps_of_an_upcast_are_what_a_reference_does(store: Store, drawn: list[dict[str, Any]], data: str) -> None:
    steps = [Step("p", **one) for one in drawn]
    equal(steps, data, data, lambda: upcast(store, [over(s, "new.data") for s in steps], data), own=True)


@settings(max_examples=80)
@given(drawn=st.lists(a_fold_step, min_size=1, max_size=3), state=an_object, data=an_object)
def test_any_steps_of_a_fold_are_what_a_reference_does(drawn: list[dict[str, Any]], state: str, data: str) -> None:
    steps = [Step("p", **one) for one in drawn]
    equal(steps, state, data, lambda: fold([over(s, "state") for s in steps], state, data), own=False)


# An erased event: its payload is absent, everything else happened


def folded(text: str, state: str, data: str | None) -> str:
    """A state of the aggregate `a` of a model after an event of type T; None: its payload was erased."""
    model, problems = checked(text, {})
    assert not problems
    return after_event(program(model.aggregates["a"]), state, data)


def second(*values: Any) -> Any:
    return values[1]


def after_event(program: Program, state: str, data: str | None) -> str:
    connection = apsw.Connection(":memory:")
    try:
        decimals.define(connection)
        connection.create_scalar_function(FAIL, fail, 2)  # type: ignore[arg-type]  # it takes any two values
        connection.create_scalar_function(TRACE, second, 2)
        connection.execute(FOLDING.format(program.state)).fetchall()
        connection.execute("insert into fold values (jsonb(?))", (state,))
        meta = None if data is None else "{}"
        row = (POSITION, "T", data, meta)
        connection.execute("insert into feed (position, type, data, meta) values (?, ?, ?, ?)", row)
        made: str = connection.execute("select json(state) from fold").get
        return made
    finally:
        connection.close()


ERASED = [
    ("set = { status = 'Open', owner = '$.owner' }", '{"status":"New"}', '{"status":"Open"}'),
    ("set = { 'n.a' = 1, 'n.b' = '$.b' }", "{}", '{"n":{"a":1}}'),
    ("add = { n = 1, sum = '$.n' }\nsubtract = { left = 1, rest = '$.n' }", "{}", '{"n":1,"left":-1}'),
    ("append = { all = 'x', some = '$.n' }", "{}", '{"all":["x"]}'),
    ("merge = '$'", '{"a":1}', '{"a":1}'),
    ("merge = '$.n'", '{"a":1}', '{"a":1}'),
    ("remove = ['a']", '{"a":1,"b":2}', '{"b":2}'),
    ("compute = { twice = \"state ->> 'a' * 2\", type = 'new.type' }", '{"a":2}', '{"a":2,"twice":4,"type":"T"}'),
    ("compute = { a = \"new.data ->> 'a'\", b = 'NEW . \"meta\"' }", '{"a":2}', '{"a":2}'),
    ("when = \"state ->> 'a' = 2\"\nset = { b = 1 }", '{"a":2}', '{"a":2,"b":1}'),
    ("when = \"new.data ->> 'a' is null\"\nset = { b = 1 }", '{"a":2}', '{"a":2}'),
    ("when = \"ifnull(new.meta ->> 'by', '') <> 'x'\"\nset = { b = 1 }", '{"a":2}', '{"a":2}'),
    ("[[aggregate.a.on.T]]\nwhen = 'new.data is null'\nset = { b = 1 }\n[[aggregate.a.on.T]]\nset = { c = 1 }", "{}",
     '{"c":1}'),
]  # fmt: skip


@pytest.mark.parametrize(("body", "state", "after"), ERASED)
def test_for_an_erased_event_everything_is_done_that_needs_no_payload(body: str, state: str, after: str) -> None:
    steps = body if "[[" in body else f"[aggregate.a.on.T]\n{body}"
    assert folded(f"[aggregate.a]\nstreams = '*'\n{steps}", state, None) == after


def test_an_erased_event_of_a_type_that_is_not_named_is_folded_as_any() -> None:
    text = "[aggregate.a]\nstreams = '*'\n[aggregate.a.on.U]\nset = { u = 1 }\n[aggregate.a.on.'*']\nadd = { n = 1 }"
    assert folded(text, "{}", None) == '{"n":1}'


def test_an_erased_event_adds_nothing_to_what_is_merged() -> None:
    assert after_event(MERGE, '{"a":1}', None) == '{"a":1}'


@settings(max_examples=60)
@given(drawn=st.lists(a_fold_step, min_size=1, max_size=3), state=an_object)
def test_any_steps_for_an_erased_event_are_what_a_reference_does_without_a_payload(
    drawn: list[dict[str, Any]], state: str
) -> None:
    steps = tuple(Step("p", **one) for one in drawn)
    made = Aggregate("a", "*", "{}", None, (), {"T": tuple(over(step, "state") for step in steps)}, {})
    expected = loaded(state)
    try:
        for step in steps:
            expected = reference(step, expected, ABSENT, own=False)
    except MisfitOfReferenceError:
        with pytest.raises(MisfitError):
            after_event(program(made), state, None)
        return
    assert written(loaded(after_event(program(made), state, None))) == written(expected)


# Traced expressions


def outcome(program: Program, state: str, data: str) -> str:
    """The state after an event, or why there is none."""
    try:
        return after_event(program, state, data)
    except MisfitError as misfit:
        return misfit.what


@settings(max_examples=60)
@given(drawn=st.lists(a_fold_step, min_size=1, max_size=3), state=an_object, data=an_object)
def test_a_traced_fold_does_what_the_fold_does(drawn: list[dict[str, Any]], state: str, data: str) -> None:
    steps = tuple(over(Step(f"p{n}", **one), "state") for n, one in enumerate(drawn))
    aggregate = Aggregate("a", "*", "{}", None, (), {"T": steps}, {})
    made, traced = program(aggregate), program(aggregate, traced=True)
    assert TRACE not in made.state
    assert outcome(traced, state, data) == outcome(made, state, data)


any_key = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4) | st.sampled_from(
    ["a", '"', "\\", 'a"', "a\\", "$", "[0]", "'", "\n", "amount"]
)
any_field = (any_key | st.sampled_from(["a.b", "x[0]", "[0]", "a]"])).filter(lambda name: bool(name) and _plain(name))


@settings(max_examples=80)
@given(
    fields=st.dictionaries(any_key, a_value | any_key.map(json.dumps), max_size=5),
    old=any_field,
    new=any_field,
    inside=st.booleans(),
    escaped=st.booleans(),
    blank=st.sampled_from(["", " "]),
)
def test_renaming_any_key_of_any_object_keeps_its_place_and_everything_else(
    store: Store, fields: dict[str, str], old: str, new: str, inside: bool, escaped: bool, blank: str
) -> None:
    names = list(fields)
    old = names[len(names) // 2] if names and names[len(names) // 2] and _plain(names[len(names) // 2]) else old
    assume(old != new)
    pairs = (f"{json.dumps(k, ensure_ascii=escaped)}{blank}:{blank}{v}" for k, v in fields.items())
    made = f"{{{f',{blank}'.join(pairs)}}}"
    data = f'{{"o":{made},"a":{made}}}' if inside else made
    around: Parts = ("o",) if inside else ()
    expected = loaded(data)
    renamed(expected, (*around, old), (*around, new))
    after = upcast(store, [Step("p", rename=((spelled((*around, old)), spelled((*around, new))),))], data)
    assert written(loaded(after)) == written(expected)


def _plain(name: str) -> bool:
    return not any(c < " " for c in name)


@settings(max_examples=60)
@given(data=an_object, field=any_field)
def test_removing_a_field_that_was_set_brings_the_payload_back(store: Store, data: str, field: str) -> None:
    assume(field not in loaded(data))
    written_ = spelled((field,))
    step = Step("p", set=((written_, Literal("1")),)), Step("p", remove=(written_,))
    assert same(upcast(store, list(step), data), data)
