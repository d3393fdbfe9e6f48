"""A text or a name comes out of SQL as it went in, whatever it is made of."""

from __future__ import annotations

from contextlib import closing

import apsw
from hypothesis import example, given
from hypothesis import strategies as st

from esctl.sql.quoting import quoted, text

# SQL ends at a NUL, and no name or text of a log has one there.
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


@given(TEXTS)
@example("it's")
@example("''")
@example("\\'; drop table t; --")
def test_a_text_is_the_value_of_its_literal(value: str) -> None:
    with closing(apsw.Connection(":memory:")) as connection:
        assert connection.execute(f"select {text(value)}").get == value


@given(TEXTS.filter(bool))
@example('a"b')
@example("select")
@example("x) as (select 1")
def test_a_name_is_the_name_of_a_column(name: str) -> None:
    with closing(apsw.Connection(":memory:")) as connection:
        connection.execute(f"create table t({quoted(name)})")
        assert connection.execute("select name from pragma_table_info('t')").get == name
