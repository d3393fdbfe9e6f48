"""Paths into JSON are printed as users write them, and lead SQLite to the value that they name."""

from __future__ import annotations

import json
from typing import Any

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esctl.events.paths import Parts
from esctl.sql.paths import readable, sql_path


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$", "$"),
        ("$.a", "a"),
        ('$."customer_id"', "customer_id"),
        ('$."customer-id".b[2]."x_y"[0][1]', "customer-id.b[2].x_y[0][1]"),
        ("$[0].a", "[0].a"),
        ('$."Größe"', "Größe"),
        ('$."http.method"', '"http.method"'),
        ('$."k[0]"', '"k[0]"'),
        ('$."q\\"t"', '"q\\"t"'),
        ('$."two words"', '"two words"'),
        ('$."$"', '"$"'),
        ('$.""', '""'),
        ('$."a,b"', '"a,b"'),
        ('$."new\\nline"', '"new\\nline"'),
    ],
)
def test_a_key_has_quotes_only_if_it_needs_them(path: str, expected: str) -> None:
    assert readable(path) == expected


@given(st.lists(st.text(), min_size=1, max_size=6, unique=True))
def test_different_keys_have_different_paths(keys: list[str]) -> None:
    text = json.dumps(dict.fromkeys(keys, 1))
    found = apsw.Connection(":memory:").execute("select fullkey from json_tree(?) where atom", (text,)).fetchall()
    assert len({readable(str(path)) for (path,) in found}) == len(keys)


a_name = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=5) | st.sampled_from(
    [".", "[0]", '"', "a.b", "\\", "'", "$", "]"]
)
a_path = st.tuples(a_name, st.lists(a_name | st.integers(-5, 5), max_size=4)).map(lambda two: (two[0], *two[1]))


@given(path=a_path)
def test_sqlite_finds_a_value_where_its_path_says(path: Parts) -> None:
    value: Any = 7
    for part in reversed(path):
        value = {part: value} if isinstance(part, str) else [0] * part + [value] if part >= 0 else [value] + [0] * ~part
    sql = f"select ? ->> {sql_path(path)}"
    assert apsw.Connection(":memory:").execute(sql, (json.dumps(value, ensure_ascii=False),)).get == 7
