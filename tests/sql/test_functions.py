"""The SQL functions of esctl are there wherever SQL of users and models runs, and cost nothing until called."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing

import apsw
import pytest

from esctl.sql.conditions import check_condition
from esctl.sql.functions import NAMES, define
from esctl.sql.judge import Judge
from tests.conftest import Esctl

CALLS = ["decimal_cmp('0.1', '0.10') = 0", "utc('2026-01-31T09:30+01:00') = '2026-01-31T08:30:00.000000Z'"]


@pytest.mark.parametrize("call", CALLS)
def test_conditions_may_call_them(call: str) -> None:
    check_condition(call)


@pytest.mark.parametrize("call", CALLS)
def test_expressions_of_a_model_may_call_them(call: str) -> None:
    assert Judge().expression(call, state=False) == ""


@pytest.mark.parametrize("call", CALLS)
def test_an_open_log_has_them(run: Esctl, call: str) -> None:
    assert run("query", f"select {call} as holds").stdout == '{"holds":1}\n'


def test_defining_them_loads_neither_decimal_nor_datetime() -> None:
    program = "import apsw, sys; from esctl.sql.functions import define; define(apsw.Connection(':memory:'));"
    program += "print([name for name in ('decimal', 'datetime', 're') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], env={}, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_they_have_the_names_that_are_listed() -> None:
    with closing(apsw.Connection(":memory:")) as connection:
        sql = "select distinct name from pragma_function_list"
        before = {name for (name,) in connection.execute(sql)}
        define(connection)
        assert {name for (name,) in connection.execute(sql)} - before == set(NAMES)


def test_a_function_that_was_defined_answers() -> None:
    with closing(apsw.Connection(":memory:")) as connection:
        define(connection)
        assert connection.execute("select decimal_add('0.1', '0.2')").get == 0.3
