"""Check compiled SQL that is stored in a log: a stranger may have written it."""

from __future__ import annotations

from esctl.model.compiled import Compiled
from esctl.sql.conditions import CONDITION_COLUMNS
from esctl.sql.judge import Judge, is_taken
from esctl.sql.payload import is_field, is_field_of_payload


def wrong(compiled: Compiled) -> str:
    """What is wrong with a stored compiled projection; only the SQL that runs outside its own triggers is checked."""
    for table in compiled.tables:
        if is_taken(table):
            return f"the table {table} belongs to the log itself"
    for name, expression in compiled.columns.items():
        field = is_field(name) and is_field_of_payload(expression)
        if not field and (name not in CONDITION_COLUMNS or expression != name):
            return f"{expression} is not a column of an event"
    expressions = {
        sql
        for schemas in compiled.upcasting.values()
        for shapes in schemas.values()
        for shape in shapes
        for sql in (shape.data, shape.hidden)
        if sql is not None
    }
    if not expressions:
        return ""
    judge = Judge(failing=True)
    try:
        return next((why for sql in expressions if (why := judge.expression(sql, state=False))), "")
    finally:
        judge.close()
