"""Parts of events by name, and templates made of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esctl.errors import UsageError
from esctl.events.event import FIELDS
from esctl.events.fields import Field, Template, inner, members, parse_fields, plain


def test_every_column_is_a_field() -> None:
    assert [Field(name).column for name in (*FIELDS, "part", "erased")] == [*FIELDS, "part", "erased"]


@pytest.mark.parametrize(
    ("name", "column", "path"),
    [
        ("data", "data", ()),
        ("data.items[0].qty", "data", ("items", 0, "qty")),
        ("meta.items[#-1]", "meta", ("items", -1)),
        ('data."http.method"', "data", ("http.method",)),
        ('"data".items.0', "data", ("items", "0")),
        ("data[0]", "data", (0,)),
    ],
)
def test_a_field_is_a_column_and_a_path_in_it(name: str, column: str, path: tuple[str | int, ...]) -> None:
    assert (Field(name).column, Field(name).path) == (column, path)


@pytest.mark.parametrize("levels", [800, 985, 999, 1000])
def test_json_of_any_depth_can_be_looked_into(levels: int) -> None:
    deep = '{"n":' * levels + "1" + "}" * levels
    assert inner(deep, ("n",) * 3) == '{"n":' * (levels - 3) + "1" + "}" * (levels - 3)
    assert inner(deep, ("n",) * levels) == "1"
    assert inner(deep, ("a",)) is None
    assert [*members(deep)] == ["n"]


@pytest.mark.parametrize(
    ("text", "path", "found"),
    [
        ("[1,[2.50]]", (1, 0), "2.50"),
        ("[1]", (-1,), "1"),
        ("[1]", (1,), None),
        ("[1]", ("a",), None),
        ('{"a":1}', (0,), None),
        ('"a"', ("a",), None),
        ('"a"', (0,), None),
    ],
)
def test_a_path_leads_into_what_it_fits_alone(text: str, path: tuple[str | int, ...], found: str | None) -> None:
    assert inner(text, path) == found


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


@pytest.mark.parametrize(
    ("json_text", "shown"),
    [
        (None, ""),
        ("null", ""),
        ('""', ""),
        ('"a\\nb"', "a\nb"),
        ('"null"', "null"),
        ('"Zoë \\\\ \\u00eb"', "Zoë \\ ë"),
        ("true", "true"),
        ("[1, 2]", "[1, 2]"),
    ],
)
def test_a_plain_value_is_text_without_quotes(json_text: str | None, shown: str) -> None:
    assert plain(json_text) == shown


VALUES = {"position": "7", "stream": '"order-1"', "type": '"Placed"', "version": "3", "id": '"an-id"'}
VALUES |= {"data": '{"a":1.50,"b":null}', "data.a": "1.50", "data.b": "null", "meta.actor": '"{position}"'}


def filled(written: str) -> str:
    template = Template(written)
    return template.filled([VALUES.get(field.name, "null") for field in template.fields] or ["1"])


@pytest.mark.parametrize(
    ("written", "expected"),
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
def test_a_template_is_filled(written: str, expected: str) -> None:
    assert filled(written) == expected


def test_a_template_is_filled_with_what_its_reader_may_see() -> None:
    template = Template("\x1b {id}\\t", lambda text: text.replace("\x1b", "?").replace("\t", "^I"))
    assert template.filled(['"a\\u001b\\tb"']) == "? a?^Ib\t"


@given(st.text(st.characters(exclude_characters="\\")), st.text(st.characters(exclude_characters="\\")))
def test_what_a_template_says_itself_stays_as_it_is_with_its_braces_doubled(before: str, after: str) -> None:
    doubled = [said.replace("{", "{{").replace("}", "}}") for said in (before, after)]
    assert filled("{position}".join(doubled)) == f"{before}7{after}"


@pytest.mark.parametrize(
    "written", ["{", "}", "a{b", "{position", "position}", "{}", "{ position }", "{nothing}", "{{}"]
)
def test_a_template_that_is_none_is_refused(written: str) -> None:
    with pytest.raises(UsageError):
        Template(written)
