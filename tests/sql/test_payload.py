"""What SQL over an event takes of it: columns, and fields of the payload."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esctl.sql.conditions import CONDITION_COLUMNS
from esctl.sql.payload import columns_of, is_field, is_field_of_payload


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("esctl_field_0", True), ("esctl_field_12", True), ("esctl_field_", False), ("esctl_field_x", False),
        ("my_esctl_field_1", False), ("esctl_field_1 ", False), ("data", False), ("", False),
    ],
)  # fmt: skip
def test_a_field_has_a_name_that_no_user_gives(name: str, expected: bool) -> None:
    assert is_field(name) is expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("data ->> 'amount'", True), ("data ->> '$.a.b'", True), ("data ->> '$.items[0]'", False),
        ("data ->> 'a' || (select 1)", False), ("data ->> 'a''b'", False), ("data ->> 'é'", False),
        ("meta ->> 'a'", False), ("data -> 'a'", False), ("(data ->> 'a')", False), ("data", False),
    ],
)  # fmt: skip
def test_only_what_takes_one_field_and_does_nothing_else_is_a_field(expression: str, expected: bool) -> None:
    assert is_field_of_payload(expression) is expected


SPELLINGS = ("new.{}", "NEW.{}", '"new"."{}"', "[new].[{}]", "`new`.`{}`", "new /* of it */ . {}", "new --\n.{}")


@given(st.lists(st.tuples(st.sampled_from(CONDITION_COLUMNS), st.sampled_from(SPELLINGS))), st.booleans())
def test_columns_are_those_that_are_named_however_they_are_spelled(named: list[tuple[str, str]], failing: bool) -> None:
    sql = " + ".join(["1", *(spelling.format(column) for column, spelling in named)])
    wanted = {column for column, _ in named} | ({"position"} if failing else set())
    assert columns_of(sql, failing=failing) == [column for column in CONDITION_COLUMNS if column in wanted]


@pytest.mark.parametrize("sql", ["data", "renew.data", "old.data", "new", "new.nothing"])
def test_what_is_no_column_of_the_event_is_not_taken(sql: str) -> None:
    assert columns_of(sql, failing=False) == []
