"""The pace of each type is that of the times between a stream's events."""

from __future__ import annotations

from typing import Any

import pytest

from esctl.events.query import Query
from esctl.log import EventLog
from esctl.states.paces import Pace, paces, percentile
from tests.logs import day, event, put

DAY = 86400.0


@pytest.fixture
def stream(log: EventLog) -> EventLog:
    """A on days 1 and 4, B on days 2 and 10; another stream between them."""
    put(log, event("s", "A", time=day(1)), event("s", "B", time=day(2)), event("other", "B", time=day(3)))
    put(log, event("s", "A", time=day(4)), event("s", "B", time=day(10)))
    return log


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, [Pace("A", 2, 2 * DAY, 2 * DAY), Pace("B", 2, DAY, 6 * DAY)]),
        ({"limit": 1}, [Pace("A", 1, None, None)]),
        ({"last": 1}, [Pace("B", 1, 6 * DAY, 6 * DAY)]),
        ({"since_time": day(4)}, [Pace("A", 1, 2 * DAY, 2 * DAY), Pace("B", 1, 6 * DAY, 6 * DAY)]),
        ({"since_version": 9}, []),
    ],
)  # fmt: skip
def test_each_type_has_the_times_since_the_event_before(
    stream: EventLog, filters: dict[str, Any], expected: list[Pace]
) -> None:
    assert paces(stream, Query(stream="s", **filters)) == expected


def test_a_percentile_is_one_of_the_numbers_and_the_nearest_rank() -> None:
    assert percentile(range(1, 11), 90) == 9
    assert percentile([1, 2, 3], 50) == 2
    assert percentile([], 50) is None
