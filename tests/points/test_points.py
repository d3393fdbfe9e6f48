"""Points as a user types them -> the bounds of a query."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from esctl import open_log
from esctl.errors import UsageError
from esctl.events.query import MAX_POSITION, Query
from esctl.log import EventLog
from esctl.points.points import query_of

UNBOUND = {name: getattr(Query(), name) for name in Query._fields}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EventLog]:
    """A log with three events and two marks: m at 2, n at 3."""
    path = tmp_path_factory.mktemp("points") / "log.db"
    with open_log(path, write=True, create=True) as written:
        for number in range(3):
            written.append("s", "T", number)
        written.mark("m", "#2")
        written.mark("n", "#3")
    with EventLog(path) as opened:
        yield opened


TIME, DAY = "2026-01-31T09:30:00Z", ("2026-01-31T00:00:00.000000Z", "2026-01-31T23:59:59.999999Z")


@pytest.mark.parametrize(
    ("points", "bounds"),
    [
        ({}, {}),
        ({"since": "#2"}, {"since": 2}),
        ({"until": "#2"}, {"until": 2}),
        ({"as_of": "#2"}, {"until": 2}),
        ({"since": "m", "until": "n"}, {"since": 2, "until": 3}),
        ({"as_of": "m"}, {"until": 2}),
        ({"until": "#9", "as_of": "#4"}, {"until": 4}),
        ({"until": "#4", "as_of": "#9"}, {"until": 4}),
        ({"until": "n", "as_of": "m"}, {"until": 2}),
        ({"until": "#0", "as_of": "#0"}, {"until": 0}),
        ({"since": "v2", "until": "v3"}, {"since_version": 2, "until_version": 3}),
        ({"as_of": "v3"}, {"until_version": 3}),
        ({"until": "v5", "as_of": "v0"}, {"until_version": 0}),
        ({"until": "v5", "as_of": "#4"}, {"until_version": 5, "until": 4}),
        ({"since": TIME}, {"since_time": "2026-01-31T09:30:00.000000Z"}),
        ({"until": TIME}, {"until_time": "2026-01-31T09:30:00.000000Z"}),
        ({"as_of": TIME}, {"as_of": "2026-01-31T09:30:00.000000Z"}),
        ({"until": TIME, "as_of": "2026-02-01T00:00:00Z"},
         {"until_time": "2026-01-31T09:30:00.000000Z", "as_of": "2026-02-01T00:00:00.000000Z"}),
        ({"since": "#2", "until": TIME, "as_of": "v3"},
         {"since": 2, "until_time": "2026-01-31T09:30:00.000000Z", "until_version": 3}),
        ({"since": "@0"}, {"since_time": "1970-01-01T00:00:00.000000Z"}),
    ],
)  # fmt: skip
def test_points_become_bounds(log: EventLog, points: dict[str, str], bounds: dict[str, Any]) -> None:
    query = query_of(log, "s", **points)
    assert {name: getattr(query, name) for name in Query._fields} == UNBOUND | {"stream": "s"} | bounds


def test_a_day_is_its_first_moment_as_a_lower_bound_and_its_last_as_an_upper_one(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    query = query_of(log, since="2026-01-31", until="2026-01-31", as_of="2026-01-31")
    monkeypatch.undo()
    time.tzset()
    assert (query.since_time, query.until_time, query.as_of) == (DAY[0], DAY[1], DAY[1])


def test_all_other_filters_are_the_query_s(log: EventLog) -> None:
    filters: dict[str, Any] = {"types": ("T",), "where": "1", "limit": 1, "last": 2, "reverse": True, "system": True}
    query = query_of(log, category="s", **filters)
    assert {name: getattr(query, name) for name in filters} == filters
    assert (query.category, query.stream, query.until) == ("s", None, MAX_POSITION)


@pytest.mark.parametrize("bound", ["since", "until", "as_of"])
@pytest.mark.parametrize(
    "text",
    ["", " ", "x", "M", "m ", "#", "#x", "#-1", "#1.5", "# 1", "v", "vx", "v-1", "1", "120", "-1", "2026", "2026-1-1",
     "2026-02-30", "25:00", "9:30", "12:60", "@", "@x", "@-1", "2 fortnights", "h", "2h ago ago", "in 2h", "tomorrow",
     "NOW", "#" + "9" * 30, "2026-01-31T24:00:00Z", "\uff19:30", "#\uff11"],
)  # fmt: skip
def test_garbage_is_refused(log: EventLog, bound: str, text: str) -> None:
    with pytest.raises(UsageError):
        query_of(log, "s", **{bound: text})


@pytest.mark.parametrize("bound", ["since", "until", "as_of"])
def test_a_version_is_a_point_in_one_stream_only(log: EventLog, bound: str) -> None:
    for category in (None, "s"):
        with pytest.raises(UsageError, match="one stream"):
            query_of(log, None, **{bound: "v2"}, category=category)


def test_a_mark_moves_the_bound_when_it_moves(log_path: Path) -> None:
    with open_log(log_path, write=True) as written:
        for number in range(3):
            written.append("s", "T", number)
        for position in (3, 1):
            written.mark("m", f"#{position}")
            assert [event.position for event in written.replay(until="m")] == list(range(1, position + 1))
