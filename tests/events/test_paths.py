"""Paths of fields: what is one, how it is spelled, and lists of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esctl.events.paths import Parts, PathError, listed, parts, spelled

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


a_name = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=5) | st.sampled_from(
    [".", "[0]", '"', "a.b", "\\", "'", "$", "]"]
)
a_path = st.tuples(a_name, st.lists(a_name | st.integers(-5, 5), max_size=4)).map(lambda two: (two[0], *two[1]))


@given(path=a_path)
def test_a_path_is_read_as_it_was_spelled(path: Parts) -> None:
    assert parts(spelled(path)) == path


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a", ["a"]),
        ("a, b ,c.d", ["a", "b", "c.d"]),
        ('data."a,b",c', ['data."a,b"', "c"]),
        (' "a,b", "c\\"d,e"', ['"a,b"', '"c\\"d,e"']),
        ('a"b,c"d', ['a"b', 'c"d']),
        ("", [""]),
        ("a,,b,", ["a", "", "b", ""]),
    ],
)
def test_a_comma_within_the_quotes_of_a_name_does_not_end_a_path(text: str, found: list[str]) -> None:
    assert listed(text) == found


@given(st.lists(a_path, min_size=1, max_size=3))
def test_a_list_of_spelled_paths_is_those_paths(paths: list[Parts]) -> None:
    assert [parts(path) for path in listed(", ".join(map(spelled, paths)))] == paths
