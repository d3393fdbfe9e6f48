"""How two states of a projection's rows differ, cell by cell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from esctl.errors import ConflictError, NotFoundError, UsageError
from esctl.events.query import Query
from esctl.evolution.plan import drafted
from esctl.log import EventLog
from esctl.model.applied import Applied, Definitions
from esctl.projections import differences, versions
from esctl.projections.differences import Cell
from esctl.upkeep import erasure
from tests.logs import hold, put, run
from tests.projections.sums import BAG, ORDERS, SUMS, drawn, event


def cells(found: Iterator[int | Cell]) -> list[tuple[Any, ...]]:
    """Differences as tuples: the change, the key's values, column, before, after."""
    only = (one for one in found if isinstance(one, Cell))
    return [(one.change, *one.key.values(), one.column, one.before, one.after) for one in only]


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


def test_rows_from_before_an_erasure_that_goes_on_are_not_checked(sums: EventLog) -> None:
    list(erasure.erase(sums, [2], "they asked"))
    with pytest.raises(ConflictError, match="the rows of sums are from before an erasure"):
        cells(differences.checked(sums, "sums"))
    erasure.scrub(sums)
    assert cells(differences.checked(sums, "sums")) == []


def test_tables_that_refer_to_each_other_are_checked(log: EventLog) -> None:
    hold(log, ORDERS)
    put(log, event("x"), event("y"))
    run(log).end()
    with EventLog(log.path) as reader:
        assert cells(differences.checked(reader, "orders")) == []
