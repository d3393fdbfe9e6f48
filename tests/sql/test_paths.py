"""Paths into JSON are printed as users write them."""

from __future__ import annotations

import json

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esctl.sql.paths import readable


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
