"""What a condition on events implies of their type and time, as SQLite's planner sees it.

SQLite hands the terms that every matching row has to meet to a virtual table, with their values; this one records them,
and has no rows.
"""

from __future__ import annotations

import apsw

from esctl.sql import functions
from esctl.sql.conditions import CONDITION_COLUMNS
from esctl.sql.quoting import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Values = dict[str, Any]

_TABLE = "esctl_implied"
_NAMES = ("type", "time")
_OPERATORS = {
    apsw.SQLITE_INDEX_CONSTRAINT_EQ: "=",
    apsw.SQLITE_INDEX_CONSTRAINT_IS: "=",
    apsw.SQLITE_INDEX_CONSTRAINT_GE: ">=",
    apsw.SQLITE_INDEX_CONSTRAINT_GT: ">=",
    apsw.SQLITE_INDEX_CONSTRAINT_LE: "<=",
    apsw.SQLITE_INDEX_CONSTRAINT_LT: "<=",
}


class Implied:
    """The only types that an event may have, its least and its greatest time; None: any."""

    __slots__ = ("since", "types", "until")

    def __init__(self) -> None:
        self.types: set[str] | None = None
        self.since: str | None = None
        self.until: str | None = None

    def add(self, term: str, value: Any) -> None:
        """Take one more term into account: a name and an operator; of IN, the value is a set."""
        values: set[Any] = set(value) if isinstance(value, set | frozenset) else {value}
        if not all(isinstance(one, str) for one in values):
            return  # a number never equals the text of a column, and is less than any
        if term == "type =":
            self.types = values if self.types is None else self.types & values
        if term in ("time =", "time >=") and values:
            self.since = max(self.since or "", min(values))
        if term in ("time =", "time <=") and values:
            self.until = max(values) if self.until is None else min(self.until, max(values))


def implied(condition: str) -> Implied:
    """What a condition over events implies; nothing, if it cannot be compiled or has terms joined by OR."""
    lower = condition.lower()
    if not any(name in lower for name in _NAMES):
        return Implied()
    found, connection = _Recorded(), apsw.Connection(":memory:")
    functions.define(connection)
    source: Any = _Source(found, CONDITION_COLUMNS)
    connection.create_module(
        _TABLE, source, use_bestindex_object=True, eponymous=True, eponymous_only=True, read_only=True
    )
    try:
        connection.execute(f"select 1 from {_TABLE} where ({condition}\n)").fetchall()
    except (apsw.Error, ValueError, OverflowError):
        return Implied()
    finally:
        connection.close()
    return found.scans[0] if len(found.scans) == 1 else Implied()


class _Recorded:
    """A record for each scan: there are several if terms are joined by OR."""

    def __init__(self) -> None:
        self.scans: list[Implied] = []


class _Source:
    """See apsw.VTModule."""

    def __init__(self, found: _Recorded, columns: tuple[str, ...]) -> None:
        self._found, self._columns = found, columns

    def Connect(self, _: apsw.Connection, *__: str) -> tuple[str, _Table]:  # noqa: N802 - SQLite's names
        declared = ", ".join(f"{quoted(name)} text" if name in _NAMES else quoted(name) for name in self._columns)
        return f"create table {_TABLE} ({declared})", _Table(self._found, self._columns)

    Create = Connect


class _Table:
    """See apsw.VTTable."""

    def __init__(self, found: _Recorded, columns: tuple[str, ...]) -> None:
        self._found, self._columns = found, columns

    def BestIndexObject(self, info: apsw.IndexInfo) -> bool:  # noqa: N802
        """Ask for the values of the terms that are of use."""
        plan: list[str] = []
        for n in range(info.nConstraint):
            number, operator = info.get_aConstraint_iColumn(n), _OPERATORS.get(info.get_aConstraint_op(n))
            name = self._columns[number] if number >= 0 else ""
            compares_bytes = info.get_aConstraint_collation(n) == "BINARY"
            if name in _NAMES and operator and compares_bytes and info.get_aConstraint_usable(n):
                plan.append(f"{name} {operator}")
                info.set_aConstraintUsage_argvIndex(n, len(plan))
                if info.get_aConstraintUsage_in(n):
                    info.set_aConstraintUsage_in(n, True)
        info.idxStr = ",".join(plan)
        info.estimatedCost = 1e6 / (1 + len(plan))
        return True

    def Open(self) -> _Cursor:  # noqa: N802
        """A cursor."""
        return _Cursor(self._found)

    def Disconnect(self) -> None:  # noqa: N802
        """There is nothing to close."""

    Destroy = Disconnect


class _Cursor:
    """See apsw.VTCursor."""

    def __init__(self, found: _Recorded) -> None:
        self._found = found

    def Filter(self, _: int, plan: str, values: tuple[Any, ...]) -> None:  # noqa: N802
        """Record the terms of a scan."""
        made = Implied()
        for term, value in zip(plan.split(",") if plan else (), values, strict=True):
            made.add(term, value)
        self._found.scans.append(made)

    def Eof(self) -> bool:  # noqa: N802
        """There are no rows."""
        return True

    def Close(self) -> None:  # noqa: N802
        """There is nothing to close."""
