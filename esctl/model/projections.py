"""A projection's tables and handlers: judged in an empty database under an authorizer, and compiled."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from itertools import pairwise

import apsw

from esctl.errors import RefusedError
from esctl.events.query import Shape, Upcasting
from esctl.model.compiled import Compiled
from esctl.model.declared import ANY, Projection, fingerprint
from esctl.sql.clock import names_dates, reads_clock
from esctl.sql.judge import Denied, Judge, is_taken
from esctl.sql.payload import FIELD_PATH, columns_of
from esctl.sql.quoting import quoted
from esctl.sql.tokens import tokens, unclosed

ENGINE = 1  # part of every fingerprint: raised when the same definition begins to give other rows
_OF_A_VERSION = re.compile(r"__\d+$")  # how the tables of versions that are not live end
_CLOCK_DEFAULTS = re.compile(r"current_(?:time|date|timestamp)", re.IGNORECASE)
_INDEX = re.compile(
    r"""(CREATE (?:UNIQUE )?INDEX )(?:"(?:[^"]|"")*"|'(?:[^']|'')*'|`(?:[^`]|``)*`|\[[^]]*]|(?:[\w$]|[^\x00-\x7f])+)"""
)
_SCHEMA = ("sqlite_master", "sqlite_schema")
_MADE = (apsw.SQLITE_INSERT, apsw.SQLITE_UPDATE, apsw.SQLITE_READ)
MOST_OPCODES = 10_000_000  # of a statement that only makes a table or an index
_TABLE = "CREATE TABLE "
MOST_FIELDS = 6  # that each event is asked for, whichever handler wants them
_FIELD = re.compile(
    rf"new\s*\.\s*data\s*->>\s*(?P<path>{FIELD_PATH})(?!['\w])(?!\s*(?:--|/\*))(?!\s*collate\b)",
    re.IGNORECASE | re.ASCII,
)
_TIGHT = {"|", ">", "-", "+", "~", "."}  # before an operand these may bind as tightly as ->>, or more


class ProjectionJudge(Judge):
    """Tables, indexes and handlers of all projections of a model, which may not get in each other's way."""

    def __init__(self) -> None:
        super().__init__()
        self._connection.config(apsw.SQLITE_DBCONFIG_LEGACY_ALTER_TABLE, 1)
        self._connection.execute("pragma foreign_keys = on").fetchall()
        self._connection.set_progress_handler(lambda: True, MOST_OPCODES)

    def problems(self, projection: Projection) -> Iterator[tuple[str, str, str]]:
        """What is wrong with the SQL of a projection: the key where, what, and what may have been meant."""
        for key, why in self._found(projection):
            yield key, why, "a projection may only touch its own tables" if isinstance(why, Denied) else ""

    def _found(self, projection: Projection) -> Iterator[tuple[str, str]]:
        keys = {name: "table" if name == projection.name else f"tables.{name}" for name in projection.tables}
        for name, sql in projection.tables.items():
            if why := self.table(name, sql):
                yield keys[name], why
        for number, sql in enumerate(projection.indexes, 1):
            if why := self.index(sql, projection.tables):
                yield f"indexes[{number}]", why
        made = [name for name in projection.tables if self.columns(name)]
        for name in made:
            if why := self._own_references(name, projection.tables) or self._renamed(name):
                yield keys[name], why
        for type_, sql in projection.on.items():
            if why := self.handler(sql, projection.tables):
                yield f"on.{type_}", why
        known = {column.lower() for name in projection.tables for column, _ in self.columns(name)}
        for column in projection.columns:
            if known and column.lower() not in known:
                yield f"columns.{column}", f"no table of the projection has it; they have {', '.join(sorted(known))}"

    def columns(self, table: str) -> list[tuple[str, str | None]]:
        """The columns of a table that was made, with the expressions that are their defaults."""
        return self._connection.execute("select name, dflt_value from pragma_table_xinfo(?)", (table,)).fetchall()  # type: ignore[return-value]  # these two

    def table(self, name: str, sql: str) -> str:
        """What is wrong with a statement that has to make the table of a name, and does for what is judged later."""
        if reason := self._unfit(sql) or _why_not_own(name):
            return reason
        if self.columns(name):
            return f"another projection has the table {name}"
        if reason := self._shaping(sql, {name}, f"it makes no table {name}") or _why_not_one_table(name, sql):
            return reason
        for column, default in self.columns(name):
            if default is not None and (
                _CLOCK_DEFAULTS.fullmatch(default) or names_dates(default) or self.expression(default, state=False)
            ):
                return f"the default of {column} is not always the same value: {default}"
        return ""

    def index(self, sql: str, tables: Collection[str]) -> str:
        """What is wrong with a statement that has to index one of these tables."""
        return self._unfit(sql) or self._shaping(sql, set(tables), "")

    def _unfit(self, sql: str) -> str:
        try:
            sql.encode()
        except UnicodeEncodeError:
            return "it is not valid UTF-8"
        if "\0" in sql:
            return "it holds a NUL"
        if left := unclosed(sql):
            return f"{left} is never closed"
        if forbidden := next((why for match in tokens(sql) if (why := _FORBIDDEN.get(match[0].lower()))), None):
            return forbidden
        return "it reads the clock or the time zone: a rebuild would give another result" if reads_clock(sql) else ""

    def _own_references(self, name: str, tables: Collection[str]) -> str:
        """Foreign keys lead to the projection's own tables: to any other they would forbid the log to change it."""
        own = {table.lower() for table in tables}
        for (parent,) in self._connection.execute('select "table" from pragma_foreign_key_list(?)', (name,)):
            if str(parent).lower() not in own:
                return Denied(f"it may not refer to the table {parent}")
        return ""

    def _renamed(self, name: str) -> str:
        """Why a table cannot stand beside another version of itself under another name for a while."""
        away = f"{name}__0"
        try:
            self._connection.execute(f"alter table {quoted(name)} rename to {quoted(away)}").fetchall()
            self._connection.execute(f"alter table {quoted(away)} rename to {quoted(name)}").fetchall()
        except apsw.Error as error:
            reason = str(error).replace(away, name).replace(" after rename", "")
            return f"{reason}: within the table, say the column alone" if "no such column" in reason else reason
        return ""

    def _shaping(self, sql: str, tables: set[str], otherwise: str) -> str:
        """Run a statement that may make these tables and indexes on them, and nothing else."""

        def allowed(action: int, first: str | None, second: str | None, _: str | None, __: str | None) -> int:
            own = {
                apsw.SQLITE_CREATE_TABLE: first in tables,
                apsw.SQLITE_CREATE_INDEX: second in tables and not is_taken(first or ""),
                apsw.SQLITE_REINDEX: True,
                apsw.SQLITE_INSERT: first in _SCHEMA,
                apsw.SQLITE_UPDATE: first in _SCHEMA,
                apsw.SQLITE_READ: first in _SCHEMA or first in tables,
                apsw.SQLITE_SELECT: True,
                apsw.SQLITE_FUNCTION: (second or "").lower() in self._deterministic,
            }.get(action, False)
            if action == apsw.SQLITE_CREATE_INDEX and (first or "").startswith("sqlite_autoindex_"):
                own = True
            return self._answer(action, first, second, allowed=own)

        self._denied = ""
        try:
            self._connection.authorizer = allowed
            self._connection.execute(sql).fetchall()
        except apsw.Error as error:
            return self._denied or str(error)
        finally:
            self._connection.authorizer = None
        there = {name for (name,) in self._connection.execute("select name from sqlite_schema where type = 'table'")}
        return "" if tables <= there else otherwise

    def handler(self, sql: str, tables: Collection[str]) -> str:
        """What is wrong with statements that are run for an event, and may read and write these tables."""
        if reason := self._unfit(sql):
            return reason
        words = [match[0].lower() for match in tokens(sql)]
        for at, word in enumerate(words):
            if word in ("main", "temp") and words[at + 1 : at + 2] == ["."]:
                return f"names may not be qualified by a database: {''.join(words[at : at + 3])}"
        own = {*self._tables, *tables}
        there = {str(name) for (name,) in self._connection.execute("select name from sqlite_schema")}
        others = {name.lower() for name in there} - {name.lower() for name in own}
        self._denied = ""

        def creating(action: int, first: str | None, second: str | None, _: str | None, __: str | None) -> int:
            trigger = action == apsw.SQLITE_CREATE_TRIGGER and first == "judged"
            return self._answer(action, first, second, allowed=trigger or (action in _MADE and first in _SCHEMA))

        def running(action: int, first: str | None, second: str | None, _: str | None, trigger: str | None) -> int:
            if action == apsw.SQLITE_READ and trigger is not None and (first or "").lower() in others:
                return self._answer(action, first, second, allowed=False)
            writing = action in (apsw.SQLITE_INSERT, apsw.SQLITE_UPDATE, apsw.SQLITE_DELETE) and first in own
            return apsw.SQLITE_OK if writing else self._allow(action, first, second, trigger, own)

        try:
            self._connection.execute("drop trigger if exists judged")
            self._connection.authorizer = creating  # what ends the trigger's body ends in another statement
            self._connection.execute(
                f"create trigger judged instead of insert on {self._own}feed begin {body(sql)} end"
            ).fetchall()
            self._connection.authorizer = running
            self._connection.execute(f"explain insert into {self._own}feed (position) values (1)").fetchall()
        except apsw.Error as error:
            missing = re.fullmatch(r"no such table: (?:main\.)?(.*)", str(error))
            touched = missing and Denied(f"it may not touch {missing[1]}: it has no such table")
            return self._denied or touched or str(error)
        finally:
            self._connection.authorizer = None
            self._connection.execute("drop trigger if exists judged")
        return ""

    def statements(self, tables: Collection[str]) -> tuple[dict[str, str], dict[str, str]]:
        """How tables that were made, and the indexes on them, are made again: without IF NOT EXISTS, the name of an
        index as `{name}`.
        """
        names = {str(name).lower(): name for name in tables}
        made: tuple[dict[str, str], dict[str, str]] = {}, {}
        sql = "select type, name, tbl_name, sql from sqlite_schema where sql is not null order by rowid"
        for kind, name, table, text in self._connection.execute(sql):
            if str(table).lower() in names and kind == "table":
                made[0][names[str(name).lower()]] = str(text).removeprefix(_TABLE)
            elif str(table).lower() in names and kind == "index":
                made[1][str(name)] = _INDEX.sub(
                    lambda match: f"{match[1]}{{name}}", str(text).replace("{", "{{").replace("}", "}}"), count=1
                )
        return made


def _why_not_own(name: str) -> str:
    """Why a projection's table may not have a name."""
    if is_taken(name):
        return f"the name {name} is taken by the log or by SQLite"
    return f"the name {name} ends as those of older versions do" if _OF_A_VERSION.search(name) else ""


# Words that no statement of a projection may have, since what they do ends the transaction, or fails at its end.
_FORBIDDEN = {
    "rollback": Denied("it may not roll back: a failure undoes what the event did"),
    "raise": Denied("it may not call raise()"),
    "deferred": Denied("it may not defer: what refers to a row is checked at once"),
}


def _why_not_one_table(name: str, sql: str) -> str:
    """Why a text is not one CREATE TABLE with columns."""
    words = [match[0].lower() for match in tokens(sql)]
    if any(word == ";" for word in words[:-1]):
        return "it is more than one statement"
    columns = words.index("(") if "(" in words else len(words)
    return Denied(f"it may not fill the table {name}: it has columns, and no AS") if "as" in words[:columns] else ""


def body(sql: str) -> str:
    """Statements as the body of a trigger: what comes after the last is left out, and it ends in a semicolon."""
    found = list(tokens(sql))
    while found and found[-1][0] == ";":
        found.pop()
    return f"{sql[: found[-1].end()] if found else ''}\n;"


def compiled(projection: Projection, upcasting: Upcasting) -> Compiled:
    """A projection, ready to run. Raises RefusedError for one that something is wrong with: it is judged once more."""
    judge = ProjectionJudge()
    try:
        for key, why, _ in judge.problems(projection):
            raise RefusedError(f"projection.{projection.name}.{key}: {why}", fix="esctl help model")
        tables, indexes = judge.statements(projection.tables)
    finally:
        judge.close()
    fields: dict[str, str] = {}
    handlers = {type_: _given(body(sql), fields) for type_, sql in projection.on.items()}
    if len(fields) > MOST_FIELDS:
        fields, handlers = {}, {type_: body(sql) for type_, sql in projection.on.items()}
    columns = dict.fromkeys(columns_of("\n".join(handlers.values()), failing=False))
    return Compiled(
        {name: tables[name] for name in projection.tables},
        indexes,
        handlers,
        {name: name for name in columns} | {column: expression for expression, column in fields.items()},
        seen(projection, upcasting),
    )


def _given(sql: str, fields: dict[str, str]) -> str:
    """A handler that is given fields of the payload as columns, in place of `new.data ->> 'field'`: what SQLite puts
    aside of each event is then small, and its JSON is parsed once (measured 1.15 times as fast). `fields` gets them:
    the column by its expression.

    Left alone is what might mean something else: `a || new.data ->> 'x'` takes `a || new.data` apart, and a path that
    is wrong fails only where its handler runs.
    """

    def column(match: re.Match[str]) -> str:
        expression = f"data ->> {match['path']}"
        return f"new.{fields.setdefault(expression, f'esctl_field_{len(fields) + 1}')}"

    words = [match[0].lower() for match in tokens(sql)]
    if any(word == "new" and after != "." for word, after in pairwise([*words, ""])):
        return sql  # somebody else is called so
    parts, before, at = [], "", 0
    for match in tokens(sql):
        if match.start() < at:
            continue
        found = _FIELD.match(sql, match.start()) if before not in _TIGHT else None
        if found:
            parts += [sql[at : match.start()], column(found)]
            at = found.end()
        before = match[0]
    return "".join([*parts, sql[at:]])


def seen(projection: Projection, upcasting: Upcasting) -> Upcasting:
    """The upcasts that a projection's handlers may see: of types that they name, or that become one of these."""
    if ANY in projection.on or not projection.on:  # a function is given every event
        return upcasting
    named = set(projection.on)
    return {
        type_: schemas
        for type_, schemas in upcasting.items()
        if type_ in named or any(shape.type in named for shapes in schemas.values() for shape in shapes)
    }


def mark(projection: Projection, upcasting: Upcasting) -> str:
    """The fingerprint of what decides a projection's rows."""
    return fingerprint(ENGINE, projection.tables, projection.indexes, projection.on, _said(seen(projection, upcasting)))


def _said(upcasting: Upcasting) -> Mapping[str, Mapping[str, tuple[tuple[object, ...], ...]]]:
    def told(shape: Shape) -> tuple[object, ...]:
        return shape.type, shape.schema, shape.data, shape.part, shape.hidden

    return {
        type_: {str(schema): tuple(map(told, shapes)) for schema, shapes in schemas.items()}
        for type_, schemas in upcasting.items()
    }
