"""A read goes over windows, and none of its answers depends on where they begin."""

from __future__ import annotations

from typing import Any

import pytest

from esctl.store import windows
from esctl.store.store import Store
from tests.stores import ANOTHER, BY_STREAM, EVENTS, both_directions, lines, positions


def expected(**filters: Any) -> list[int]:
    """The positions of all events, or of those in the stream `order-1`."""
    return [n for n in range(1, EVENTS + 1) if not filters or n % ANOTHER]


@pytest.mark.parametrize("filters", [{}, BY_STREAM], ids=["all", "stream"])
@both_directions
def test_a_read_goes_over_all_windows_in_order(long_store: Store, filters: dict[str, Any], reverse: bool) -> None:
    wanted = expected(**filters)[:: -1 if reverse else 1]
    assert positions(long_store, **filters, reverse=reverse) == wanted
    assert len(lines(long_store, **filters, reverse=reverse)) == len(wanted)


COUNTS = [
    0,
    1,
    windows.POSITIONS_PER_STATEMENT - 1,
    windows.POSITIONS_PER_STATEMENT,
    windows.POSITIONS_PER_STATEMENT + 1,
    2 * windows.POSITIONS_PER_STATEMENT,
    EVENTS - 1,
    EVENTS,
    EVENTS + 1,
]


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("filters", [{}, BY_STREAM], ids=["all", "stream"])
@both_directions
def test_a_limit_holds_across_windows(long_store: Store, filters: dict[str, Any], count: int, reverse: bool) -> None:
    wanted = expected(**filters)[:: -1 if reverse else 1][:count]
    assert positions(long_store, **filters, limit=count, reverse=reverse) == wanted
    assert len(lines(long_store, **filters, limit=count, reverse=reverse)) == len(wanted)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("filters", [{}, BY_STREAM], ids=["all", "stream"])
@both_directions
def test_last_reaches_back_over_windows(long_store: Store, filters: dict[str, Any], count: int, reverse: bool) -> None:
    newest = expected(**filters)[max(0, len(expected(**filters)) - count) :]
    assert positions(long_store, **filters, last=count, reverse=reverse) == newest[:: -1 if reverse else 1]


@pytest.mark.parametrize("since", [1, 500, windows.POSITIONS_PER_STATEMENT, windows.POSITIONS_PER_STATEMENT + 1])
@both_directions
def test_windows_may_begin_anywhere(long_store: Store, since: int, reverse: bool) -> None:
    until = since + windows.POSITIONS_PER_STATEMENT
    assert positions(long_store, since=since, until=until, reverse=reverse) == list(
        range(since, until + 1) if not reverse else range(until, since - 1, -1)
    )


def test_a_limit_counts_what_matches_and_not_what_is_passed_over(long_store: Store) -> None:
    matching = [n for n in range(1, EVENTS + 1) if n % 5 == 1]
    assert positions(long_store, types=("Type1",), limit=300) == matching[:300]
    assert positions(long_store, types=("Type1",), limit=300, reverse=True) == matching[::-1][:300]
