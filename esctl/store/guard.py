"""What SQL may do on a connection while expressions of a model run."""

from __future__ import annotations

import apsw

from esctl.sql.judge import FAIL, TRACE, deterministic_functions, permitted
from esctl.store.schema import OWN

_WRITES = {
    apsw.SQLITE_INSERT, apsw.SQLITE_UPDATE, apsw.SQLITE_DELETE, apsw.SQLITE_CREATE_TABLE, apsw.SQLITE_DROP_TABLE
}  # fmt: skip
_CHANGES = {apsw.SQLITE_INSERT, apsw.SQLITE_UPDATE, apsw.SQLITE_DELETE}
RECORD = "esctl_record"  # the function that records which event a handler gets
FED = "esctl_run_"  # the names of projections' views and triggers begin so


class Guard:
    """An authorizer. Statements of this package may do everything, except write to a log opened for reading.

    Expressions of a model may only read and write their folds, or the tables of their projection.
    """

    def __init__(self, connection: apsw.Connection, *, write: bool) -> None:
        self._functions = deterministic_functions(connection) | {FAIL, TRACE}
        self._write = write
        self.tables: dict[str, set[str]] = {}  # which tables handlers may use, by the view that feeds them
        self.present: set[str] = set()  # all tables of the log; a handler may read only its own
        self.defining = ""  # the trigger that is being created from a model's text, if any

    def __call__(  # SQLite's signature
        self, action: int, first: str | None, second: str | None, database: str | None, inside: str | None
    ) -> int:
        """Allow or deny an action; `inside` is the trigger or view that contains it, if any."""
        if self.defining:
            return apsw.SQLITE_OK if self._defines(action, first) else apsw.SQLITE_DENY
        writes = action in _WRITES and database == "main"
        if writes and not self._write:
            return apsw.SQLITE_DENY
        if inside is None:
            return apsw.SQLITE_OK
        if not inside.startswith("esctl_"):  # others' trigger on a projection's table
            return apsw.SQLITE_DENY if writes and (first or "").lower() in OWN else apsw.SQLITE_OK
        if inside.startswith(FED):
            view = inside.rpartition("_")[0]
            own = {*self.tables.get(view, ()), view}
            allowed = action in _CHANGES and first in own
            allowed = allowed or (action == apsw.SQLITE_FUNCTION and second == RECORD)
            if action == apsw.SQLITE_READ and first not in own and (first or "").lower() in self.present:
                return apsw.SQLITE_DENY
        else:
            own = {name for name in (first,) if name and name.startswith("esctl_")}
            allowed = action == apsw.SQLITE_INSERT and bool(own)
        allowed = allowed or permitted(action, first, second, own, self._functions)
        return apsw.SQLITE_OK if allowed else apsw.SQLITE_DENY

    def _defines(self, action: int, first: str | None) -> bool:
        """Whether the action creates the one temporary trigger; anything after its end is denied."""
        if action == apsw.SQLITE_CREATE_TEMP_TRIGGER:
            return first == self.defining
        schema_change = action in (apsw.SQLITE_INSERT, apsw.SQLITE_UPDATE, apsw.SQLITE_READ)
        return schema_change and (first or "") in ("sqlite_temp_master", "sqlite_temp_schema")
