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
    plain = [name for name in CONDITION_COLUMNS if f"new.{name}" in lower]
    simple = sum(lower.count(f"new.{name}") for name in plain)
    if lower.count("new") == simple + lower.count(" as new)"):  # nearly always; `re` would slow a cold start
        return [name for name in CONDITION_COLUMNS if name in plain or (failing and name == "position")]
    import re  # noqa: PLC0415

    used = {name.lower() for name in re.findall(_USED, sql, re.IGNORECASE | re.DOTALL)}
    used |= {"position"} if failing else set()
    return [name for name in CONDITION_COLUMNS if name in used]


FIELD_PATH = r"'(?:\w+|\$(?:\.\w+)+)'"  # ASCII


_USED = rf"\bnew[\"`\]]?{GAP}\.{GAP}[\"`\[]?(\w+)"
