"""Rows of projections: which and in which order, as they were at any point, and how two states differ, cell by cell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from esctl.errors import HandlerError, NotFoundError, UsageError
from esctl.events.event import NewEvent
from esctl.events.query import Query
from esctl.evolution.plan import Draft, drafted
from esctl.log import EventLog
from esctl.model.applied import Applied, Definitions
from esctl.model.checks import checked
from esctl.points.points import query_of
from esctl.projections import admin, differences, reading, runs, versions
from esctl.projections.differences import Cell
from esctl.projections.reading import RowFilter
from tests.logs import IDS, hold, put, run

SUMS = """
[projection.sums]
table = "create table sums(k text primary key, n numeric not null, last text)"
[projection.sums.on]
T = '''
insert into sums values (new.data ->> 'k', new.data ->> 'n', new.time)
on conflict do update set n = n + excluded.n, last = excluded.last'''
Gone = "delete from sums where k = new.data ->> 'k'"
"""
# The table that is called as the projection comes last, and is the main one
ORDERS = """
[projection.orders]
table = "create table orders(k text primary key)"
tables.lines = "create table lines(item integer primary key, k text references orders, n integer)"
[projection.orders.on]
T = '''
insert into orders values (new.data ->> 'k') on conflict do nothing;
insert into lines(k, n) values (new.data ->> 'k', new.data ->> 'n')'''
"""
BAG = """
[projection.bag]
table = "create table bag(k text, n)"
[projection.bag.on]
T = "insert into bag values (new.data ->> 'k', new.data ->> 'n')"
Gone = "delete from bag where rowid = (select min(rowid) from bag where k = new.data ->> 'k')"
"""


def event(k: str, n: object = 1, *, type_: str = "T", day: int = 1) -> NewEvent:
    time = f"2026-01-{day:02}T00:00:00.000000Z"
    return "s-1", type_, next(IDS), time, 0, json.dumps({"k": k, "n": n}), "{}", None


def drawn(text: str) -> Draft:
    model, problems = checked(text, {})
    assert problems == []
    return Draft(text, {}, model)


def shown(log: EventLog, name: str, *, built: bool = False, **asked: Any) -> list[tuple[Any, ...]]:
    return reading.rows(log, log.definitions.model.projections[name], RowFilter(**asked), built=built).rows


def built(path: str | Path, name: str, *, table: str | None = None, **query: Any) -> list[tuple[Any, ...]]:
    """The rows of a projection at a point, for a reader."""
    with EventLog(path) as reader:
        for _ in reading.at(reader, reader.definitions.model.projections[name], Query(**query)):
            pass
        return shown(reader, name, built=True, table=table)


def cells(found: Iterator[int | Cell]) -> list[tuple[Any, ...]]:
    """Differences as tuples: the change, the key's values, column, before, after."""
    only = (one for one in found if isinstance(one, Cell))
    return [(one.change, *one.key.values(), one.column, one.before, one.after) for one in only]


# Rows


@pytest.fixture
def sums(log: EventLog) -> EventLog:
    hold(log, SUMS)
    put(log, event("x", 1), event("y", 20), event("z", 3), event("x", 5, day=2))
    run(log).end()
    return log


@pytest.mark.parametrize(
    ("asked", "keys"),
    [
        pytest.param({}, "xyz", id="by the key"),
        pytest.param({"order_by": "n"}, "zxy", id="by a column"),
        pytest.param({"order_by": "N desc"}, "yxz", id="in whatever case, descending"),
        pytest.param({"order_by": "last desc, n"}, "xzy", id="by two"),
        pytest.param({"where": "n > 5"}, "xy", id="where"),
        pytest.param({"where": "n > 5 -- a comment"}, "xy", id="where, with a comment"),
        pytest.param({"limit": 2}, "xy", id="limit"),
        pytest.param({"limit": 0}, "", id="limit 0"),
        pytest.param({"where": "n < 20", "order_by": "n desc", "limit": 1}, "x", id="all"),
    ],
)
def test_rows_are_chosen_ordered_and_limited(sums: EventLog, asked: dict[str, Any], keys: str) -> None:
    assert [row[0] for row in shown(sums, "sums", **asked)] == list(keys)


def test_sums_are_of_the_rows_that_are_shown(sums: EventLog) -> None:
    asked = RowFilter(where="k <> 'z'", order_by="n desc", limit=1, totals=["N"])
    picture = reading.rows(sums, sums.definitions.model.projections["sums"], asked, built=False)
    assert (picture.table, picture.columns, dict(picture.totals)) == ("sums", ["k", "n", "last"], {"n": 20})


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"order_by": "m"}, "--order-by: there is no column 'm'"),
        ({"order_by": "n down"}, "--order-by: there is no column 'n down'"),
        ({"order_by": "n; drop table sums"}, "--order-by: there is no column"),
        ({"totals": ["lost"]}, "--total: there is no column 'lost'"),
        ({"where": "nobody > 1"}, "no such column: nobody"),
        ({"where": "n in (select 1)"}, "--where"),
        ({"where": "json_extract(k, '$') = 1"}, "malformed JSON"),
    ],
)
def test_what_is_no_column_and_no_condition_is_refused(sums: EventLog, asked: dict[str, Any], error: str) -> None:
    with pytest.raises(UsageError) as raised:
        shown(sums, "sums", **asked)
    assert error in f"{raised.value.what} {raised.value.why}"


def test_of_several_tables_the_one_that_has_the_projections_name_is_shown_first(log: EventLog) -> None:
    hold(log, ORDERS)
    put(log, event("x"), event("x"))
    run(log).end()
    assert shown(log, "orders") == [("x",)]
    assert shown(log, "orders", table="lines") == [(1, "x", 1), (2, "x", 1)]
    with pytest.raises(NotFoundError, match="orders has no table more"):
        shown(log, "orders", table="more")


def test_a_table_that_the_live_version_does_not_have_yet_is_said_to_be_none(log: EventLog) -> None:
    hold(log, ORDERS)
    run(log).end()
    hold(log, ORDERS.replace("[projection.orders.on]", "tables.more = 'create table more(a)'\n[projection.orders.on]"))
    with pytest.raises(NotFoundError, match="the table more is not built yet"):
        shown(log, "orders", table="more")


# As of a point


def test_a_projection_is_built_as_of_any_position(sums: EventLog) -> None:
    def at(position: int) -> list[tuple[Any, ...]]:
        return [row[:2] for row in built(sums.path, "sums", until=position)]

    assert at(1) == []
    assert at(2) == [("x", 1)]
    assert at(4) == [("x", 1), ("y", 20), ("z", 3)]
    assert at(5) == at(99) == [("x", 6), ("y", 20), ("z", 3)]


def test_a_projection_is_built_as_of_a_time_of_the_producer(sums: EventLog) -> None:
    put(sums, event("z", 10, day=1))
    found = built(sums.path, "sums", until_time="2026-01-01T23:00:00.000000Z")
    assert [row[:2] for row in found] == [("x", 1), ("y", 20), ("z", 13)]


def test_a_projection_is_built_as_the_log_stood_at_a_time(sums: EventLog) -> None:
    moment = sums.event("3")[0][7]
    put(sums, event("z", 10))
    found = built(sums.path, "sums", as_of=moment)  # the four events before were recorded together
    assert [row[:2] for row in found] == [("x", 6), ("y", 20), ("z", 3)]


def test_a_state_that_serves_is_gone_on_from_and_not_read_again(
    sums: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(sums, event("x", 7))
    monkeypatch.setattr(reading, "POSITIONS_PER_TRANSACTION", 1)

    def read(name: str, until: int) -> int:
        with EventLog(sums.path) as reader:
            return sum(reading.at(reader, reader.definitions.model.projections[name], Query(until=until)))

    assert [read("sums", until) for until in (4, 5, 6)] == [4, 0, 1]


@pytest.mark.parametrize("damage", ["update sums set n = n + 100", "delete from sums"])
def test_the_past_is_not_read_from_a_version_of_another_definition(sums: EventLog, damage: str) -> None:
    list(sums.store.projections().select(damage))
    hold(sums, SUMS.replace("'n', new.time", "'n' * 2, new.time"))
    assert [row[:2] for row in built(sums.path, "sums", until=3)] == [("x", 2), ("y", 40)]


def test_the_past_is_read_from_a_previous_version_where_the_live_one_is_beyond(
    sums: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in runs.catch_up(sums, admin.rebuild(sums, "sums", from_scratch=True)):
        pass
    put(sums, event("x", 7), event("y", 8))
    run(sums).end()
    monkeypatch.setattr(reading, "POSITIONS_PER_TRANSACTION", 1)
    with EventLog(sums.path) as reader:
        assert sum(reading.at(reader, reader.definitions.model.projections["sums"], Query(until=6))) == 1
        assert [row[:2] for row in shown(reader, "sums", built=True)] == [("x", 13), ("y", 20), ("z", 3)]


def test_tables_that_refer_to_each_other_are_gone_on_from_in_whatever_order_they_stand(log: EventLog) -> None:
    hold(log, ORDERS)
    put(log, event("x"))
    run(log).end()
    put(log, event("y"))
    assert built(log.path, "orders", table="lines", until=3) == [(1, "x", 1), (2, "y", 1)]
    assert built(log.path, "orders", until=2) == [("x",)]


def test_nothing_in_the_log_is_changed_by_a_look_at_the_past(sums: EventLog) -> None:
    before = shown(sums, "sums")
    for _ in reading.at(sums, sums.definitions.model.projections["sums"], Query(until=2)):
        pass
    assert list(sums.store.projections().select("select * from main.sums order by 1")) == before


def test_who_has_looked_at_the_past_goes_on_with_the_present(sums: EventLog) -> None:
    for _ in reading.at(sums, sums.definitions.model.projections["sums"], Query(until=2)):
        pass
    put(sums, event("w", 4))
    run(sums).end()
    found = list(sums.store.projections().select("select k, n from main.sums order by 1"))
    assert found == [("w", 4), ("x", 6), ("y", 20), ("z", 3)]


def test_one_reader_may_look_at_one_point_after_another(sums: EventLog) -> None:
    with EventLog(sums.path) as reader:
        for until, keys in ((2, ["x"]), (4, ["x", "y", "z"]), (3, ["x", "y"])):
            for _ in reading.at(reader, reader.definitions.model.projections["sums"], Query(until=until)):
                pass
            assert [row[0] for row in shown(reader, "sums", built=True)] == keys


def test_where_a_handler_fails_before_the_point_that_is_told(log: EventLog) -> None:
    hold(log, SUMS.replace("n numeric not null", "n numeric check (n < 9)"))
    put(log, event("x", 1), event("y", 10), event("z", 2))
    assert [row[:2] for row in built(log.path, "sums", until=2)] == [("x", 1)]
    with pytest.raises(HandlerError, match="the projection sums cannot be built up to there") as raised:
        built(log.path, "sums", until=4)
    assert "fails between positions 1 and 4: CHECK constraint failed: n < 9;" in raised.value.why
    assert raised.value.fix == "esctl projection run sums"


def test_without_handlers_there_is_no_past(log: EventLog) -> None:
    hold(log, "[projection.rows]\ntable = 'create table rows(k primary key)'\n")
    put(log, event("x"))
    with pytest.raises(HandlerError, match="the projection rows has no handlers in the model"):
        built(log.path, "rows", until=2)


# Differences


def test_rows_that_were_added_are_gone_and_changed_are_told_cell_by_cell(sums: EventLog) -> None:
    put(sums, event("y", type_="Gone"), event("w", 2))
    with EventLog(sums.path) as reader:
        found = cells(differences.between(reader, versions.declared(reader, "sums"), Query(until=4), Query(until=7)))
    one, two = "2026-01-01T00:00:00.000000Z", "2026-01-02T00:00:00.000000Z"
    assert found == [
        ("gone", "y", "n", 20, None),
        ("gone", "y", "last", one, None),
        ("added", "w", "n", None, 2),
        ("added", "w", "last", None, one),
        ("changed", "x", "n", 1, 6),
        ("changed", "x", "last", one, two),
    ]


@pytest.mark.parametrize("points", [(4, 7), (7, 4), (1, 7), (7, 7)])
def test_what_one_way_is_added_is_gone_the_other_way(log: EventLog, points: tuple[int, int]) -> None:
    hold(log, SUMS + BAG + ORDERS)
    put(log, *(event(k, n) for k, n in zip("xyxzyx", (1, 2, 3, None or 0, 5, 6), strict=True)))
    run(log).end()

    def found(since: int, until: int, name: str) -> list[tuple[Any, ...]]:
        with EventLog(log.path) as reader:
            points = Query(until=since), Query(until=until)
            return cells(differences.between(reader, versions.declared(reader, name), *points))

    other = {"added": "gone", "gone": "added", "changed": "changed"}
    for name in ("sums", "bag", "orders"):
        there, back = found(*points, name), found(points[1], points[0], name)
        turned = [(other[change], *key, after, before) for change, *key, before, after in back]
        assert sorted(map(repr, there)) == sorted(map(repr, turned))
        assert bool(there) == (points[0] != points[1])


def test_rows_without_a_key_are_told_as_often_as_they_are_there(log: EventLog) -> None:
    hold(log, BAG)
    put(log, event("x", 1), event("x", 1), event("y", 2), event("x", 1), event("y", type_="Gone"))
    with EventLog(log.path) as reader:
        found = cells(differences.between(reader, versions.declared(reader, "bag"), Query(until=2), Query(until=6)))
        assert found == [("added", "x", 1, None, None, None)] * 2


def test_a_number_that_becomes_a_text_is_a_change(log: EventLog) -> None:
    hold(log, SUMS.replace("n numeric not null", "n").replace("n = n + excluded.n", "n = excluded.n"))
    put(log, event("x", 1), event("x", "1"), event("x", 1.0), event("x", None))
    with EventLog(log.path) as reader:
        projection = versions.declared(reader, "sums")
        found = cells(differences.between(reader, projection, Query(until=2), Query(until=3)))
    assert found == [("changed", "x", "n", 1, "1")]
    with EventLog(log.path) as reader:
        found = cells(differences.between(reader, projection, Query(until=4), Query(until=5)))
    assert found == [("changed", "x", "n", 1.0, None)]


def model(log: EventLog, text: str) -> Definitions:
    made: Applied = drafted(log, drawn(text))
    return Definitions(made)


def test_another_model_is_compared_with_all_events_taken(sums: EventLog) -> None:
    put(sums, event("y", 1))  # which the live version does not hold yet
    with EventLog(sums.path) as reader:
        other = SUMS.replace("n = n + excluded.n", "n = max(n, excluded.n)")
        assert cells(differences.against(reader, "sums", model(reader, other))) == [
            ("changed", "x", "n", 6, 5),
            ("changed", "y", "n", 21, 20),
        ]
    with EventLog(sums.path) as reader:
        assert cells(differences.against(reader, "sums", model(reader, SUMS + "# the same\n"))) == []


def test_another_model_is_compared_with_its_own_upcasts(sums: EventLog) -> None:
    upcast = "[event.T]\nschema = 2\n[[event.T.upcast]]\nfrom = 1\nset = { k = 'q' }\nremove = ['m']\n"
    with EventLog(sums.path) as reader:
        found = cells(differences.against(reader, "sums", model(reader, SUMS + upcast)))
    assert [cell[:2] for cell in found if cell[2] == "n"] == [("gone", k) for k in "xyz"] + [("added", "q")]


def test_a_column_that_only_one_model_has_differs_where_it_is_not_null(sums: EventLog) -> None:
    other = SUMS.replace("last text)", "last text, more text default 'm')").replace(
        "insert into sums values", "insert into sums(k, n, last) values"
    )
    with EventLog(sums.path) as reader:
        found = cells(differences.against(reader, "sums", model(reader, other)))
    assert found == [("changed", k, "more", None, "m") for k in "xyz"]


@pytest.mark.parametrize(("text", "change"), [("", "gone"), (SUMS.replace("sums", "more"), "added")])
def test_a_projection_that_only_one_model_has_differs_in_every_row(sums: EventLog, text: str, change: str) -> None:
    name = "more" if text else "sums"
    with EventLog(sums.path) as reader:
        found = cells(differences.against(reader, name, model(reader, text)))
        assert [(cell[0], cell[1]) for cell in found if cell[2] == "n"] == [(change, k) for k in "xyz"]
        with pytest.raises(NotFoundError, match="neither model has a projection none"):
            cells(differences.against(reader, "none", model(reader, text)))


# What is verified


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        pytest.param("select 1", [], id="nothing"),
        pytest.param("update sums set n = 7 where k = 'x'", [("changed", "x", "n", 7, 6)], id="changed"),
        pytest.param("update sums set n = '6' || '' where k = 'x'", [], id="the column's own kind"),
        pytest.param("update sums set last = null", [("changed", k, "last", None, None) for k in "xyz"], id="null"),
        pytest.param("delete from sums where k = 'y'", [("added", "y", "n", None, 20)], id="gone"),
        pytest.param("insert into sums values ('w', 0, null)", [("gone", "w", "n", 0, None)], id="added"),
    ],
)
def test_a_check_builds_anew_and_tells_what_it_finds_otherwise(
    sums: EventLog, damage: str, found: list[tuple[Any, ...]]
) -> None:
    list(sums.store.projections().select(damage))
    put(sums, event("w", 9))  # beyond the checkpoint: not what is checked
    with EventLog(sums.path) as reader:
        seen = cells(differences.checked(reader, "sums"))
    told = [cell for cell in seen if cell[2] == (found[0][2] if found else cell[2])]
    assert [cell[:3] for cell in told] == [cell[:3] for cell in found]
    if found and found[0][2] == "n":
        assert told == found


def test_what_waits_to_be_built_anew_is_not_checked(sums: EventLog) -> None:
    hold(sums, SUMS.replace("n + excluded", "n - excluded"))
    with pytest.raises(UsageError, match="sums is not what the model says by now"):
        cells(differences.checked(sums, "sums"))


def test_tables_that_refer_to_each_other_are_checked(log: EventLog) -> None:
    hold(log, ORDERS)
    put(log, event("x"), event("y"))
    run(log).end()
    with EventLog(log.path) as reader:
        assert cells(differences.checked(reader, "orders")) == []


def test_a_point_of_the_command_line_is_a_query(sums: EventLog) -> None:
    with EventLog(sums.path) as reader:
        for _ in reading.at(reader, versions.declared(reader, "sums"), query_of(reader, None, until="#3")):
            pass
        assert [row[0] for row in shown(reader, "sums", built=True)] == ["x", "y"]
