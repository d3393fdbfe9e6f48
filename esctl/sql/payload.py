"""Find which columns of an event, and which fields of its payload, an SQL expression uses."""

from __future__ import annotations

from esctl.sql.conditions import CONDITION_COLUMNS
from esctl.sql.tokens import GAP


def is_field(name: str) -> bool:
    """Whether a name is a generated column name for a payload field (`esctl_field_1`)."""
    import re  # noqa: PLC0415 - only a cold start that checks SQL needs it

    return re.fullmatch(r"esctl_field_\d+", name) is not None


def is_field_of_payload(expression: str) -> bool:
    """Whether an expression only extracts a field of the payload."""
    import re  # noqa: PLC0415

    return re.fullmatch(rf"data ->> {FIELD_PATH}", expression, re.ASCII) is not None


def columns_of(sql: str, *, failing: bool = True) -> list[str]:
    """The columns of `new` that SQL names; with `failing`, also the position, which FAIL reports."""
    lower = sql.lower()
    pieces = lower.split("new")
    words = any(piece[-1:].isalnum() or piece[-1:] == "_" for piece in pieces[:-1])  # such as renew
    if not words and all(piece.startswith(_USUAL) for piece in pieces[1:]):  # without `re`, which slows a cold start
        used = {name for name in CONDITION_COLUMNS if f"new.{name}" in lower}
    else:
        import re  # noqa: PLC0415

        used = {name.lower() for name in re.findall(_USED, sql, re.IGNORECASE | re.DOTALL)}
    used |= {"position"} if failing else set()
    return [name for name in CONDITION_COLUMNS if name in used]


FIELD_PATH = r"'(?:\w+|\$(?:\.\w+)+)'"  # ASCII


_USED = rf"\bnew[\"`\]]?{GAP}\.{GAP}[\"`\[]?(\w+)"
_USUAL = (")", *(f".{name}" for name in CONDITION_COLUMNS))  # what follows `new`: as new), new.data
