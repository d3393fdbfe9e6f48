"""Where a time is in a log: by when events were recorded, or by when they happened."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esctl.archive import creation
from esctl.errors import UsageError
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.points.located import located
from tests.logs import day, event, fresh, put


def history(log: EventLog, *days: int) -> None:
    """Import events of these days of January."""
    put(log, *(event(f"s-{n}", time=day(n)) for n in days))


def at(n: int) -> str:
    return day(n).replace("T00", "T12")


@pytest.mark.parametrize("archived", [0, 2, 4])
def test_by_time_is_the_last_event_that_happened_by_then(archived: int) -> None:
    with fresh() as log:
        history(log, 2, 4, 4, 6)
        list(creation.create(log, [(1, archived)] if archived else []))
        assert [located(log, at(n), by="time").position for n in (1, 2, 3, 4, 6, 9)] == [0, 1, 1, 3, 4, 4]
        before = [located(log, day(n), by="time", before=True).position for n in (1, 2, 3, 4, 6, 9)]
        assert before == [0, 0, 1, 1, 3, 4]


def test_what_the_log_itself_records_has_no_part_in_the_order() -> None:
    with fresh() as log:
        history(log, 2)
        log.record("MarkSet", {"name": "m", "position": 1})
        history(log, 3, 4)
        assert [located(log, at(n), by="time").position for n in (2, 3, 4)] == [1, 3, 4]


def test_an_event_out_of_order_is_named() -> None:
    with fresh() as log:
        history(log, 1, 5, 2, 7)
        assert [located(log, at(n), by="time").position for n in (1, 5, 7)] == [1, 3, 4]
        with pytest.raises(UsageError) as refused:
            located(log, at(2), by="time")
        assert refused.value.what == f"events are not in the order of their times up to {at(2)}"
        assert refused.value.why == (
            f"#3 T in s-2 happened at {day(2)}, but comes after #2 T in s-5, which happened at {day(5)}"
        )
        assert refused.value.fix == "esctl replay --since '#2' --until '#3' --fields position,time,type"


@settings(max_examples=40)
@given(st.lists(st.integers(1, 9), max_size=8), st.integers(1, 9))
def test_by_time_is_exactly_what_happened_by_then_or_refused(days: list[int], n: int) -> None:
    with fresh() as log:
        history(log, *days)
        happened = [event.position for event, _, _ in log.read(Query(until_time=at(n)))]
        if happened == list(range(1, len(happened) + 1)):
            assert located(log, at(n), by="time").position == len(happened)
        else:
            with pytest.raises(UsageError, match="not in the order"):
                located(log, at(n), by="time")


@pytest.mark.parametrize(
    ("text", "before", "note"),
    [
        (at(4), False, "nothing was recorded by {}; 3 events happened by then; --by time counts these"),
        (at(2), False, "nothing was recorded by {}; 1 event happened by then; --by time counts these"),
        (day(4), True, "nothing was recorded before {}; 1 event happened before then; --by time counts these"),
        (at(1), False, "nothing was recorded by {}"),
        ("now", False, ""),
        ("2999-01-01", True, ""),
    ],
)
def test_by_the_recorded_time_an_imported_past_is_reported(text: str, before: bool, note: str) -> None:
    with fresh() as log:
        history(log, 2, 4, 4, 6)
        found = located(log, text, before=before)
        assert found.note == note.format(text)
        assert found.position == (0 if note else 4)
        assert found.imported == ("happened" in note)


def test_what_was_recorded_and_what_only_happened_by_then_are_both_counted() -> None:
    with fresh() as log:
        put(log, event("s"))
        recorded = log.event("1").event.recorded
        history(log, 2, 4)
        found = located(log, recorded)
        assert (found.position, found.imported) == (1, False)
        then = "happened by then; --by time counts these"
        assert found.note == f"1 event was recorded by {recorded}; 3 events {then}"


def test_nothing_that_happened_is_reported() -> None:
    with fresh() as log:
        history(log, 2)
        assert located(log, at(1), by="time").note == f"nothing happened by {at(1)}"
        assert located(log, at(2), by="time").note == ""


def test_a_time_is_located_by_when_events_were_recorded_or_happened_and_by_nothing_else() -> None:
    with fresh() as log, pytest.raises(UsageError, match="by is 'happened'"):
        located(log, at(1), by="happened")


@pytest.mark.parametrize("by", ["recorded", "time"])
def test_only_a_time_can_be_located_by_one(by: str) -> None:
    with fresh() as log:
        history(log, 2)
        with pytest.raises(UsageError, match="--by goes with a time, and #1 is a position"):
            located(log, "#1", by=by)


@pytest.mark.parametrize(("text", "before", "position"), [("#2", False, 2), ("#2", True, 1), ("#0", True, 0)])
def test_a_position_is_itself(text: str, before: bool, position: int) -> None:
    with fresh() as log:
        history(log, 2, 3)
        assert located(log, text, before=before).position == position


def test_before_the_first_moment_of_the_calendar_there_is_nothing() -> None:
    with fresh() as log:
        history(log, 2)
        assert located(log, "0001-01-01T00:00:00Z", before=True).position == 0
