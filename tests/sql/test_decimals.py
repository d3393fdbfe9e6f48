"""Exact decimal functions in SQL, by table and against Python's decimals."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from decimal import Context, Decimal

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esctl.sql import decimals

CALLS = [
    ("decimal_add('1', '2')", 3),
    ("decimal_add(0.1, 0.2)", 0.3),
    ("decimal_add('0.10', 0.20)", 0.3),
    ("decimal_add(1, 0.5)", 1.5),
    ("decimal_add(1.5, 1.5)", 3.0),
    ("decimal_add(9223372036854775807, 1)", "9223372036854775808"),
    ("decimal_add(-9223372036854775808, 0.5)", "-9223372036854775807.5"),
    ("decimal_add('123456789012345678901.5', 0.1)", "123456789012345678901.6"),
    ("decimal_add(null, 1)", None),
    ("decimal_add(1, null)", None),
    ("decimal_add('1e3', '1')", 1001.0),
    ("decimal_sub(0.3, 0.1)", 0.2),
    ("decimal_sub(1, 3)", -2),
    ("decimal_mul(1.1, 1.1)", 1.21),
    ("decimal_mul(19, '0.07')", 1.33),
    ("decimal_mul(4611686018427387904, 4)", "18446744073709551616"),
    ("decimal_cmp('1.10', 1.1)", 0),
    ("decimal_cmp(1, 2.5)", -1),
    ("decimal_cmp('100000000000000000001', '100000000000000000000')", 1),
    ("decimal_cmp(null, 1)", None),
    ("(select decimal_sum(value) from json_each('[0.1,0.2,null,0.3]'))", 0.6),
    ("(select decimal_sum(value) from json_each('[1,2,3]'))", 6),
    ("(select decimal_sum(value) from json_each('[]'))", None),
    ("(select decimal_sum(value) from json_each('[null]'))", None),
    ("(select decimal_sum(value) from json_each('[9223372036854775807,1]'))", "9223372036854775808"),
]


@pytest.fixture
def connection() -> Iterator[apsw.Connection]:
    made = apsw.Connection(":memory:")
    decimals.define(made)
    yield made
    made.close()


@pytest.mark.parametrize(("call", "result"), CALLS)
def test_what_a_function_gives(connection: apsw.Connection, call: str, result: object) -> None:
    got = connection.execute(f"select {call}").get
    assert (got, type(got)) == (result, type(result))


@pytest.mark.parametrize("bad", ["'x'", "''", "'NaN'", "'1_000'", "' 1'", "x'00'", "9e999", "'Infinity'", "'--1'"])
@pytest.mark.parametrize("name", ["decimal_add", "decimal_sub", "decimal_mul", "decimal_cmp"])
def test_what_is_no_number_is_an_error_and_never_a_silent_zero(
    connection: apsw.Connection, name: str, bad: str
) -> None:
    with pytest.raises(apsw.SQLError, match=f"{name}: .* is not a number"):
        connection.execute(f"select {name}({bad}, 1)").fetchall()


def test_a_result_of_too_many_digits_is_an_error(connection: apsw.Connection) -> None:
    with pytest.raises(apsw.SQLError, match="more than 10,000 digits"):
        connection.execute("select decimal_add('1e99999', 1)").fetchall()


def test_a_sum_over_a_window_takes_away_what_leaves_it(connection: apsw.Connection) -> None:
    sql = (
        "select decimal_sum(value) over (order by key rows between 1 preceding and current row)"
        " from json_each('[0.1,0.2,0.3,null,null,1,2]')"
    )
    assert [one for (one,) in connection.execute(sql)] == [0.1, 0.3, 0.5, 0.3, None, 1, 3]


a_number = (
    st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**20), max_value=10**20).map(str)
)
WIDE = Context(prec=5000)


def as_decimal(value: object) -> Decimal:
    return Decimal(value) if isinstance(value, str) else Decimal(repr(value))


@given(left=a_number, right=a_number)
def test_results_are_those_of_decimals(left: float | str, right: float | str) -> None:
    connection = apsw.Connection(":memory:")
    decimals.define(connection)
    one, other = as_decimal(left), as_decimal(right)
    for name, exact in (("add", WIDE.add), ("sub", WIDE.subtract), ("mul", WIDE.multiply)):
        got = connection.execute(f"select decimal_{name}(?, ?)", (left, right)).get
        assert as_decimal(got) == exact(one, other)
    assert connection.execute("select decimal_cmp(?, ?)", (left, right)).get == (one > other) - (one < other)


@given(values=st.lists(a_number, min_size=1, max_size=6))
def test_a_sum_is_that_of_decimals_in_any_order(values: list[float | str]) -> None:
    connection = apsw.Connection(":memory:")
    decimals.define(connection)
    connection.execute("create table t(v)").fetchall()
    connection.executemany("insert into t values (?)", [(value,) for value in values])
    found = {connection.execute(f"select decimal_sum(v) from (select v from t order by v {way})").get
             for way in ("asc", "desc")}  # fmt: skip
    expected = Decimal(0)
    for value in values:
        expected = WIDE.add(expected, as_decimal(value))
    assert {as_decimal(one) for one in found} == {expected}


def test_no_arithmetic_is_loaded_before_a_function_is_called() -> None:
    program = """
import sys, apsw
from esctl.sql import decimals
connection = apsw.Connection(":memory:")
decimals.define(connection)
assert "esctl.sql.arithmetic" not in sys.modules
assert connection.execute("select decimal_add(1, 2)").get == 3
assert "esctl.sql.arithmetic" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
