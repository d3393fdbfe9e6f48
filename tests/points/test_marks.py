"""Marks: names for positions, as points and as events of the log's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esctl import open_log
from esctl.errors import NotFoundError, RefusedError, UsageError
from esctl.events import system
from esctl.events.point import Point, parse_point
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.points.located import located
from esctl.points.marks import marks, position_named, position_of, set_mark
from esctl.points.points import query_of


@pytest.fixture
def log(log_path: Path) -> Iterator[EventLog]:
    """A log of five events in as many transactions."""
    with open_log(log_path, write=True) as written:
        for number in range(5):
            written.append("s", "T", number)
    with EventLog(log_path, write=True) as opened:
        yield opened


def test_a_mark_names_a_position_until_it_moves(log: EventLog) -> None:
    assert position_named(log, "here") is None
    for position in (2, 5, 3):
        made = set_mark(log, "here", position)
        assert (made.name, made.position, made.actor) == ("here", position, system.actor())
        assert marks(log) == {"here": made}
        assert position_named(log, "here") == position


def test_marks_are_kept_apart_by_name(log: EventLog) -> None:
    names = ["a", "A", "ä", "a b", "[bold]", "order-1", "#1st", "v1.0", "2nd", "漢字", "x" * 512]
    for position, name in enumerate(names):
        set_mark(log, name, position % 6)
    assert {name: mark.position for name, mark in marks(log).items()} == {n: i % 6 for i, n in enumerate(names)}


def test_setting_a_mark_is_an_event_of_the_log_s_own_and_no_other_reader_sees_it(log: EventLog) -> None:
    set_mark(log, "here", 2)
    assert [event[0] for event, _, _ in log.read(Query())] == [1, 2, 3, 4, 5]
    for query in (Query(system=True, since=6), Query(stream="$esctl")):
        assert [(event[0], event[1], event[4]) for event, _, _ in log.read(query)] == [(6, "$esctl", "MarkSet")]


def test_a_time_means_the_newest_event_that_was_recorded_by_then(log: EventLog) -> None:
    recorded = [event[7] for event, _, _ in log.read(Query())]
    for index, moment in enumerate(recorded):
        assert position_of(log, Point(time=moment)) == index + 1
    assert position_of(log, Point(time="1970-01-01T00:00:00.000000Z")) == 0
    assert position_of(log, Point(time="2999-01-01T00:00:00.000000Z")) == 5


def test_the_log_s_ends_can_be_marked_and_nothing_beyond(log: EventLog, tmp_path: Path) -> None:
    for position in (0, 5):
        assert set_mark(log, "end", position).position == position
    with pytest.raises(NotFoundError, match="no position 99"):
        located(log, "#99")
    with pytest.raises(UsageError, match="one stream"):
        located(log, "v1")
    assert marks(log)["end"].position == 5
    with open_log(tmp_path / "empty.db", write=True, create=True) as empty:
        assert empty.mark("begin").position == 0


POINTS = [
    *("now", "today", "yesterday", "2h", "3 days ago", "1w", "5 minutes", "10s"),
    *("2026-01-31", "2026-01-31T09:30:00Z", "2026-01-31 09:30:00", "09:30", "23:59:59"),
    *("@1700000000", "@0.5", "#1", "#0", "v1", "v0"),
]
NONE = ["2026-02-30", "2026-13-01", "0000-01-01", "@999999999999", "9999999 weeks ago", "2026-02-30T00:00:00Z"]


@pytest.mark.parametrize("name", POINTS)
def test_a_name_that_already_is_a_point_is_refused(log: EventLog, name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a mark"):
        set_mark(log, name, 1)
    assert marks(log) == {}


@pytest.mark.parametrize("name", NONE)
def test_a_name_that_has_the_form_of_a_time_is_refused_though_there_is_no_such_time(log: EventLog, name: str) -> None:
    """It could never be used: as a point it is refused before any mark is looked for."""
    with pytest.raises(UsageError, match="does not exist"):
        parse_point(name, upper=True, mark=lambda _: 1)
    with pytest.raises(UsageError, match="cannot name a mark"):
        set_mark(log, name, 1)


@pytest.mark.parametrize("name", ["", " ", " a", "a ", "a\nb", "\x1b[31m", "a\x00", "x" * 513, "\ud800", "\x85"])
def test_a_name_that_no_stream_could_have_is_refused(log: EventLog, name: str) -> None:
    with pytest.raises(RefusedError, match="the mark"):
        set_mark(log, name, 1)
    assert marks(log) == {}


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
def test_every_name_is_refused_or_works_as_a_point(names: set[str], log_of_one: EventLog, name: str) -> None:
    try:
        set_mark(log_of_one, name, 1)
    except (RefusedError, UsageError):
        assert name not in names
        return
    names.add(name)
    for bound in ("since", "until", "as_of"):
        query = query_of(log_of_one, **{bound: name})
        assert [event[0] for event, _, _ in log_of_one.read(query)] == [1]


@pytest.fixture(scope="module")
def names() -> set[str]:
    """The marks of the log of one event."""
    return set()


@pytest.fixture(scope="module")
def log_of_one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EventLog]:
    path = tmp_path_factory.mktemp("marks") / "log.db"
    with open_log(path, write=True, create=True) as written:
        written.append("s", "T")
    with EventLog(path, write=True) as log:
        yield log
