"""Paths of fields: what is one, how it is spelled, and what SQLite finds there."""

from __future__ import annotations

import json
from typing import Any

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esctl.model.paths import Parts, PathError, parts, source_parts, spelled, sql_path

PATHS: list[tuple[str, Parts]] = [
    ("a", ("a",)),
    ("a.b", ("a", "b")),
    ("a b.ü", ("a b", "ü")),
    ("items[0].qty", ("items", 0, "qty")),
    ("items[#-1]", ("items", -1)),
    ("items[0][12]", ("items", 0, 12)),
    ('"http.method"', ("http.method",)),
    ('a."b[0]".c[1]', ("a", "b[0]", "c", 1)),
    (r'"a\"b"', ('a"b',)),
    ('a"b', ('a"b',)),
    ("$", ("$",)),
    ("#", ("#",)),
]


@pytest.mark.parametrize(("field", "found"), PATHS)
def test_how_a_path_is_read(field: str, found: Parts) -> None:
    assert parts(field) == found


@pytest.mark.parametrize(
    ("field", "why"),
    [
        ("", "empty"), (".", "empty"), ("a..b", "empty"), ("a.", "empty"), (".a", "empty"), ("[0]", "empty"),
        ('""', "not a name"), ("a[]", "not an index"), ("a[x]", "not an index"), ("a[*]", "not an index"),
        ("a[0", "not an index"), ("a[-1]", "not an index"), ("a[#-0]", "beyond the end"), ("a[1]b", "without a dot"),
        ('"a"b', "without a dot"), ('"a', "never closed"), ("a]", "not a name"), ("a\n", "not a name"),
        ('"a\\n"', "not a name"), ("a[1234567890]", "not an index"), ("a[\N{SUPERSCRIPT TWO}]", "not an index"),
    ],
)  # fmt: skip
def test_what_is_no_path_and_why(field: str, why: str) -> None:
    with pytest.raises(PathError, match=why):
        parts(field)


def test_a_path_of_the_payload_begins_with_a_dollar() -> None:
    assert source_parts("$") == ()
    assert source_parts("$.a[0]") == ("a", 0)


a_name = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=5) | st.sampled_from(
    [".", "[0]", '"', "a.b", "\\", "'", "$", "]"]
)
a_path = st.tuples(a_name, st.lists(a_name | st.integers(-5, 5), max_size=4)).map(lambda two: (two[0], *two[1]))


@given(path=a_path)
def test_a_path_is_read_as_it_was_spelled(path: Parts) -> None:
    assert parts(spelled(path)) == path


@given(path=a_path)
def test_sqlite_finds_a_value_where_its_path_says(path: Parts) -> None:
    value: Any = 7
    for part in reversed(path):
        value = {part: value} if isinstance(part, str) else [0] * part + [value] if part >= 0 else [value] + [0] * ~part
    sql = f"select ? ->> {sql_path(path)}"
    assert apsw.Connection(":memory:").execute(sql, (json.dumps(value, ensure_ascii=False),)).get == 7
