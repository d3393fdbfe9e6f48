"""Tokens say whether a text may be one SQL expression."""

from __future__ import annotations

import pytest

from esctl.sql.tokens import why_not_one_expression


@pytest.mark.parametrize("sql", ["1", "(1)", "'('", '"("', "[(]", "`(`", "1 -- (", "/* ( */ 1", "'it''s ('", "x'00'"])
def test_a_text_whose_brackets_and_quotes_are_closed_may_be_an_expression(sql: str) -> None:
    assert why_not_one_expression(sql) == ""


@pytest.mark.parametrize("sql", ["", "(", ")", ")(", "';", "1;", "/*", "1 /* *", "--", "raise(x)", "Raise (x)"])
def test_a_text_whose_tokens_are_no_expression_is_told_why(sql: str) -> None:
    assert why_not_one_expression(sql)
