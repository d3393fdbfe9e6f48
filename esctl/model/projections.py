"""Check a projection's tables and handlers in an empty database under an authorizer, and compile them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from itertools import pairwise

import apsw

from esctl.errors import RefusedError
from esctl.events.query import Shape, Upcasting
from esctl.model.compiled import Compiled, types_of
from esctl.model.declared import ANY, Projection, fingerprint
from esctl.sql.clock import names_dates, reads_clock
from esctl.sql.functions import NAMES
from esctl.sql.judge import Denied, Judge, is_taken
from esctl.sql.payload import FIELD_PATH, columns_of
from esctl.sql.quoting import quoted
from esctl.sql.tokens import tokens, unclosed

ROWS = 1  # part of every fingerprint: raise it when the same definition gives other rows
_VERSION_SUFFIX = re.compile(r"__\d+$")  # of the tables of versions that are not live
_CLOCK_DEFAULTS = re.compile(r"current_(?:time|date|timestamp)", re.IGNORECASE)
_INDEX = re.compile(
    r"""(CREATE (?:UNIQUE )?INDEX )(?:"(?:[^"]|"")*"|'(?:[^']|'')*'|`(?:[^`]|``)*`|\[[^]]*]|(?:[\w$]|[^\x00-\x7f])+)"""
)
_SCHEMA = ("sqlite_master", "sqlite_schema")
_ACCESS = (apsw.SQLITE_INSERT, apsw.SQLITE_UPDATE, apsw.SQLITE_READ)
MAX_OPCODES = 10_000_000  # of a statement that only creates a table or an index
_TABLE = "CREATE TABLE "
MAX_FIELDS = 6  # payload fields extracted from every event, whichever handler uses them
_FIELD = re.compile(
    rf"new\s*\.\s*data\s*->>\s*(?P<path>{FIELD_PATH})(?!['\w])(?!\s*(?:--|/\*))(?!\s*collate\b)",
    re.IGNORECASE | re.ASCII,
)
_TIGHT = {"|", ">", "-", "+", "~", "."}  # operators that may bind as tightly as ->>, or tighter


class ProjectionJudge(Judge):
    """Checks the tables, indexes and handlers of all projections of a model, which must not touch each other's."""

    def __init__(self) -> None:
        super().__init__()
        self._connection.config(apsw.SQLITE_DBCONFIG_LEGACY_ALTER_TABLE, 1)
        self._connection.execute("pragma foreign_keys = on").fetchall()
        self._connection.set_progress_handler(lambda: True, MAX_OPCODES)

    def problems(self, projection: Projection) -> Iterator[tuple[str, str, str]]:
        """What is wrong with the SQL of a projection: key, problem, hint."""
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
        created = [name for name in projection.tables if self.columns(name)]
        for name in created:
            if why := self._foreign_keys(name, projection.tables) or self._rename(name):
                yield keys[name], why
        for type_, sql in projection.on.items():
            if why := self.handler(sql, projection.tables):
                yield f"on.{type_}", why
        known = {column.lower() for name in projection.tables for column, _ in self.columns(name)}
        for column in projection.columns:
            if known and column.lower() not in known:
                yield f"columns.{column}", f"no table of the projection has it; they have {', '.join(sorted(known))}"

    def columns(self, table: str) -> list[tuple[str, str | None]]:
        """The columns of a created table, with their default expressions."""
        return self._connection.execute("select name, dflt_value from pragma_table_xinfo(?)", (table,)).fetchall()  # type: ignore[return-value]  # these two

    def table(self, name: str, sql: str) -> str:
        """Run a statement that has to create this table, for the checks that follow; return what is wrong with it."""
        if reason := self._unfit(sql) or _name_problem(name):
            return reason
        if self.columns(name):
            return f"another projection has the table {name}"
        if reason := self._create(sql, {name}, f"it does not create the table {name}") or _why_not_one_table(name, sql):
            return reason
        for column, default in self.columns(name):
            if default is not None and (
                _CLOCK_DEFAULTS.fullmatch(default) or names_dates(default) or self.expression(default, state=False)
            ):
                return f"the default of {column} is not always the same value: {default}"
        return ""

    def index(self, sql: str, tables: Collection[str]) -> str:
        """Run a statement that has to index one of these tables; return what is wrong with it."""
        return self._unfit(sql) or self._create(sql, set(tables), "")

    def _unfit(self, sql: str) -> str:
        """What is wrong with any SQL of a projection, judged by its tokens."""
        try:
            sql.encode()
        except UnicodeEncodeError:
            return "it is not valid UTF-8"
        if "\0" in sql:
            return "it contains a NUL"
        if opening := unclosed(sql):
            return f"{opening} is never closed"
        if forbidden := next((why for match in tokens(sql) if (why := _FORBIDDEN.get(match[0].lower()))), None):
            return forbidden
        return "it reads the clock or the time zone: a rebuild would give another result" if reads_clock(sql) else ""

    def _foreign_keys(self, name: str, tables: Collection[str]) -> str:
        """Why a foreign key is forbidden: to a table of the log, it would keep the log from changing that table."""
        own = {table.lower() for table in tables}
        for (parent,) in self._connection.execute('select "table" from pragma_foreign_key_list(?)', (name,)):
            if str(parent).lower() not in own:
                return Denied(f"it may not refer to the table {parent}")
        return ""

    def _rename(self, name: str) -> str:
        """Why a table cannot be renamed, as it is while another version of the projection is live."""
        away = f"{name}__0"
        try:
            self._connection.execute(f"alter table {quoted(name)} rename to {quoted(away)}").fetchall()
            self._connection.execute(f"alter table {quoted(away)} rename to {quoted(name)}").fetchall()
        except apsw.Error as error:
            reason = str(error).replace(away, name).replace(" after rename", "")
            return f"{reason}: within the table, write only the column's name" if "no such column" in reason else reason
        return ""

    def _create(self, sql: str, tables: set[str], otherwise: str) -> str:
        """Run a statement that may create these tables and indexes on them, and nothing else. Return what is wrong with
        it, or `otherwise` if a table is missing afterwards.
        """

        def allowed(action: int, first: str | None, second: str | None, _: str | None, __: str | None) -> int:
            own = {
                apsw.SQLITE_CREATE_TABLE: first in tables,
                apsw.SQLITE_CREATE_INDEX: second in tables and not is_taken(first or ""),
                apsw.SQLITE_REINDEX: True,
                apsw.SQLITE_INSERT: first in _SCHEMA,
                apsw.SQLITE_UPDATE: first in _SCHEMA,
                apsw.SQLITE_READ: first in _SCHEMA or first in tables,
                apsw.SQLITE_SELECT: True,
                apsw.SQLITE_FUNCTION: (second or "").lower() in self._deterministic - {*NAMES},
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
        existing = {name for (name,) in self._connection.execute("select name from sqlite_schema where type = 'table'")}
        return "" if tables <= existing else otherwise

    def handler(self, sql: str, tables: Collection[str]) -> str:
        """What is wrong with a handler: statements that run for an event, and may read and write these tables."""
        if reason := self._unfit(sql):
            return reason
        words = [match[0].lower() for match in tokens(sql)]
        for at, word in enumerate(words):
            if word in ("main", "temp") and words[at + 1 : at + 2] == ["."]:
                return f"names may not be qualified by a database: {''.join(words[at : at + 3])}"
        own = {*self._tables, *tables}
        existing = {str(name) for (name,) in self._connection.execute("select name from sqlite_schema")}
        others = {name.lower() for name in existing} - {name.lower() for name in own}
        self._denied = ""

        def creating(action: int, first: str | None, second: str | None, _: str | None, __: str | None) -> int:
            trigger = action == apsw.SQLITE_CREATE_TRIGGER and first == "judged"
            return self._answer(action, first, second, allowed=trigger or (action in _ACCESS and first in _SCHEMA))

        def running(action: int, first: str | None, second: str | None, _: str | None, trigger: str | None) -> int:
            if action == apsw.SQLITE_READ and trigger is not None and (first or "").lower() in others:
                return self._answer(action, first, second, allowed=False)
            writing = action in (apsw.SQLITE_INSERT, apsw.SQLITE_UPDATE, apsw.SQLITE_DELETE) and first in own
            return apsw.SQLITE_OK if writing else self._allow(action, first, second, trigger, own)

        try:
            self._connection.execute("drop trigger if exists judged")
            self._connection.authorizer = creating  # denies what follows the trigger, if the handler ends it
            self._connection.execute(
                f"create trigger judged instead of insert on {self._own}feed begin {body(sql)} end"
            ).fetchall()
            self._connection.authorizer = running
            self._connection.execute(f"explain insert into {self._own}feed (position) values (1)").fetchall()
        except apsw.Error as error:
            missing = re.fullmatch(r"no such table: (?:main\.)?(.*)", str(error))
            touched = missing and Denied(f"it may not touch {missing[1]}: the projection has no such table")
            return self._denied or touched or str(error)
        finally:
            self._connection.authorizer = None
            self._connection.execute("drop trigger if exists judged")
        return ""

    def statements(self, tables: Collection[str]) -> tuple[dict[str, str], dict[str, str]]:
        """The CREATE statements of these tables and of their indexes, by name: without IF NOT EXISTS, tables without
        `CREATE TABLE`, and with `{name}` for the name of an index.
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


def _name_problem(name: str) -> str:
    """Why a projection's table may not have this name; empty if it may."""
    if is_taken(name):
        return f"the name {name} is taken by the log or by SQLite"
    return f"the name {name} ends like that of an older version's table" if _VERSION_SUFFIX.search(name) else ""


# Words that no statement of a projection may contain, since they end the transaction, or make it fail at its end.
_FORBIDDEN = {
    "rollback": Denied("it may not roll back: a failure undoes what the event did"),
    "raise": Denied("it may not call raise()"),
    "deferred": Denied("it may not defer: foreign keys are checked at once"),
}


def _why_not_one_table(name: str, sql: str) -> str:
    """Why a text is not one CREATE TABLE with columns."""
    words = [match[0].lower() for match in tokens(sql)]
    if any(word == ";" for word in words[:-1]):
        return "it is more than one statement"
    columns = words.index("(") if "(" in words else len(words)
    return Denied(f"it may not fill the table {name}: declare columns, not AS") if "as" in words[:columns] else ""


def body(sql: str) -> str:
    """Statements as the body of a trigger: without trailing comments, and ending in one semicolon."""
    found = list(tokens(sql))
    while found and found[-1][0] == ";":
        found.pop()
    return f"{sql[: found[-1].end()] if found else ''}\n;"


def compiled(projection: Projection, upcasting: Upcasting) -> Compiled:
    """Check and compile a projection. Raises RefusedError if something is wrong with it."""
    judge = ProjectionJudge()
    try:
        for key, why, _ in judge.problems(projection):
            raise RefusedError(f"projection.{projection.name}.{key}: {why}", fix="esctl help model")
        tables, indexes = judge.statements(projection.tables)
    finally:
        judge.close()
    fields: dict[str, str] = {}
    handlers = {type_: _with_fields(body(sql), fields) for type_, sql in projection.on.items()}
    if len(fields) > MAX_FIELDS:
        fields, handlers = {}, {type_: body(sql) for type_, sql in projection.on.items()}
    columns = dict.fromkeys(columns_of("\n".join(handlers.values()), failing=False))
    return Compiled(
        {name: tables[name] for name in projection.tables},
        indexes,
        handlers,
        {name: name for name in columns} | {column: expression for expression, column in fields.items()},
        seen(projection, upcasting),
    )


def _with_fields(sql: str, fields: dict[str, str]) -> str:
    """Replace `new.data ->> 'field'` in a handler by a generated column, which is added to `fields`, by expression.

    SQLite then buffers less of each event, and parses its JSON once (measured: 1.15 times as fast). What could mean
    something else is left alone: `a || new.data ->> 'x'` is `(a || new.data) ->> 'x'`, and a wrong path must fail only
    when its handler runs.
    """

    def column(match: re.Match[str]) -> str:
        expression = f"data ->> {match['path']}"
        return f"new.{fields.setdefault(expression, f'esctl_field_{len(fields) + 1}')}"

    words = [match[0].lower() for match in tokens(sql)]
    if any(word == "new" and after != "." for word, after in pairwise([*words, ""])):
        return sql  # a table or column has the name `new`
    parts, before, end = [], "", 0
    for match in tokens(sql):
        if match.start() < end:
            continue
        found = _FIELD.match(sql, match.start()) if before not in _TIGHT else None
        if found:
            parts += [sql[end : match.start()], column(found)]
            end = found.end()
        before = match[0]
    return "".join([*parts, sql[end:]])


def seen(projection: Projection, upcasting: Upcasting) -> Upcasting:
    """The upcasts that affect a projection's handlers: of the types that they name, or that become one of these."""
    named = set(types_of(projection.on))
    if ANY in named or not named:  # a Python function gets every event
        return upcasting
    return {
        type_: schemas
        for type_, schemas in upcasting.items()
        if type_ in named or any(shape.type in named for shapes in schemas.values() for shape in shapes)
    }


def mark(projection: Projection, upcasting: Upcasting) -> str:
    """The fingerprint of everything that determines a projection's rows."""
    return fingerprint(ROWS, projection.tables, projection.indexes, projection.on, _flat(seen(projection, upcasting)))


def _flat(upcasting: Upcasting) -> Mapping[str, Mapping[str, tuple[tuple[object, ...], ...]]]:
    def values(shape: Shape) -> tuple[object, ...]:
        return shape.type, shape.schema, shape.data, shape.part, shape.hidden

    return {
        type_: {str(schema): tuple(map(values, shapes)) for schema, shapes in schemas.items()}
        for type_, schemas in upcasting.items()
    }
