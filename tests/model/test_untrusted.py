"""A compiled projection that a file holds is judged before it runs: whoever wrote the file may have written it."""

from __future__ import annotations

import pytest

from esctl.events.query import Shape
from esctl.model.compiled import Compiled
from esctl.model.untrusted import wrong

TABLE = "create table counts(n)"


def compiled(table: str = "counts", columns: dict[str, str] | None = None, *shapes: Shape) -> Compiled:
    upcasting = {"T": {1: shapes}} if shapes else {}
    return Compiled({table: TABLE}, {}, {"T": "insert into counts values (1)"}, columns or {}, upcasting)


@pytest.mark.parametrize(
    "columns", [{}, {"position": "position", "data": "data"}, {"esctl_field_0": "data ->> 'amount'"}]
)
def test_what_this_esctl_compiles_is_not_wrong(columns: dict[str, str]) -> None:
    assert wrong(compiled("counts", columns, Shape("U", 2, "json(new.data)", 0, "new.version > 1"))) == ""


@pytest.mark.parametrize("table", ["events", "head", "EVENTS", "sqlite_master", "esctl_x", "json_each"])
def test_a_table_of_the_logs_own_is_no_projections(table: str) -> None:
    assert wrong(compiled(table)) == f"the table {table} belongs to the log itself"


@pytest.mark.parametrize(
    ("name", "expression"),
    [
        ("position", "version"),
        ("data", "(select data from events)"),
        ("esctl_field_0", "data ->> 'a' || load_extension('x')"),
        ("esctl_field_x", "data ->> 'a'"),
        ("salt", "salt"),
    ],
)
def test_a_column_is_one_of_an_event_or_a_field_of_its_payload(name: str, expression: str) -> None:
    assert wrong(compiled("counts", {name: expression})) == f"{expression} is not a column of an event"


@pytest.mark.parametrize(("data", "hidden"), [("(select data from events)", None), (None, "random() > 0")])
def test_an_upcast_does_nothing_but_compute(data: str | None, hidden: str | None) -> None:
    assert wrong(compiled("counts", None, Shape("U", 2, data, 0, hidden))) != ""
