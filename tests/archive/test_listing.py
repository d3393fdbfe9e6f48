"""The segments of a log, by name and in order, and what is not archived."""

from __future__ import annotations

from pathlib import Path

import pytest

from esctl.archive import listing, moving
from esctl.errors import NotFoundError
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.store import segments
from tests.logs import alter
from tests.segments import EVENTS, make


def test_a_log_that_was_never_archived_has_no_segments_and_is_hot(twelve: EventLog) -> None:
    assert listing.archived(twelve) == []
    assert listing.hot(twelve, EVENTS) == [(1, EVENTS)]


def test_what_is_hot_are_the_ranges_between_segments(twelve: EventLog) -> None:
    moving.restore(twelve, make(twelve, until=10)[1])
    assert listing.hot(twelve, EVENTS) == [(5, 8), (11, 12)]
    assert listing.hot(twelve, 6) == [(5, 6)]
    assert listing.hot(twelve, 4) == []


def test_segments_are_named_by_their_ranges(twelve: EventLog) -> None:
    made = make(twelve)
    assert [segment.name for segment in made] == ["1-4", "5-8", "9-12"]
    assert listing.named(twelve, "5-8") == made[1]


@pytest.mark.parametrize("name", ["1-5", "", "../1-4", "1-4/", "01-4"])
def test_a_name_that_no_segment_has_is_not_found(twelve: EventLog, name: str) -> None:
    make(twelve)
    with pytest.raises(NotFoundError, match="there is no segment") as caught:
        listing.named(twelve, name)
    assert "1-4" in caught.value.why


def test_what_is_listed_of_a_segment_adds_up(twelve: EventLog) -> None:
    segment = make(twelve, most=100)[0]
    record = listing.record(segment)
    assert (record["segment"], record["events"], record["where"]) == ("1-12", EVENTS, "log")
    assert record["bytes"] == len(b"".join(moving.export(twelve, segment)))
    assert record["raw_bytes"] == len(b"".join(twelve.lines(Query(system=True, raw_schema=True))))
    assert segments.LEVEL == 9


def test_nothing_before_the_first_position_is_hot_whatever_a_segment_says(twelve: EventLog, log_path: Path) -> None:
    make(twelve, until=8)
    twelve.close()
    alter(log_path, "update segments set last = -9 where first = 1")
    with EventLog(log_path) as log:
        assert listing.hot(log, EVENTS) == [(1, 4), (9, 12)]
