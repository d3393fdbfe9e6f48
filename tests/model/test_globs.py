"""Which GLOB patterns can match one name."""

from __future__ import annotations

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esctl.model.globs import matches, overlap

BEGINNINGS = st.text("ab-", max_size=3)
PATTERNS = st.text("ab-*?", max_size=6) | st.text("ab*?[]^-", max_size=6) | BEGINNINGS | BEGINNINGS.map("{}*".format)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("order-*", "order-*", True),
        ("order-*", "*-1", True),
        ("order-*", "payment-*", False),
        ("order-[0-4]*", "order-[5-9]*", False),
        ("order-[^5-9]*", "order-[4-6]", True),
        ("order-?", "order-??", False),
        ("*", "$x", True),
        ("order-*", "order", False),
        ("", "", True),
        ("", "*", True),
    ],
)
def test_patterns_overlap_where_one_name_matches_both(first: str, second: str, expected: bool) -> None:
    assert overlap(first, second) is overlap(second, first) is expected


@given(PATTERNS, PATTERNS, st.text("ab-", max_size=5))
def test_patterns_that_both_match_a_name_overlap(first: str, second: str, name: str) -> None:
    connection = apsw.Connection(":memory:")
    if connection.execute("select ?1 glob ?2 and ?1 glob ?3", (name, first, second)).get:
        assert overlap(first, second)


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("order-*", "order-1", True), ("order-*", "order-", True), ("order-*", "order", False),
        ("order-*", "payment-1", False), ("order-1", "order-1", True), ("order-1", "order-12", False),
        ("*", "", True), ("", "", True), ("", "a", False), ("a*b", "axb", True), ("a*b", "ax", False),
    ],
)  # fmt: skip
def test_what_a_pattern_matches(pattern: str, name: str, expected: bool) -> None:
    assert matches(pattern, name) is expected


@given(PATTERNS | st.text("ab[]^-*?é", max_size=8), st.text("ab-]^é\n", max_size=5))
def test_a_pattern_matches_what_sqlite_says(pattern: str, name: str) -> None:
    connection = apsw.Connection(":memory:")
    assert matches(pattern, name) is bool(connection.execute("select ? glob ?", (name, pattern)).get)


def test_long_patterns_are_compared_in_no_time() -> None:
    assert not overlap("*a*b" * 100 + "x", "*c*d" * 100 + "y")
    assert overlap("*a*b" * 100 + "*", "*c*d" * 100 + "*")
