"""Parts of events by name, and templates made of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from esctl.errors import UsageError
from esctl.events.event import FIELDS, Event
from esctl.events.fields import Field, members, parse_fields, plain, record, template
from esctl.events.paths import spelled

Value = Any
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
key = text.filter(lambda name: name != "" and name.isprintable())
value: SearchStrategy[Value] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(key, inner, max_size=3),
    max_leaves=8,
)


def event(data: str = "{}", meta: str = "{}", stream: str = "order-1") -> Event:
    moments = ("2026-01-01T00:00:00.000000Z", "2026-01-02T00:00:00.000000Z")
    return Event(7, stream, 3, "an-id", "Placed", 2, *moments, data, meta)


def test_every_column_has_its_value_as_json() -> None:
    e = event('{"a": 1.0}', '{"m":null}', 'quo"te\\')
    assert [Field(name).of(e) for name in FIELDS] == [
        "7", json.dumps('quo"te\\'), "3", '"an-id"', '"Placed"', "2", json.dumps(e[6]), json.dumps(e[7]),
        '{"a": 1.0}', '{"m":null}',
    ]  # fmt: skip


@given(value, st.lists(key, min_size=1, max_size=4), st.sampled_from(["data", "meta"]))
def test_a_path_leads_to_the_value_that_python_finds_there(wanted: Value, path: list[str], column: str) -> None:
    nested = wanted
    for step in reversed(path):
        nested = {"other": 0, step: nested}
    e = event(**{column: json.dumps(nested)})
    found = Field(spelled((column, *path))).of(e)
    assert found is not None
    assert json.loads(found) == wanted
    beyond = Field(spelled((column, *path, "nothing"))).of(e)
    inner = wanted.get("nothing") if isinstance(wanted, dict) else None
    assert (None if beyond is None else json.loads(beyond)) == inner


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("data.items[0].qty", "1.50"),
        ("data.items[#-1].qty", "2"),
        ("data.items[2]", None),
        ("data.items[#-3]", None),
        ("data.items.0", None),
        ('data."http.method"', '"GET"'),
        ("data.http.method", None),
        ('data."items[0]"', "true"),
        ('"data".items[1]', '{"qty":2}'),
        ("data[0]", None),
    ],
)
def test_a_path_is_read_as_in_a_model(path: str, found: str | None) -> None:
    data = '{"items":[{"qty":1.50},{"qty":2}],"http.method":"GET","items[0]":true}'
    assert Field(path).of(event(data)) == found


@pytest.mark.parametrize("number", ["1.0", "1.50", "1E400", "-0", "12345678901234567890123", "1e-7"])
def test_a_number_keeps_its_text(number: str) -> None:
    assert Field("data.n").of(event(f'{{"n": {number} }}')) == number
    assert plain(Field("data.n").of(event(f'{{"n":{number}}}'))) == number


@pytest.mark.parametrize("levels", [800, 985, 999, 1000])
def test_a_payload_of_any_depth_can_be_looked_into(levels: int) -> None:
    deep = '{"n":' * levels + "1" + "}" * levels
    assert Field("data.n.n.n").of(event(deep)) == '{"n":' * (levels - 3) + "1" + "}" * (levels - 3)
    assert Field("data." + "n." * (levels - 1) + "n").of(event(deep)) == "1"
    assert Field("data.a").of(event(deep)) is None
    assert [*members(deep)] == ["n"]


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "nothing",
        "Stream",
        "salt",
        "hash",
        "stream.x",
        "position.x",
        "data.",
        ".data",
        "data..x",
        "meta.x.",
        ".",
    ],
)
def test_what_is_no_field_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="there is no field"):
        Field(name)


def test_fields_stand_between_commas_with_blanks_or_without() -> None:
    assert [field.name for field in parse_fields("id, data.a b ,meta.x.y")] == ["id", "data.a b", "meta.x.y"]
    for none in ("", "id,", ",id", "id,,type"):
        with pytest.raises(UsageError):
            parse_fields(none)


@given(st.lists(st.tuples(key, value), max_size=4, unique_by=lambda pair: pair[0]))
def test_a_record_is_json_with_null_for_what_is_not_there(pairs: list[tuple[str, Value]]) -> None:
    names = [spelled(("data", name)) for name, _ in pairs]
    fields = [Field(name) for name in [*names, "id", "meta.nothing"]]
    line = record(fields, event(json.dumps(dict(pairs))))
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    expected = {spelled(("data", name)): found for name, found in pairs}
    assert json.loads(line) == expected | {"id": "an-id", "meta.nothing": None}


@pytest.mark.parametrize(
    ("json_text", "shown"),
    [
        (None, ""),
        ("null", ""),
        ('""', ""),
        ('"a\\nb"', "a\nb"),
        ('"null"', "null"),
        ("true", "true"),
        ("[1, 2]", "[1, 2]"),
    ],
)
def test_a_plain_value_is_text_without_quotes(json_text: str | None, shown: str) -> None:
    assert plain(json_text) == shown


@pytest.mark.parametrize(
    ("written", "filled"),
    [
        ("", ""),
        ("plain", "plain"),
        ("{position}", "7"),
        ("{stream}/{type} v{version}", "order-1/Placed v3"),
        ("{data.a}{data.b}{data.c}", "1.50"),
        ("{{position}}", "{position}"),
        ("{{{position}}}", "{7}"),
        ("{{}}", "{}"),
        (r"{id}\t{type}\n", "an-id\tPlaced\n"),
        ("{data}", '{"a":1.50,"b":null}'),
        ("%s {meta.actor} $0", "%s {position} $0"),
    ],
)
def test_a_template_is_filled(written: str, filled: str) -> None:
    assert template(written)(event('{"a":1.50,"b":null}', '{"actor":"{position}"}')) == filled


@given(st.text(st.characters(exclude_characters="\\")), st.text(st.characters(exclude_characters="\\")))
def test_what_a_template_says_itself_stays_as_it_is_with_its_braces_doubled(before: str, after: str) -> None:
    doubled = [said.replace("{", "{{").replace("}", "}}") for said in (before, after)]
    assert template("{position}".join(doubled))(event()) == f"{before}7{after}"


@pytest.mark.parametrize(
    "written", ["{", "}", "a{b", "{position", "position}", "{}", "{ position }", "{nothing}", "{{}"]
)
def test_a_template_that_is_none_is_refused(written: str) -> None:
    with pytest.raises(UsageError):
        template(written)
