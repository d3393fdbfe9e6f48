"""Rows of one table of a projection: read, written, copied, and compared with those of another table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import apsw
import pytest

from esctl.sql import decimals
from esctl.store.projection_rows import TableRows


@pytest.fixture
def connection() -> Iterator[apsw.Connection]:
    with closing(apsw.Connection(":memory:")) as connection:
        decimals.define(connection)
        yield connection


def table(connection: apsw.Connection, sql: str, *values: str, schema: str = "main") -> TableRows:
    """A table `t` with rows."""
    connection.execute(f"create table {schema}.t{sql}").fetchall()
    if values:
        connection.execute(f"insert into {schema}.t values {', '.join(values)}").fetchall()
    return TableRows(connection.execute, schema, "t")


def pair(connection: apsw.Connection, sql: str, here: str, there: str) -> tuple[TableRows, TableRows]:
    return table(connection, sql, here), table(connection, sql, there, schema="temp")


# Columns and keys


def test_columns_are_in_the_order_of_the_table_and_the_key_is_in_its_own(connection: apsw.Connection) -> None:
    rows = table(connection, '(a, "b c", d as (a + 1), e, primary key (e, a))')
    assert (rows.columns, rows.key) == (["a", "b c", "d", "e"], ["e", "a"])


def test_a_table_without_a_primary_key_has_no_key(connection: apsw.Connection) -> None:
    assert table(connection, "(a)").key == []


def test_a_temporary_table_of_the_same_name_is_another_table(connection: apsw.Connection) -> None:
    log = table(connection, "(a primary key)", "(1)")
    built = table(connection, "(a, b primary key)", "(2, 3)", schema="temp")
    assert (log.columns, log.key, list(log.all())) == (["a"], ["a"], [(1,)])
    assert (built.columns, built.key, list(built.all())) == (["a", "b"], ["b"], [(2, 3)])
    log.delete((1,))
    assert (log.count(), built.count()) == (0, 1)


# Reading


def test_rows_are_read_in_the_order_of_the_key(connection: apsw.Connection) -> None:
    rows = table(connection, "(a, b, primary key (b, a))", "(1, 2)", "(2, 1)", "(3, 1)")
    assert rows.read()[0] == [(2, 1), (3, 1), (1, 2)]


def test_rows_without_a_key_are_read_as_they_stand(connection: apsw.Connection) -> None:
    assert table(connection, "(a)", "(2)", "(1)").read()[0] == [(2,), (1,)]


def test_rows_are_read_by_condition_order_and_limit(connection: apsw.Connection) -> None:
    rows = table(connection, "(a primary key, b)", "(1, 5)", "(2, 5)", "(3, 4)", "(4, 9)")
    assert rows.read("b < 9 -- a comment", [("b", "desc"), ("a", "desc")], 2)[0] == [(2, 5), (1, 5)]


def test_sums_are_of_the_rows_that_are_read(connection: apsw.Connection) -> None:
    rows = table(connection, "(a primary key, b, c)", "(1, 5, null)", "(2, 0.5, null)", "(3, 7, null)")
    assert rows.read("a < 3", sums=["b", "c"])[1] == {"b": 5.5, "c": 0}
    assert rows.read(limit=1, sums=["b"])[1] == {"b": 5}


def test_a_column_with_other_values_than_numbers_has_no_sum(connection: apsw.Connection) -> None:
    rows = table(connection, "(a primary key, b)", "(1, 5)", "(2, 'six')")
    assert rows.read(sums=["a", "b"])[1] == {"a": 3, "b": None}
    assert rows.read("a < 2", sums=["b"])[1] == {"b": 5}


# Writing


def test_a_row_is_written_found_and_deleted_by_its_key(connection: apsw.Connection) -> None:
    rows = table(connection, "(a, b, c default 7, primary key (a, b))")
    rows.replace((1, "x"), {"c": 3})
    rows.replace((1, "y"), {"a": 9, "b": "the key counts"})
    assert rows.get((1, "x")) == {"a": 1, "b": "x", "c": 3}
    assert rows.get((1, "y")) == {"a": 1, "b": "y", "c": 7}
    rows.replace((1, "x"), {"c": 4})
    assert (rows.keys(), rows.count()) == ([(1, "x"), (1, "y")], 2)
    rows.delete((1, "y"))
    rows.delete((1, "z"))
    assert (list(rows.all()), rows.get((1, "y"))) == ([(1, "x", 4)], None)


# Copying


@pytest.mark.parametrize(
    ("sql", "name"),
    [("(a, b as (a * 2))", "rowid"), ("(rowid, b as (rowid * 2))", "_rowid_"), ("(rowid, _rowid_)", "oid")],
)
def test_a_table_is_filled_with_rows_and_their_numbers(connection: apsw.Connection, sql: str, name: str) -> None:
    log, built = table(connection, sql), table(connection, sql, schema="temp")
    first = log.columns[0]
    connection.execute(f"insert into main.t({name}, {first}) values (7, 1), (3, 2)").fetchall()
    built.fill(log)
    assert list(built.all()) == list(log.all())
    assert connection.execute(f"select {name} from temp.t order by {name}").fetchall() == [(3,), (7,)]


def test_a_table_without_row_numbers_is_filled(connection: apsw.Connection) -> None:
    log, built = pair(connection, "(a primary key) without rowid", "(1), (2)", "(3)")
    built.fill(log)
    assert list(built.all()) == [(1,), (2,), (3,)]


def test_a_copy_has_the_rows_and_an_index_on_the_key(connection: apsw.Connection) -> None:
    rows = table(connection, "(a, b primary key, c as (a * 2))", "(1, 'x')")
    rows.copy_to("esctl_copy")
    copy = TableRows(connection.execute, "temp", "esctl_copy", rows.key)
    rows.delete(("x",))
    assert (copy.columns, copy.key, list(copy.all())) == (["a", "b", "c"], ["b"], [(1, "x", 2)])
    plan = connection.execute("explain query plan select * from esctl_copy where b = 'x'").fetchall()
    assert "USING INDEX esctl_copy_key" in str(plan)


# Comparing


def test_rows_that_the_other_table_lacks_are_told_by_the_key(connection: apsw.Connection) -> None:
    here, there = pair(connection, "(a, b, primary key (a, b))", "(3, 1), (2, null), (1, 1)", "(1, 1), (9, 9)")
    assert list(here.missing_from(there, here.key)) == [(2, None), (3, 1)]
    assert list(there.missing_from(here, here.key)) == [(9, 9)]


def test_rows_of_one_key_are_compared_column_by_column(connection: apsw.Connection) -> None:
    here, there = pair(
        connection, "(a primary key, b, c)", "(1, 1, 1), (2, 1, null), (3, 1, 1)", "(1, 1, 2), (2, 1, null)"
    )
    assert list(here.changed(there, ["a"], ["b", "c"])) == [(1, 1, 1, 1, 2)]


def test_a_column_that_one_table_lacks_is_null_there(connection: apsw.Connection) -> None:
    here = table(connection, "(a primary key, b)", "(1, 5)", "(2, null)")
    there = table(connection, "(a primary key)", "(1)", "(2)", schema="temp")
    assert list(here.changed(there, ["a"], ["b"])) == [(1, 5, None)]


def test_rows_without_a_key_are_counted(connection: apsw.Connection) -> None:
    here, there = pair(connection, "(a, b)", "(1, null), (1, null), (1, null), (2, 2)", "(1, null), (3, 3)")
    found = [row[:2] for row in here.surplus(there, ["a", "b"])]
    assert found == [(1, None), (1, None), (2, 2)]
    assert [row[:2] for row in there.surplus(here, ["a", "b"])] == [(3, 3)]
