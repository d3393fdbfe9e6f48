"""Tokens say whether a text may be one SQL expression."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esctl.sql.tokens import tokens, unclosed, why_not_one_expression, words_of


@pytest.mark.parametrize("sql", ["1", "(1)", "'('", '"("', "[(]", "`(`", "1 -- (", "/* ( */ 1", "'it''s ('", "x'00'"])
def test_a_text_whose_brackets_and_quotes_are_closed_may_be_an_expression(sql: str) -> None:
    assert why_not_one_expression(sql) == ""


@pytest.mark.parametrize("sql", ["", "(", ")", ")(", "';", "1;", "/*", "1 /* *", "--", "raise(x)", "Raise (x)"])
def test_a_text_whose_tokens_are_no_expression_is_told_why(sql: str) -> None:
    assert why_not_one_expression(sql)


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("a + 1.5", ["a", "+", "1", ".", "5"]),
        ("'it''s' || \"a b\"", ["'it''s'", "|", "|", "a b"]),
        ("[a b].`c` -- no 'word'\n= 1", ["a b", ".", "c", "=", "1"]),
        ("/* (1) */ f(x)", ["f", "(", "x", ")"]),
        ("'never closed; --", ["'never closed; --"]),
        ("", []),
    ],
)
def test_words_are_tokens_without_comments_and_names_without_quotes(sql: str, words: list[str]) -> None:
    assert words_of(sql) == words


TOKENS = st.sampled_from(
    ["a", "_b1", "'x'", "'it''s'", '"n"', '"a""b"', "`c`", "[d e]", "(", ")", ",", "/* c */", "'--'"]
)


@given(st.lists(TOKENS))
def test_tokens_are_found_where_they_stand(parts: list[str]) -> None:
    sql = " ".join(parts)
    found = list(tokens(sql))
    assert [match[0] for match in found] == [part for part in parts if not part.startswith("/*")]
    assert all(sql[match.start() : match.end()] == match[0] for match in found)


@pytest.mark.parametrize(
    ("sql", "opening"),
    [
        ("1", ""), ("'a''b'", ""), ("/**/", ""), ("[a]", ""), ("'", "'"), ("'a''", "'"), ('1 + "a', '"'),
        ("`", "`"), ("[a", "["), ("/*", "/*"), ("1 /*/", "/*"), ("-- '", ""),
    ],
)  # fmt: skip
def test_what_is_never_closed_is_named(sql: str, opening: str) -> None:
    assert unclosed(sql) == opening
