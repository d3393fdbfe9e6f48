"""A read goes over windows, and none of its answers depends on where they begin."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from esctl.archive import creation, listing, moving
from esctl.events.event import NewEvent
from esctl.log import EventLog
from esctl.store import windows
from esctl.store.store import Store
from tests.logs import alter, put
from tests.stores import ANOTHER, BY_STREAM, EVENTS, appended, both_directions, events, lines, positions


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


# While others archive

ASKED: dict[str, Callable[[EventLog], object]] = {
    "the version at a position": lambda log: log.store.places().version_until("s-1", 3),
    "the event of a version": lambda log: log.store.places().event_at("s-1", 2),
    "the position of an id": lambda log: log.store.places().find("2"),
    "the position at a time": lambda log: log.store.places().position_at("2999-01-01T00:00:00.000000Z"),
    "events over time": lambda log: log.store.facts().over_time(2).by_type(),
}


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
def test_a_segment_that_is_moved_between_the_look_and_the_reach_is_looked_for_again(
    ask: Callable[[EventLog], object], log_path: Path
) -> None:
    with EventLog(log_path, write=True, bulk=True) as log:
        put(log, *(NewEvent("s-1", "T", str(n), None, 1, "{}", "{}", None) for n in range(1, 5)))
        expected = ask(log)
        spans = listing.hot(log, 4)
        assert len(list(creation.create(log, spans, most=4, level=1, to=log_path.parent / "cold"))) == 1
    moved: list[str] = []

    def move(sql: str) -> None:
        """As soon as the reader reaches for the archive, another one moves it."""
        if "archived" in sql and "from segments" not in sql and "from head" not in sql and not moved:
            moved.append(sql)
            with EventLog(log_path, write=True) as other:
                moving.move(other, listing.archived(other)[0], None)

    with EventLog(log_path) as reader:
        reader.store.statements.trace(move)
        assert ask(reader) == expected
    assert moved


@pytest.mark.parametrize("filters", [{}, {"stream": "s"}], ids=["all", "stream"])
@both_directions
def test_a_read_passes_over_numbers_that_no_event_has(log_path: Path, filters: dict[str, Any], reverse: bool) -> None:
    far = 2**50
    with closing(Store(log_path, write=True)) as store:
        appended(store, events(5, "s"))
    alter(log_path, f"update events set position = {far}, version = {far} where position = 5")
    alter(log_path, f"update head set position = {far}")
    with closing(Store(log_path)) as store:
        assert positions(store, **filters, reverse=reverse) == [1, 2, 3, 4, far][:: -1 if reverse else 1]
