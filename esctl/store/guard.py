"""What a connection may do while SQL of a model runs on it."""

from __future__ import annotations

import apsw

from esctl.sql.judge import FAIL, deterministic_functions, permitted

_WRITES = {
    apsw.SQLITE_INSERT, apsw.SQLITE_UPDATE, apsw.SQLITE_DELETE, apsw.SQLITE_CREATE_TABLE, apsw.SQLITE_DROP_TABLE
}  # fmt: skip
_CHANGES = {apsw.SQLITE_INSERT, apsw.SQLITE_UPDATE, apsw.SQLITE_DELETE}
NOTE = "esctl_note"  # a function that records which event a handler is given
FED = "esctl_run_"  # how the triggers of projections begin


class Guard:
    """Lets this package's own statements do everything, but write to a log that was opened for reading; and what a
    model says only read and write its folds, or the tables of its projection.
    """

    def __init__(self, connection: apsw.Connection, *, write: bool) -> None:
        self._functions = deterministic_functions(connection) | {FAIL}
        self._write = write
        self.tables: dict[str, set[str]] = {}  # what the handlers of a projection may use, by the view that feeds them
        self.present: set[str] = set()  # the tables of the log, of which a handler may read only its own
        self.defining = ""  # the trigger that is being made of a model's text, if one is

    def __call__(  # SQLite's own signature
        self, action: int, first: str | None, second: str | None, database: str | None, inside: str | None
    ) -> int:
        """Allow or deny an action, within a trigger or view (`inside`) or outside."""
        if self.defining:
            return apsw.SQLITE_OK if self._defines(action, first) else apsw.SQLITE_DENY
        writes = action in _WRITES and database == "main"
        if writes and not self._write:
            return apsw.SQLITE_DENY
        if inside is None or not inside.startswith("esctl_"):
            return apsw.SQLITE_OK
        if inside.startswith(FED):
            view = inside.rpartition("_")[0]
            own = {*self.tables.get(view, ()), view}
            allowed = action in _CHANGES and first in own
            allowed = allowed or (action == apsw.SQLITE_FUNCTION and second == NOTE)
            if action == apsw.SQLITE_READ and first not in own and (first or "").lower() in self.present:
                return apsw.SQLITE_DENY
        else:
            own = {name for name in (first,) if name and name.startswith("esctl_")}
            allowed = action == apsw.SQLITE_INSERT and bool(own)
        allowed = allowed or permitted(action, first, second, own, self._functions)
        return apsw.SQLITE_OK if allowed else apsw.SQLITE_DENY

    def _defines(self, action: int, first: str | None) -> bool:
        """Making one temporary trigger, and nothing else: not what may follow its end."""
        if action == apsw.SQLITE_CREATE_TEMP_TRIGGER:
            return first == self.defining
        made = action in (apsw.SQLITE_INSERT, apsw.SQLITE_UPDATE, apsw.SQLITE_READ)
        return made and (first or "") in ("sqlite_temp_master", "sqlite_temp_schema")
