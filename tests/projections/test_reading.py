"""The rows of a projection, as they are or as of a point."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from esctl.errors import HandlerError, NotFoundError, UsageError
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.points.points import query_of
from esctl.projections import admin, reading, runs, versions
from esctl.projections.reading import RowFilter
from tests.logs import event as any_event
from tests.logs import hold, put, run
from tests.projections.sums import ORDERS, SUMS, event


def shown(log: EventLog, name: str, *, built: bool = False, **asked: Any) -> list[tuple[Any, ...]]:
    return reading.rows(log, log.definitions.model.projections[name], RowFilter(**asked), built=built).rows


def built(path: str | Path, name: str, *, table: str | None = None, **query: Any) -> list[tuple[Any, ...]]:
    """The rows of a projection at a point, for a reader."""
    with EventLog(path) as reader:
        for _ in reading.at(reader, reader.definitions.model.projections[name], Query(**query)):
            pass
        return shown(reader, name, built=True, table=table)


# Rows


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


def test_a_sum_is_exact(log: EventLog) -> None:
    hold(
        log,
        "[projection.t]\ntable = 'create table t(k integer primary key, a real, b integer, c)'\n[projection.t.on]\n"
        "'*' = 'insert into t values (new.position, new.position / 10.0, 9223372036854775807, 9e999)'",
    )
    put(log, *(event("x") for _ in range(3)))
    run(log).end()
    projection = log.definitions.model.projections["t"]
    picture = reading.rows(log, projection, RowFilter(totals=["a", "b"]), built=False)
    assert dict(picture.totals) == {"a": 0.9, "b": 3 * (2**63 - 1)}
    with pytest.raises(UsageError, match="c is not a column of numbers"):
        reading.rows(log, projection, RowFilter(totals=["c"]), built=False)


@pytest.mark.parametrize(
    ("values", "total"),
    [
        pytest.param(["0.1", "0.2"], 0.3, id="fractions"),
        pytest.param(["9223372036854775807", "1"], 2**63, id="a large integer"),
        pytest.param(["12345678901234567890.5", "0.25"], Decimal("12345678901234567890.75"), id="many digits"),
        pytest.param(["1e400", "1"], 10**400 + 1, id="beyond a double"),
        pytest.param(["1.5", "x"], None, id="a text that is no number"),
        pytest.param(["1.5", " 1"], None, id="a number with a blank"),
        pytest.param(["1.5", "true"], None, id="another JSON value"),
    ],
)
def test_a_sum_of_decimals_in_texts_is_exact(log: EventLog, values: list[str], total: object) -> None:
    hold(
        log,
        "[projection.t]\ntable = 'create table t(k integer primary key, a text)'\n[projection.t.on]\n"
        "'*' = \"insert into t values (new.position, new.data ->> 'a')\"",
    )
    put(log, *(any_event("s-1", data={"a": value}) for value in values))
    run(log).end()
    asked = RowFilter(totals=["a"])
    if total is None:
        with pytest.raises(UsageError, match="a is not a column of numbers"):
            reading.rows(log, log.definitions.model.projections["t"], asked, built=False)
    else:
        found = reading.rows(log, log.definitions.model.projections["t"], asked, built=False)
        assert dict(found.totals) == {"a": total}


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
    with pytest.raises(HandlerError, match="the projection sums cannot be built up to that point") as raised:
        built(log.path, "sums", until=4)
    assert raised.value.why == "on.T fails on the event at position 3, T in s-1: CHECK constraint failed: n < 9"
    assert raised.value.fix == "esctl show 3"
    assert (raised.value.details["position"], raised.value.details["field"]) == (3, "projection.sums.on.T")


def test_without_handlers_there_is_no_past(log: EventLog) -> None:
    hold(log, "[projection.rows]\ntable = 'create table rows(k primary key)'\n")
    put(log, event("x"))
    with pytest.raises(HandlerError, match="the projection rows has no handlers in the model"):
        built(log.path, "rows", until=2)


def test_a_point_of_the_command_line_is_a_query(sums: EventLog) -> None:
    with EventLog(sums.path) as reader:
        for _ in reading.at(reader, versions.declared(reader, "sums"), query_of(reader, None, until="#3")):
            pass
        assert [row[0] for row in shown(reader, "sums", built=True)] == ["x", "y"]
