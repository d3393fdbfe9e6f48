"""Exact arithmetic on values of SQL, against Python's decimals."""

from __future__ import annotations

from decimal import Context, Decimal

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esctl.sql import arithmetic

WIDE = Context(prec=5000)
a_number = st.integers(-(2**70), 2**70).map(str) | st.floats(allow_nan=False, allow_infinity=False).map(repr)


@given(left=a_number, right=a_number, sign=st.sampled_from("+-"))
def test_a_total_is_a_json_number_and_exact(left: str, right: str, sign: str) -> None:
    made = arithmetic.total(sign, left, right)
    assert Decimal(made) == (WIDE.add if sign == "+" else WIDE.subtract)(Decimal(left), Decimal(right))
    assert apsw.Connection(":memory:").execute("select json_valid(?)", (made,)).get == 1


@pytest.mark.parametrize(
    ("left", "right", "made"),
    [("130.00", "0", "130.00"), ("1e3", "0.5", "1000.5"), ("1e300", "1e300", "2E+300"), ("0.1", "0.20", "0.30")],
)
def test_a_total_keeps_the_decimals_of_both(left: str, right: str, made: str) -> None:
    assert arithmetic.total("+", left, right) == made


@given(value=st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_of_sql_stays_that_number(value: float) -> None:
    result = arithmetic.add(value, 0)
    assert (result, type(result)) == (value, type(value))


def test_a_number_of_very_many_characters_is_refused() -> None:
    with pytest.raises(apsw.SQLError, match="more than 20,000 characters"):
        arithmetic.mul("1" * 20_001, "1")
