"""SQL for values: sums of any two numbers, against Python's decimals, and how a failure is told."""

from __future__ import annotations

import json
from decimal import Context, Decimal

import apsw
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from esctl.model.values import converted, fail, total
from esctl.sql import decimals
from esctl.sql.judge import FAIL

EXACT = Context(prec=5000)
NUMBERS = [
    "0", "-0", "0.0", "1e3", "1E-3", "9223372036854775807", "-9223372036854775808", "-9223372036854775807", "0.1",
    "12345678901", "99999999999.9", "1234567890123456.7", "1e308", "5e-324", "18446744073709551616",
]  # fmt: skip
a_number = (
    st.sampled_from(NUMBERS)
    | st.integers(-(2**64), 2**64).map(str)
    | st.floats(allow_nan=False, allow_infinity=False).map(repr)
    | st.decimals(-(10**14), 10**14, places=2).map(str)
)


def run(expression: str, data: str) -> object:
    connection = apsw.Connection(":memory:")

    def failing(position: object, reason: object) -> None:
        raise LookupError(position, reason)

    decimals.define(connection)
    connection.create_scalar_function(FAIL, failing, 2)  # type: ignore[arg-type]  # it takes any two values
    return connection.execute(f"select {expression} from (select ? as data, 7 as position) as new", (data,)).get


@given(left=a_number, right=a_number, sign=st.sampled_from("+-"))
@example(left="-9223372036854775808", right="0.5", sign="+")
@example(left="-9223372036854775807", right="-1", sign="+")
@example(left="0.7", right="0.1", sign="+")
def test_a_total_of_any_two_numbers_is_exact(left: str, right: str, sign: str) -> None:
    here, there = "new.data -> '$.l'", "new.data -> '$.r'"
    sql = total(sign, "new.data ->> '$.l'", here, "new.data ->> '$.r'", there)
    got = run(sql, f'{{"l":{left},"r":{right}}}')
    assert isinstance(got, str)
    json.loads(got)
    assert Decimal(got) == (EXACT.add if sign == "+" else EXACT.subtract)(Decimal(left), Decimal(right))


def test_a_failure_has_the_position_and_the_reason() -> None:
    with pytest.raises(LookupError) as failed:
        run(fail("it's so"), "{}")
    assert failed.value.args == (7, "it's so")


def test_a_conversion_reaches_names_with_dots_and_elements() -> None:
    data = '{"a.b":"1.50","l":["2"]}'
    assert run(converted("new.data", '"a.b"', "number"), data) == '{"a.b":1.50,"l":["2"]}'
    assert run(converted("new.data", "l[0]", "integer"), data) == '{"a.b":"1.50","l":[2]}'
