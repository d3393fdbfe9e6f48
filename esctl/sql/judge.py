"""Check a model's SQL in an empty database under an authorizer; and the authorizer for read-only queries."""

from __future__ import annotations

import os
from functools import cache

import apsw

from esctl.sql import functions
from esctl.sql.clock import reads_clock
from esctl.sql.tokens import why_not_one_expression

# What a query may do: read, call functions, recurse. The authorizer denies every other kind of statement.
_ALLOWED = {apsw.SQLITE_SELECT, apsw.SQLITE_READ, apsw.SQLITE_RECURSIVE}
_FORBIDDEN_FUNCTIONS = {"load_extension", "fts3_tokenizer", "edit", "writefile", "readfile", "zeroblob"}


def authorize_reading(action: int, _: str | None, second: str | None, __: str | None, ___: str | None) -> int:
    """An authorizer that allows a statement to read tables and views, and nothing else."""
    if action == apsw.SQLITE_FUNCTION:
        return apsw.SQLITE_DENY if (second or "").lower() in _FORBIDDEN_FUNCTIONS else apsw.SQLITE_OK
    return apsw.SQLITE_OK if action in _ALLOWED else apsw.SQLITE_DENY


_TABLES = """
create table {0}fold({0}key primary key, {0}result, state) without rowid;
create table {0}bare({0}key primary key, {0}result) without rowid;
create view {0}feed as select 1 as position, 's' as stream, 1 as version, 'i' as id, 'T' as type, 1 as schema,
                           't' as time, 'r' as recorded, '' as data, '' as meta;"""
_TABLE_FUNCTIONS = {"json_each", "json_tree"}  # table-valued functions that depend on their arguments only


FAIL = "esctl_fail"
"""An SQL function of (position, message) that raises, for an event to which an operation cannot be applied."""


TRACE = "esctl_trace"
"""An SQL function of (place, value) that gives the value, and notes the place: what fails next is at this place."""


_ACTIONS = {
    apsw.SQLITE_ATTACH: "attach a database",
    apsw.SQLITE_PRAGMA: "use a pragma",
    apsw.SQLITE_INSERT: "insert into {0}",
    apsw.SQLITE_UPDATE: "update {0}",
    apsw.SQLITE_DELETE: "delete from {0}",
    apsw.SQLITE_READ: "read the table {0}",
    apsw.SQLITE_CREATE_TABLE: "create the table {0}",
    apsw.SQLITE_CREATE_VIEW: "create the view {0}",
    apsw.SQLITE_CREATE_VTABLE: "create the virtual table {0}",
    apsw.SQLITE_CREATE_INDEX: "create an index on {1}",
    apsw.SQLITE_CREATE_TRIGGER: "create a trigger",
    apsw.SQLITE_FUNCTION: "call {1}()",
}


class Denied(str):
    """The message for an action that a model's SQL may not do."""

    __slots__ = ()


def _denied(action: int, first: str | None, second: str | None) -> Denied:
    """The message for an action that the authorizer denied."""
    description = _ACTIONS.get(action, f"do that ({apsw.mapping_authorizer_function.get(action, action)})")
    return Denied(f"it may not {description.format(first, second)}")


class Judge:
    """Compiles a model's SQL in an empty database under an authorizer and reports what is wrong; runs none of it."""

    def __init__(self, *, failing: bool = False) -> None:
        """With `failing`, expressions may call FAIL, as compiled operations do."""
        self._connection = apsw.Connection(":memory:")
        functions.define(self._connection)
        if failing:
            self._connection.create_scalar_function(FAIL, lambda *_: None, 2)
        self._connection.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 0)
        self._connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)
        self._own = f"t{os.urandom(8).hex()}_"  # a prefix that no model can guess, for the judge's own tables
        self._tables = {f"{self._own}{name}" for name in ("fold", "bare", "feed")}
        self._connection.execute(_TABLES.format(self._own)).fetchall()
        self._deterministic = deterministic_functions(self._connection) | ({FAIL} if failing else set())
        self._denied = ""

    def expression(self, sql: str, *, state: bool) -> str:
        """What is wrong with a scalar expression over `new` (and `state`, if set); empty if nothing is."""
        try:
            sql.encode()
        except UnicodeEncodeError:
            return "it is not valid UTF-8"
        if "\0" in sql:
            return "it contains a NUL"
        if reason := why_not_one_expression(sql):
            return reason
        if reads_clock(sql):
            return "it reads the clock or the time zone: a replay would give another result"
        own, target = self._own, "fold" if state else "bare"
        self._denied = ""
        body = f"update {own}{target} set {own}result = ({sql}\n)"
        try:
            self._connection.execute("drop trigger if exists judged")
            self._connection.execute(f"create trigger judged instead of insert on {own}feed begin {body}; end")
            self._connection.authorizer = self._authorize
            self._connection.execute(f"explain insert into {own}feed (position) values (1)")
        except apsw.Error as error:
            return self._denied or str(error)
        finally:
            self._connection.authorizer = None
        return ""

    def _authorize(self, action: int, first: str | None, second: str | None, _: str | None, trigger: str | None) -> int:
        return self._allow(action, first, second, trigger, self._tables)

    def _allow(self, action: int, first: str | None, second: str | None, trigger: str | None, tables: set[str]) -> int:
        allowed = trigger is None or permitted(action, first, second, tables, self._deterministic)
        return self._answer(action, first, second, allowed=allowed)

    def _answer(self, action: int, first: str | None, second: str | None, *, allowed: bool) -> int:
        """Return the authorizer's answer, and remember the first action that is not allowed."""
        if not allowed and not self._denied:
            self._denied = _denied(action, first, second)
            if action == apsw.SQLITE_FUNCTION:
                reason = ": only functions whose result depends on their arguments alone"
                if second in functions.NAMES:
                    reason = " here: other programs that read the table do not have it; call it in a handler"
                self._denied = Denied(self._denied + reason)
        return apsw.SQLITE_OK if allowed else apsw.SQLITE_DENY

    def close(self) -> None:
        """Close the empty database."""
        self._connection.close()


@cache
def _modules() -> set[str]:
    return {str(name) for (name,) in apsw.Connection(":memory:").execute("select name from pragma_module_list")}


# Names that the log uses, or reserves for later.
RESERVED = (
    "head", "streams", "types", "events", "log", "snapshots", "segments", "frames", "archived", "archived_streams",
    "archived_types", "archived_ids", "erased", "leftovers", "projections", "block_summaries",
    "block_type_summaries", "type_summaries", "reactions", "dead_letters", "esctl_links", "checkpoints",
    "feed", "new", "old", "excluded", "state", "states", "json_each", "json_tree", "_sqlite_migrations"
)  # fmt: skip


def is_taken(name: str) -> bool:
    """Whether a name is reserved: for a table of the log, or by SQLite."""
    lower = name.lower()
    return lower.startswith(("sqlite_", "pragma_", "esctl_")) or lower in _modules() or lower in RESERVED


def permitted(action: int, first: str | None, second: str | None, tables: set[str], functions: set[str]) -> bool:
    """Whether a definition may do an action, if it may read and update these tables and call these functions."""
    if action == apsw.SQLITE_FUNCTION:
        return (second or "").lower() in functions
    if action == apsw.SQLITE_READ:
        return first in tables or first in _TABLE_FUNCTIONS or (second == "" and not is_taken(first or ""))
    if action == apsw.SQLITE_UPDATE:
        return first in tables
    return action in (apsw.SQLITE_SELECT, apsw.SQLITE_RECURSIVE)


def deterministic_functions(connection: apsw.Connection) -> set[str]:
    """The names of SQLite's deterministic functions, and of its aggregate and window functions."""
    flagged = connection.execute("select name from pragma_function_list where flags & 0x800 or type in ('a', 'w')")
    return {name for (name,) in flagged} - _FORBIDDEN_FUNCTIONS
