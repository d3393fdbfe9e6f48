"""What a query refuses, and what it means if nothing is said."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import apsw
import pytest

from esctl.errors import UsageError
from esctl.events.query import MAX_POSITION, Query


@pytest.mark.parametrize(
    "bounds", [{"since_version": 1}, {"until_version": 7}, {"since_version": 0, "until_version": 0}]
)
@pytest.mark.parametrize("filters", [{}, {"category": "order"}, {"types": ("T",)}])
def test_a_version_is_refused_where_no_stream_is_named(bounds: dict[str, Any], filters: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="a point in one stream"):
        Query(**bounds, **filters)


def test_a_stream_and_a_category_are_refused_together() -> None:
    with pytest.raises(UsageError, match="exclude each other"):
        Query(stream="order-1", category="order")


@pytest.mark.parametrize(
    "filters",
    [
        {"stream": "order-1", "since_version": 2, "until_version": 3},
        {"stream": "order-1", "until_version": 0},
        {"stream": "order-1", "since": 5, "until": 9},
        {"category": "order", "types": ("A", "B")},
        {"stream": "", "since_version": 1},
        {"limit": 0, "last": 0, "reverse": True, "system": True},
        {"as_of": "2026-01-31T09:30:00.000000Z", "since_time": "a", "until_time": "b"},
    ],
)
def test_a_query_keeps_what_it_is_given(filters: dict[str, Any]) -> None:
    query = Query(**filters)
    assert {name: getattr(query, name) for name in filters} == filters


def test_a_query_of_nothing_asks_for_the_whole_log() -> None:
    query = Query()
    said = {name: getattr(query, name) for name in Query._fields}
    whole = {"since": 1, "until": MAX_POSITION, "types": ()}
    plain = dict.fromkeys(("reverse", "system", "raw_schema", "hot_only"), False)
    assert said == {**dict.fromkeys(said), **whole, **plain}


def test_a_query_ends_at_the_greatest_number_of_sqlite() -> None:
    with closing(apsw.Connection(":memory:")) as connection:
        found = connection.execute("select ?1, typeof(?1), typeof(?1 + 1)", (MAX_POSITION,)).get
    assert found == (MAX_POSITION, "integer", "real")


def test_a_query_knows_no_other_filter() -> None:
    with pytest.raises(TypeError, match="has the fields"):
        Query(offset=1)  # type: ignore[call-arg]


@pytest.mark.parametrize("name", Query._fields)
def test_a_query_does_not_change(name: str) -> None:
    query = Query(stream="s")
    with pytest.raises(AttributeError):
        setattr(query, name, 1)


def test_what_comes_after_a_position_is_asked_for_without_an_end_and_with_the_same_filters() -> None:
    filters: dict[str, Any] = {
        "stream": "s",
        "types": ("T",),
        "since_version": 2,
        "since_time": "a",
        "until_time": "b",
        "system": True,
    }
    ends: dict[str, Any] = {"until": 9, "until_version": 7, "as_of": "c", "limit": 3, "last": 2, "reverse": True}
    assert Query(**filters, **ends).since_position(5) == Query(**filters, since=5)
    assert Query(since=8).since_position(5).since == 8


def test_another_filter_makes_another_query() -> None:
    query = Query(stream="s", until=7)
    assert (query.replace(until=3).until, query.until) == (3, 7)
    assert query.replace(until=3).stream == "s"
    with pytest.raises(UsageError):
        query.replace(category="c")
