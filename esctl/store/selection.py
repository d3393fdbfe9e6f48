"""Chosen fields of events as SQL: the JSON text of each, and lines of JSON with all of them."""

from __future__ import annotations

import json
from collections.abc import Sequence

from esctl.events.event import has_control
from esctl.events.json import quoted
from esctl.sql.paths import sql_path
from esctl.sql.quoting import text
from esctl.store.errors import altered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.events.fields import Field

STEPS = 900  # SQLite takes no path of 1,000 steps
_COLUMNS = {
    "position": "position || ''",
    "version": "version || ''",
    "schema": "schema || ''",
    "time": "'\"' || time || '\"'",
    "recorded": "'\"' || recorded || '\"'",
    "part": "iif(part, part || '', 'null')",
    "erased": "iif(data is null, 'true', 'null')",
}


def json_of(field: Field) -> str:
    """The expression of a field's JSON text: `null` if the event has no such field. Numbers keep their spelling."""
    if field.column in _COLUMNS:
        return _COLUMNS[field.column]
    if field.column not in ("data", "meta"):
        return f"json_quote({field.column})"
    value = field.column
    for start in range(0, len(field.path), STEPS):
        value += f" -> {sql_path(field.path[start : start + STEPS])}"
    return f"ifnull({value}, 'null')"


def refuse_controls(path: str, value: str) -> None:
    """Raise VerificationError for the JSON text of a name or a time with a control character."""
    if has_control(value) or (value[:1] == '"' and "\\" in value and has_control(str(json.loads(value)))):
        raise altered(path, "an event")


def line_of(fields: Sequence[Field]) -> str:
    """The expression of a line, without its LF: a JSON object of the fields, in their order, as bytes."""
    shape = ",".join(f"{quoted(field.name).replace('%', '%%')}:%s" for field in fields)
    return f"cast(printf({text(f'{{{shape}}}')}, {', '.join(map(json_of, fields))}) as blob)"
