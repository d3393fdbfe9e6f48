"""Chosen fields of events: what SQL gives equals what Python finds in each event."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from esctl.errors import VerificationError
from esctl.events.event import FIELDS
from esctl.events.fields import Field
from esctl.events.paths import Parts, spelled
from esctl.events.query import Query
from esctl.store.store import Store
from tests.logs import alter
from tests.stores import MIXED, commit, event, new_log, replayed

Value = Any
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
key = st.text(st.characters(exclude_categories=["C", "Zl", "Zp", "Zs"]), min_size=1, max_size=6)
value: SearchStrategy[Value] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(key, inner, max_size=3),
    max_leaves=8,
)


def at(whole: Value, path: Parts) -> Value:
    """What Python finds at the end of a path; None for nothing."""
    for step in path:
        if not isinstance(whole, list if isinstance(step, int) else dict):
            return None
        try:
            whole = whole[step]  # type: ignore[index]  # a name in an object, an index in an array
        except LookupError:
            return None
    return whole


def selected(store: Store, *names: str, **filters: Any) -> list[dict[str, Value]]:
    """The fields of each event, which have to be the same in lines and as values."""
    fields = [Field(name) for name in names]
    lines = b"".join(store.lines(Query(**filters), fields))
    records = [json.loads(line) for line in lines.splitlines()]
    rows = [
        dict(zip(names, (json.loads(str(text)) for text in row), strict=True))
        for row in store.values(Query(**filters), fields)
    ]
    assert rows == records
    return records


def texts(data: str, *names: str) -> list[str]:
    """The JSON texts of fields of one event with this payload."""
    with new_log() as connect:
        store = connect()
        commit(store, event(data=data))
        (row,) = store.values(Query(), [Field(name) for name in names])
        return list(row)


def test_every_column_has_its_value(mixed: Store) -> None:
    read = [dict(zip(FIELDS, e, strict=True)) for e in replayed(mixed)]
    expected = [row | {"data": json.loads(str(row["data"])), "meta": json.loads(str(row["meta"]))} for row in read]
    assert selected(mixed, *FIELDS) == expected
    assert len(expected) == len(MIXED)


def test_filters_choose_the_events_and_fields_what_is_said_of_them(mixed: Store) -> None:
    for filters in ({"since": 5, "limit": 3}, {"last": 4}, {"reverse": True}, {"where": "position % 7 = 1"}):
        assert [row["id"] for row in selected(mixed, "id", **filters)] == [e.id for e in replayed(mixed, **filters)]


@settings(max_examples=30)
@given(st.lists(st.tuples(value, st.lists(key, min_size=1, max_size=4)), min_size=1, max_size=4))
def test_a_path_leads_to_the_value_that_python_finds_there(found: list[tuple[Value, list[str]]]) -> None:
    with new_log() as connect:
        store = connect()
        paths: list[Parts] = []
        for wanted, path in found:
            nested = wanted
            for step in reversed(path):
                nested = {"other": 0, step: nested}
            commit(store, event(data=json.dumps(nested), meta=json.dumps({"m": nested})))
            paths += [tuple(path), (*path, "nothing"), (*path, 0), (*path, -1)]
        names = [spelled(("data", *path)) for path in paths] + [spelled(("meta", "m", *path)) for path in paths]
        payloads = [json.loads(e.data) for e in replayed(store)]
        assert selected(store, *dict.fromkeys(names)) == [
            dict(zip(names, [at(payload, path) for path in paths] * 2, strict=True)) for payload in payloads
        ]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("data.items[0].qty", "1.50"),
        ("data.items[#-1].qty", "2"),
        ("data.items[2]", "null"),
        ("data.items[#-3]", "null"),
        ("data.items.0", "null"),
        ('data."http.method"', '"GET"'),
        ("data.http.method", "null"),
        ('data."items[0]"', "true"),
        ('"data".items[1]', '{"qty":2}'),
        ("data[0]", "null"),
    ],
)
def test_a_path_is_read_as_in_a_model(path: str, expected: str) -> None:
    data = '{"items": [{"qty": 1.50}, {"qty": 2}], "http.method": "GET", "items[0]": true}'
    assert texts(data, path, "data") == [expected, data]


@pytest.mark.parametrize("number", ["1.0", "1.50", "1E400", "-0", "12345678901234567890123", "1e-7"])
def test_a_number_keeps_its_text(number: str) -> None:
    assert texts(f'{{"n": {number} }}', "data.n") == [number]


@pytest.mark.parametrize("levels", [800, 985, 999, 1000])
def test_a_payload_of_any_depth_can_be_looked_into(levels: int) -> None:
    deep = '{"n":' * levels + "1" + "}" * levels
    beyond = "data." + "n." * (levels - 1) + "n"
    assert texts(deep, "data.n.n.n", beyond, "data.a") == [deep[5 * 3 : -3], "1", "null"]


def test_a_name_of_a_field_may_have_any_sign() -> None:
    with new_log() as connect:
        store = connect()
        odd = """a'%s"\\x"""
        commit(store, event(data=json.dumps({odd: 1})))
        name = spelled(("data", odd))
        assert selected(store, name) == [{name: 1}]


@pytest.mark.parametrize("field", ["stream", "type", "id", "time", "recorded"])
@pytest.mark.parametrize("control", ["\n", "\x1b", "\x9b"])
def test_a_field_of_the_log_with_a_control_character_is_refused(filled: Path, field: str, control: str) -> None:
    table, column = (f"{field}s", "name") if field in ("stream", "type") else ("events", field)
    alter(filled, f"update {table} set {column} = {column} || ? where rowid = 1", control)
    with closing(Store(filled)) as store, pytest.raises(VerificationError, match="was altered"):
        list(store.values(Query(), [Field(field)]))


def test_control_characters_within_a_payload_are_data(store: Store) -> None:
    commit(store, event("s", data='{"a":"\\u001b\\n"}'))
    assert list(store.values(Query(), [Field("data.a"), Field("data")])) == [('"\\u001b\\n"', '{"a":"\\u001b\\n"}')]
