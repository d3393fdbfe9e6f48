"""Projections in one SQLite file: their versions, their tables, and the feeding of their handlers.

Handlers name tables as the model does, and SQLite offers no other way to select one. So while a version that is not
live is fed, its tables trade names with those of the live one, within the transaction: no other connection sees that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext

import apsw

from esctl.errors import ConflictError, MisfitError
from esctl.events.query import Query
from esctl.model.compiled import (
    ANY,
    BUILDING,
    COMPILER,
    DROPPED,
    ERASED,
    LIVE,
    PREVIOUS,
    SCRATCH,
    Compiled,
    HandlerFailed,
    Version,
    types_of,
)
from esctl.sql.quoting import quoted, text
from esctl.store.blocks import Moment, Placed
from esctl.store.compiled_forms import CompiledForms
from esctl.store.errors import OverrunError, Patience, translating
from esctl.store.feed import TriggerFeed
from esctl.store.format import TEMP_STORE_IN_FILES
from esctl.store.guard import FED, RECORD, Guard
from esctl.store.projection_rows import TableRows
from esctl.store.windows import NOT_ARCHIVED, Reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from esctl.events.query import Upcasting
    from esctl.model.cache import Cache
    from esctl.store.imagined import Imagined
    from esctl.store.reads import Scan
    from esctl.store.upcasts import UpcastCompiler

POSITIONS_PER_FEED = 1000
_COLUMNS = "version, name, state, inline, model, held, fingerprint, compiled, reducer, position, made"
_FAILURE = "failed, handler, error, failed_at"
_COUNT_OWN_AFTER = f"""select
 (select count(*) from main.events as h where stream_id < 0 and position > ?1 and {NOT_ARCHIVED})
+ (select ifnull(sum(own), 0) from frames where first > ?1 and segment in (select first from segments))"""
_NUMBERS = "select name, type_id from carray(?) c cross join types on name = c.value"
_SIZE = """select ifnull(sum(pgsize), 0) from dbstat
where aggregate = 1 and name in (select name from sqlite_schema where tbl_name = ?)"""
_BEFORE = "esctl_before_"  # the names of copies begin so; a number follows


@translating
class Projections:
    """The projections of one connection."""

    def __init__(
        self,
        reading: Reading,
        guard: Guard,
        scan: Callable[[Query, Upcasting], Scan],
        patience: Patience,
        upcast_compiler: Callable[[], UpcastCompiler],
        cache: Callable[[], Cache | None],
    ) -> None:
        self._connection, self._execute = reading.connection, reading.connection.execute
        self._reading, self.path, self._guard = reading, reading.path, guard
        self._scan, self._upcast_compiler = scan, upcast_compiler
        self._patience = patience
        self._triggers = TriggerFeed(reading, guard, patience)
        self._forms = CompiledForms(self._connection, self.path, cache)
        self._temporary: set[str] = set()
        self._recorded: tuple[int, object] | None = None
        self._records = False
        # Otherwise SQLite would also change a renamed table's name in views and in other triggers.
        self._connection.config(apsw.SQLITE_DBCONFIG_LEGACY_ALTER_TABLE, 1)

    def _run(self, sql: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> None:
        self._execute(sql, parameters).fetchall()

    # Versions

    def versions(self, *, inline: bool = False) -> list[Version]:
        """Every version, by name, the live one first; with `inline`, only those that appends update."""
        only = "where inline and state = 'live' and failed is null" if inline else ""
        sql = f"select {_COLUMNS}, {_FAILURE} from projections {only} order by name, state <> 'live', state, version"
        return [self._version(row) for row in self._execute(sql).fetchall()]

    def version(self, number: int) -> Version | None:
        """One version as it is now; None if it no longer exists."""
        row = self._execute(f"select {_COLUMNS}, {_FAILURE} from projections where version = ?", (number,)).get
        return self._version(row) if row else None

    def _version(self, row: Any) -> Version:
        number, name, state, inline, model, held, fingerprint, serialized, *rest = row
        return Version(
            number, name, state, bool(inline), model, held, fingerprint, self._forms.decoded(serialized), *rest
        )

    def add(self, version: Version, serialized: str) -> None:
        """Within a transaction: save a new version, which gets its number, and create its tables. `serialized` is its
        compiled form as JSON. Raises ConflictError if a table's name is taken.
        """
        version.version = self._free(version)
        values = (
            version.version, version.name, version.state, version.inline, version.model, version.held,
            version.fingerprint, serialized, version.reducer, version.position, version.made
        )  # fmt: skip
        self._run(f"insert into projections ({_COLUMNS}) values ({', '.join('?' * len(values))})", values)
        renamed = self._rename_live(version) if version.state == BUILDING else []
        for table, statement in version.compiled.tables.items():
            if self._exists(table):
                raise self._conflict(version, table)
            self._run(f"create table {statement}")
        for name, statement in version.compiled.indexes.items():
            self._run(statement.format(name=quoted(f"{name}__{version.version}")))
        if version.state != LIVE:
            self._rename((table, version.actual(table)) for table in version.compiled.tables)
            self._rename((new, old) for old, new in renamed)

    def _free(self, version: Version) -> int:
        """A version number that is unused, and that gives no table or index a name that is taken."""
        number: int = self._execute("select 1 + ifnull(max(version), 0) from projections").get
        names = (*version.compiled.tables, *version.compiled.indexes)
        while any(self._exists(f"{name}__{number}") for name in names):
            number += 1
        return number

    def _exists(self, name: str) -> bool:
        """Whether the file has a table, index or view of a name. SQLite ignores case in names."""
        sql = "select exists(select 1 from main.sqlite_schema where lower(name) = lower(?))"
        return bool(self._execute(sql, (name,)).get)

    def _conflict(self, version: Version, table: str) -> ConflictError:
        """The error for a table whose name is taken."""
        owners = (v.name for v in self.versions() if table.lower() in {v.actual(t).lower() for t in v.compiled.tables})
        owner = next((owner for owner in owners if owner != version.name), None)
        return ConflictError(
            f"the projection {version.name} cannot have the table {table}: a table of that name exists",
            why=f"the projection {owner} still has it; apply a model without {owner} first"
            if owner
            else "somebody made it by hand, and esctl leaves it as it is; rename either",
            table=table,
        )

    def save(self, version: Version) -> None:
        """Within a transaction: save the present fields of a version."""
        self._run(
            "update projections set state = ?, inline = ?, model = ?, held = ?, reducer = ?, fingerprint = ?,"
            " position = ?, failed = ?, handler = ?, error = ?, failed_at = ? where version = ?",
            (
                version.state, version.inline, version.model, version.held, version.reducer, version.fingerprint,
                version.position, version.failed, version.handler, version.error, version.failed_at, version.version
            ),
        )  # fmt: skip

    def compared(self, version: Version) -> None:
        """Within a transaction: note that this esctl's compiler gives the version the same form, or that it is kept in
        spite of the model.
        """
        sql = "update projections set compiled = json_set(compiled, '$.engine', ?) where version = ?"
        self._run(sql, (COMPILER, version.version))

    def drop(self, version: Version, *, keep: bool = False) -> None:
        """Within a transaction: drop a version's tables; with `keep`, remember that the projection was dropped."""
        if version.state != DROPPED:
            # Tables that refer to others are dropped first, whatever their order in the model.
            self._run("pragma defer_foreign_keys = on")
            for table in reversed(version.compiled.tables):
                self._run(f"drop table if exists main.{quoted(version.actual(table))}")
        self._run("delete from projections where version = ?", (version.version,))
        if keep:
            self._run("delete from projections where name = ?", (version.name,))
            values = (version.version, version.name, DROPPED, version.inline, version.model, version.fingerprint)
            self._run(
                "insert into projections (version, name, state, inline, model, held, fingerprint, position, made,"
                " compiled) values (?, ?, ?, ?, ?, 0, ?, 0, '', '{}')",
                values,
            )

    def switch(self, version: Version) -> None:
        """Within a transaction: make a version that was being built live, and the live one previous."""
        for live in self._others(version, LIVE):
            is_damaged = not 0 <= live.position <= version.position or self.missing_tables(live)
            if is_damaged or not live.fingerprint:  # without one, its rows contain erased payloads
                self.drop(live)
                continue
            self._rename((table, f"{table}__{live.version}") for table in self._existing(live))
            live.state = PREVIOUS
            live.failed = live.handler = live.error = live.failed_at = None
            self.save(live)
        self._rename((version.actual(table), table) for table in version.compiled.tables)
        version.state = LIVE
        self.save(version)

    def _others(self, version: Version, state: str) -> list[Version]:
        return [other for other in self.versions() if other.name == version.name and other.state == state]

    def _rename_live(self, version: Version) -> list[tuple[str, str]]:
        """Rename the tables of the live version; their names before and after."""
        lives = self._others(version, LIVE)
        names = [(table, f"{table}__{live.version}") for live in lives for table in self._existing(live)]
        self._rename(names)
        return names

    def _rename(self, names: Iterable[tuple[str, str]]) -> None:
        for old, new in list(names):
            if self._exists(new):
                raise ConflictError(
                    f"a projection's table cannot be called {new}: the name is taken",
                    why="esctl needs this name for another version of the table; rename yours",
                    table=new,
                )
            self._run(f"alter table main.{quoted(old)} rename to {quoted(new)}")

    # Rows

    def feed(self, version: Version, query: Query, *, record: bool = False) -> None:
        """Feed the handlers of a version the events of a query; a version in the log, within a transaction.

        Raises HandlerFailed; the transaction must then be left by raising, unless SQLite has ended it. With `record`,
        which costs a call per event, the error names the event.
        """
        self._unshadow(version)
        with self.placed(version):
            self._feed(version, query, record=record)

    def attempt(self, version: Version, query: Query, *, record: bool = True) -> None:
        """The same within a savepoint: HandlerFailed then says whether everything was undone."""
        self._run("savepoint esctl_attempt")
        try:
            self.feed(version, query, record=record)
        except HandlerFailed as failed:
            if self._connection.in_transaction:
                self._run("rollback to esctl_attempt; release esctl_attempt")
                failed.undone = True
            raise
        self._run("release esctl_attempt")

    def _unshadow(self, version: Version) -> None:
        """Drop temporary tables, which SQLite would take for those of a version in the log."""
        if self._temporary and version.state != SCRATCH:
            for table in self._temporary:
                self._run(f"drop table if exists temp.{quoted(table)}")
            self._temporary.clear()

    def placed(self, version: Version) -> Placed | nullcontext[None]:
        """Within a transaction: a block in which a version's tables have their names in the model."""
        beside = version.state in (BUILDING, PREVIOUS)
        return Placed(self, version) if beside else nullcontext()

    def into_place(self, version: Version) -> list[tuple[str, str]]:
        """Let a version trade names with the live one; the renamed tables of the live one."""
        renamed = self._rename_live(version)
        self._rename((version.actual(table), table) for table in version.compiled.tables)
        return renamed

    def out_of_place(self, version: Version, renamed: list[tuple[str, str]]) -> None:
        """Undo `into_place`."""
        self._rename((table, version.actual(table)) for table in version.compiled.tables)
        self._rename((new, old) for old, new in renamed)

    def _feed(self, version: Version, query: Query, *, record: bool) -> None:
        compiled = version.compiled
        scan = self._scan(query.replace(types=compiled.types), compiled.upcasting)
        erased = any(name.startswith(ERASED) for name in compiled.on)
        if not erased:
            scan.conditions.append("e.data is not null")  # only a handler for them sees erased events
        # Names are joined only if a handler needs them; else the number of the type selects the handler.
        names = scan.upcasts is not None or "stream" in compiled.columns or "type" in compiled.columns
        numbers = {} if names else self._numbers(compiled)
        columns = {**compiled.columns, "esctl_type": "type" if names else "type_id"}
        if erased:
            columns["esctl_erased"] = "data is null"
        if record:
            columns.setdefault("position", "position")
        view, self._recorded = self._view(version, columns, numbers, record=record), None
        try:
            for _ in self._triggers.feed_windows(view, columns, scan, POSITIONS_PER_FEED, names=names):
                self._recorded = None
        except MisfitError as error:  # an upcast failed, or an expression of a handler
            position = error.details.get("position")
            reason = str(error.details.get("reason") or error.__cause__ or error.what)
            raise self._failed(reason, numbers, position if isinstance(position, int) else None) from error
        except OverrunError as error:
            raise self._failed(f"it {error.did}", numbers) from error
        except (apsw.ConstraintError, apsw.MismatchError, apsw.SQLError, apsw.AuthError) as error:
            raise self._failed(str(error), numbers) from error
        if version.state != SCRATCH and not self._connection.in_transaction:
            raise HandlerFailed("it ended the transaction")

    def _failed(self, reason: str, numbers: Mapping[str, int], position: int | None = None) -> HandlerFailed:
        """The failure of the event that was recorded last."""
        if position is not None or self._recorded is None:
            return HandlerFailed(reason, position)
        position, type_ = self._recorded
        types: dict[object, str] = {number: name for name, number in numbers.items()}
        return HandlerFailed(reason, position, types.get(type_, str(type_)))

    def _record(self, position: int, type_: object) -> None:
        self._recorded = position, type_

    def _numbers(self, compiled: Compiled) -> dict[str, int]:
        """The numbers of the event types that have handlers, for the types that the log has."""
        types = types_of(compiled.on)
        found = self._execute(_NUMBERS, (apsw.carray(types),)).fetchall() if types else ()  # no carray is empty
        return dict(found)  # type: ignore[arg-type]  # of two columns

    def _view(self, version: Version, columns: Collection[str], numbers: Mapping[str, int], *, record: bool) -> str:
        """The view that feeds the handlers of a version, created when first needed."""
        mark = version.fingerprint[:8] if version.fingerprint.isalnum() else ""
        view = f"{FED}{version.version}_{mark}_{len(numbers)}{'n' * record}"
        self._guard.present = {str(n).lower() for (n,) in self._execute("select name from main.sqlite_schema")}
        if record and not self._records:
            self._connection.create_scalar_function(RECORD, self._record, 2)  # type: ignore[arg-type]  # it takes these
            self._records = True
        if not self._triggers.has(view):
            self._upcast_compiler().allow(*version.compiled.on.values())
            self._guard.tables[view] = set(version.compiled.tables)
            self._triggers.create(view, columns, self._handlers(version.compiled, numbers, record=record))
        return view

    def _handlers(self, compiled: Compiled, numbers: Mapping[str, int], *, record: bool) -> Iterator[tuple[str, str]]:
        """The trigger of each handler: its condition and its body.

        With `numbers`, conditions compare type numbers, else names; with `record`, each body first records its event.
        """
        recording = f"select {RECORD}(new.position, {{}}); " if record else ""
        on = compiled.on
        types = {name: str(numbers.get(name, 0)) if numbers else text(name) for name in types_of(on) if name != ANY}
        erased = {name.removeprefix(ERASED) for name in on if name.startswith(ERASED)} - {""}
        there = " and not new.esctl_erased" if erased else ""
        for name, sql in on.items():
            which = f"= {types[name]}" if name != ANY else f"not in ({', '.join(types[t] for t in on if t != ANY)})"
            yield f"new.esctl_type {which}{there}", f"{recording.format('new.esctl_type')}{sql}"
        for type_ in sorted(erased):
            name, others = f"{ERASED}{type_}", ", ".join(types[other] for other in sorted(erased - {ANY}))
            which = f"= {types[type_]}" if type_ != ANY else f"not in ({others})"
            yield f"new.esctl_type {which} and new.esctl_erased", f"{recording.format(text(name))}{on[name]}"

    def count(self, version: Version) -> int:
        """The number of rows in a version's tables."""
        return sum(
            self._execute(f"select count(*) from main.{quoted(version.actual(t))}").get for t in self._existing(version)
        )

    def size(self, version: Version) -> int:
        """The bytes of the file that a version's tables and indexes use."""
        return sum(self._execute(_SIZE, (version.actual(table),)).get for table in self._existing(version))

    def _existing(self, version: Version) -> list[str]:
        sql = "select exists(select 1 from main.sqlite_schema where type = 'table' and name = ?)"
        tables = [] if version.state == DROPPED else version.compiled.tables
        return [table for table in tables if self._execute(sql, (version.actual(table),)).get]

    def missing_tables(self, version: Version) -> list[str]:
        """The tables of a version that do not exist."""
        tables = [] if version.state == DROPPED else version.compiled.tables
        return [version.actual(table) for table in tables if table not in self._existing(version)]

    def count_own_after(self, position: int) -> int:
        """The number of the log's own events after a position, which no projection sees."""
        found: int = self._execute(_COUNT_OWN_AFTER, (position,)).get
        return found

    # Temporary tables: a projection as of some point. SQLite resolves names to them first.

    def scratch(self, version: Version, base: Version | None, most: int) -> int:
        """Create a version's tables as temporary ones, with the rows of `base` unless these go beyond position `most`.

        Returns the position of the copied rows; 0 if there are none.
        """
        self._run(TEMP_STORE_IN_FILES)
        for table, statement in version.compiled.tables.items():
            self._run(f"drop table if exists temp.{quoted(table)}")
            self._run(f"create temp table {statement}")
            self._temporary.add(table)
        for name, statement in version.compiled.indexes.items():
            self._run(statement.format(name=quoted(name)))
        if base is None:
            return 0
        with Moment(self._connection):
            self._run("pragma defer_foreign_keys = on")  # rows may precede those that they refer to
            stored = self.version(base.version)
            if stored is None or stored.position > most or stored.fingerprint != base.fingerprint:
                return 0
            for table in stored.compiled.tables:
                TableRows(self._execute, "temp", table).fill(TableRows(self._execute, "main", stored.actual(table)))
            return stored.position

    def imagined(self, positions: Iterable[int]) -> Imagined:
        """A block in which the payloads at some positions can be imagined to be erased."""
        from esctl.store.imagined import Imagined  # noqa: PLC0415 - only the plan of an erasure needs it

        return Imagined(self._reading, positions)

    def copy_rows(self, version: Version) -> tuple[int, dict[str, TableRows]]:
        """Copy the rows of a version to temporary tables: those in the log, or else its temporary ones, which are
        dropped. The copies last until the next call.

        Returns the position of the version in the log, and the copies by table.
        """
        self._run(TEMP_STORE_IN_FILES)
        with Moment(self._connection):
            self._run("pragma defer_foreign_keys = on")
            stored = self.version(version.version) or version
            built = stored.state not in (LIVE, BUILDING, PREVIOUS)
            copies = {}
            for number, table in enumerate(stored.compiled.tables):
                schema, name = ("temp", table) if built else ("main", stored.actual(table))
                original = TableRows(self._execute, schema, name)
                self._run(f"drop table if exists temp.{_BEFORE}{number}")  # of an earlier comparison
                original.copy_to(f"{_BEFORE}{number}")
                copies[table] = TableRows(self.select, "temp", f"{_BEFORE}{number}", original.key)
            for table in reversed(stored.compiled.tables) if built else ():
                self._run(f"drop table temp.{quoted(table)}")
            return stored.position, copies

    def rows_of(self, table: str, *, built: bool = False) -> TableRows:
        """The rows of a table in the log, or of a temporary one that `scratch` has created."""
        return TableRows(self.select, "temp" if built else "main", table)

    def select(self, sql: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> Iterator[tuple[Any, ...]]:
        """Run a statement on rows. Raises HandlerFailed for values that do not fit into the tables."""
        try:
            yield from self._patience.steps.rows(lambda: self._execute(sql, parameters))
        except (apsw.ConstraintError, apsw.MismatchError, apsw.SQLError, apsw.TooBigError) as error:
            raise HandlerFailed(str(error)) from error
