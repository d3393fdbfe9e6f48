"""What SQL over an event takes: which columns, which fields of the payload."""

from __future__ import annotations

from esctl.sql.conditions import CONDITION_COLUMNS
from esctl.sql.tokens import GAP


def is_field(name: str) -> bool:
    """Whether a name is one that this package gives to a field of the payload."""
    import re  # noqa: PLC0415 - a cold start that judges no SQL does without

    return re.fullmatch(r"esctl_field_\d+", name) is not None


def is_field_of_payload(expression: str) -> bool:
    """Whether an expression takes a field out of the payload, and does nothing else."""
    import re  # noqa: PLC0415

    return re.fullmatch(rf"data ->> {FIELD_PATH}", expression, re.ASCII) is not None


def columns_of(sql: str, *, failing: bool = True) -> list[str]:
    """Which columns of `new` SQL names; with `failing`, with what a failure has to name."""
    import re  # noqa: PLC0415

    used = {name.lower() for name in re.findall(_USED, sql, re.IGNORECASE | re.DOTALL)}
    used |= {"position"} if failing else set()
    return [name for name in CONDITION_COLUMNS if name in used]


FIELD_PATH = r"'(?:\w+|\$(?:\.\w+)+)'"  # ASCII


_USED = rf"\bnew[\"`\]]?{GAP}\.{GAP}[\"`\[]?(\w+)"
