"""Projections in one SQLite file: their versions, their tables, and events fed to their handlers through a trigger.

Handlers name their tables as the model does, and SQLite has no other way to say which table is meant. So a version that
is not live trades places with the live one while it is fed, within the transaction: nobody else ever sees that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext

import apsw

from esctl.errors import ConflictError, MisfitError, VerificationError
from esctl.events.query import Query, Shape
from esctl.model.compiled import ANY, BUILDING, DROPPED, LIVE, PREVIOUS, SCRATCH, Compiled, HandlerFailed, Version
from esctl.model.untrusted import wrong
from esctl.sql.quoting import quoted, text
from esctl.store.blocks import Moment, Placed
from esctl.store.errors import OverrunError, Patience, translating
from esctl.store.feed import TriggerFeed
from esctl.store.guard import FED, NOTE, Guard
from esctl.store.projection_rows import TableRows
from esctl.store.windows import Reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from esctl.events.query import Upcasting
    from esctl.store.reads import Scan
    from esctl.store.upcasts import UpcastCompiler

POSITIONS_PER_FEED = 1000
_COLUMNS = "version, name, state, inline, model, held, fingerprint, compiled, reducer, position, made"
_FAILURE = "failed, handler, error, failed_at"
_SHAPES = """
select t.key, cast(s.key as integer), p.value ->> 0, p.value ->> 1, p.value ->> 2, p.value ->> 3, p.value ->> 4
from json_each(?, '$.upcasting') t, json_each(t.value) s left join json_each(s.value) p order by t.id, s.id, p.id"""
_OWN_AFTER = """select (select count(*) from main.events where stream_id < 0 and position > ?1)
+ (select ifnull(sum(own), 0) from frames where first > ?1 and segment in (select first from segments))"""
_NUMBERS = "select name, type_id from carray(?) c cross join types on name = c.value"
_SIZE = """select ifnull(sum(pgsize), 0) from dbstat
where aggregate = 1 and name in (select name from sqlite_schema where tbl_name = ?)"""
_BEFORE = "esctl_before_"  # how copies are called, with a number a table
_ROOM = "pragma temp_store = file"  # for tables that may be large; a change of it would drop those that are there


@translating
class Projections:
    """The projections of one connection."""

    def __init__(
        self,
        reading: Reading,
        guard: Guard,
        bounded: Callable[[Query, Upcasting], Scan],
        patience: Patience,
        weaving: Callable[[], UpcastCompiler],
    ) -> None:
        self._connection, self._execute = reading.connection, reading.connection.execute
        self._reading, self.path, self._guard = reading, reading.path, guard
        self._bounded, self._weaving = bounded, weaving
        self._triggers = TriggerFeed(reading, guard, patience)
        self._known: dict[str, Compiled] = {}
        self._scratched: set[str] = set()
        self._noted: tuple[int, object] | None = None
        self._notes = False
        # Else a name that stands in a view or in another trigger would follow a table that trades places.
        self._connection.config(apsw.SQLITE_DBCONFIG_LEGACY_ALTER_TABLE, 1)

    def _run(self, sql: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> None:
        self._execute(sql, parameters).fetchall()

    # Versions

    def versions(self, *, inline: bool = False) -> list[Version]:
        """Every version, by name, the live one first; with `inline`, only those that appends keep."""
        only = "where inline and state = 'live' and failed is null" if inline else ""
        sql = f"select {_COLUMNS}, {_FAILURE} from projections {only} order by name, state <> 'live', state, version"
        return [self._version(row) for row in self._execute(sql).fetchall()]

    def version(self, number: int) -> Version | None:
        """One version as it is now; None where it is no more."""
        row = self._execute(f"select {_COLUMNS}, {_FAILURE} from projections where version = ?", (number,)).get
        return self._version(row) if row else None

    def _version(self, row: Any) -> Version:
        number, name, state, inline, model, held, fingerprint, said, *rest = row
        return Version(number, name, state, bool(inline), model, held, fingerprint, self._decoded(said), *rest)

    def _decoded(self, said: str) -> Compiled:
        """What was written of a compiled projection; with SQLite's parser, since a cold run would load another."""
        if said not in self._known:
            compiled = self._read(said)
            if why := wrong(compiled):
                raise VerificationError(
                    f"{self.path} is damaged",
                    why=f"what it keeps of a projection was not written by esctl: {why}; restore a backup",
                )
            self._known[said] = compiled
        return self._known[said]

    def _read(self, said: str) -> Compiled:

        def pairs(key: str) -> dict[str, str]:
            return dict(self._execute("select key, value from json_each(?, '$.' || ?)", (said, key)).fetchall())  # type: ignore[arg-type]  # of two columns

        upcasting: dict[str, dict[int, tuple[Shape, ...]]] = {}
        for type_, schema, *shape in self._execute(_SHAPES, (said,)):
            shapes = upcasting.setdefault(str(type_), {}).setdefault(schema, ())
            if shape[0] is not None:
                upcasting[str(type_)][schema] = (*shapes, Shape(*shape))
        return Compiled(pairs("tables"), pairs("indexes"), pairs("on"), pairs("columns"), upcasting)

    def add(self, version: Version, said: str) -> None:
        """Within a transaction: keep a new version, which gets its number, and make its tables; `said`: its compiled
        form as JSON. Raises ConflictError where a table of such a name is there.
        """
        version.version = self._free(version)
        values = (
            version.version, version.name, version.state, version.inline, version.model, version.held,
            version.fingerprint, said, version.reducer, version.position, version.made
        )  # fmt: skip
        self._run(f"insert into projections ({_COLUMNS}) values ({', '.join('?' * len(values))})", values)
        away = self._away(version) if version.state == BUILDING else []
        for table, statement in version.compiled.tables.items():
            if self._is_there(table):
                raise self._taken(version, table)
            self._run(f"create table {statement}")
        for name, statement in version.compiled.indexes.items():
            self._run(statement.format(name=quoted(f"{name}__{version.version}")))
        if version.state != LIVE:
            self._rename((table, version.actual(table)) for table in version.compiled.tables)
            self._rename((there, table) for table, there in away)

    def _free(self, version: Version) -> int:
        """A number that no version has, and that would give no table or index the name of another."""
        number: int = self._execute("select 1 + ifnull(max(version), 0) from projections").get
        names = (*version.compiled.tables, *version.compiled.indexes)
        while any(self._is_there(f"{name}__{number}") for name in names):
            number += 1
        return number

    def _is_there(self, name: str) -> bool:
        """Whether the file has something of a name; to SQLite, X and x are one."""
        sql = "select exists(select 1 from main.sqlite_schema where lower(name) = lower(?))"
        return bool(self._execute(sql, (name,)).get)

    def _taken(self, version: Version, table: str) -> ConflictError:
        """Why a version cannot have a table."""
        owners = (v.name for v in self.versions() if table.lower() in {v.actual(t).lower() for t in v.compiled.tables})
        owner = next((owner for owner in owners if owner != version.name), None)
        return ConflictError(
            f"the projection {version.name} cannot have the table {table}: one of that name is there",
            why=f"the projection {owner} still has it; apply a model without {owner} first"
            if owner
            else "somebody made it by hand, and esctl leaves it as it is; rename either",
            table=table,
        )

    def save(self, version: Version) -> None:
        """Within a transaction: keep what is known of a version by now."""
        self._run(
            "update projections set state = ?, inline = ?, model = ?, held = ?, reducer = ?, fingerprint = ?,"
            " position = ?, failed = ?, handler = ?, error = ?, failed_at = ? where version = ?",
            (
                version.state, version.inline, version.model, version.held, version.reducer, version.fingerprint,
                version.position, version.failed, version.handler, version.error, version.failed_at, version.version
            ),
        )  # fmt: skip

    def drop(self, version: Version, *, keep: bool = False) -> None:
        """Within a transaction: drop a version's tables; with `keep`, remember that it was dropped."""
        if version.state != DROPPED:
            # Children first: what refers to a table goes before it, whatever order the model has them in.
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
        """Within a transaction: a version that was building is live from here on, and the one that was, is previous."""
        for live in self._others(version, LIVE):
            if not live.fingerprint:  # it holds what was erased
                self.drop(live)
                continue
            self._rename((table, f"{table}__{live.version}") for table in self._there(live))
            live.state = PREVIOUS
            live.failed = live.handler = live.error = live.failed_at = None
            self.save(live)
        self._rename((version.actual(table), table) for table in version.compiled.tables)
        version.state = LIVE
        self.save(version)

    def _others(self, version: Version, state: str) -> list[Version]:
        return [other for other in self.versions() if other.name == version.name and other.state == state]

    def _away(self, version: Version) -> list[tuple[str, str]]:
        """Have the tables of the live version stand elsewhere; where they were, and where they are."""
        lives = self._others(version, LIVE)
        moved = [(table, f"{table}__{live.version}") for live in lives for table in self._there(live)]
        self._rename(moved)
        return moved

    def _rename(self, names: Iterable[tuple[str, str]]) -> None:
        for old, new in list(names):
            if self._is_there(new):
                raise ConflictError(
                    f"a projection's table cannot be called {new}: something of that name is there",
                    why="esctl calls older versions of tables so, and leaves yours as it is; rename it",
                    table=new,
                )
            self._run(f"alter table main.{quoted(old)} rename to {quoted(new)}")

    # Rows

    def feed(self, version: Version, query: Query, *, note: bool = False) -> None:
        """Have the handlers of a version take the events of a query; of one in the log, within a transaction.

        Raises HandlerFailed; the transaction then has to be left by raising, if SQLite has not left it already. With
        `note`, which costs a call an event, it names the event.
        """
        self._unshadow(version)
        with self.placed(version):
            self._feed(version, query, note=note)

    def attempt(self, version: Version, query: Query) -> None:
        """The same for what may fail without harm: HandlerFailed then says whether it is undone."""
        self._run("savepoint esctl_attempt")
        try:
            self.feed(version, query, note=True)
        except HandlerFailed as failed:
            if self._connection.in_transaction:
                self._run("rollback to esctl_attempt; release esctl_attempt")
                failed.undone = True
            raise
        self._run("release esctl_attempt")

    def _unshadow(self, version: Version) -> None:
        """Drop temporary tables, which would be taken for those of a version in the log."""
        if self._scratched and version.state != SCRATCH:
            for table in self._scratched:
                self._run(f"drop table if exists temp.{quoted(table)}")
            self._scratched.clear()

    def placed(self, version: Version) -> Placed | nullcontext[None]:
        """Within a transaction: a block in which a version's tables have the names that the model gives them."""
        beside = version.state in (BUILDING, PREVIOUS)
        return Placed(self, version) if beside else nullcontext()

    def into_place(self, version: Version) -> list[tuple[str, str]]:
        """Have a version that is not live trade places with the one that is; what went away, and where it is."""
        away = self._away(version)
        self._rename((version.actual(table), table) for table in version.compiled.tables)
        return away

    def out_of_place(self, version: Version, away: list[tuple[str, str]]) -> None:
        """The reverse."""
        self._rename((table, version.actual(table)) for table in version.compiled.tables)
        self._rename((there, table) for table, there in away)

    def _feed(self, version: Version, query: Query, *, note: bool) -> None:
        compiled = version.compiled
        bounded = self._bounded(query.replace(types=compiled.types), compiled.upcasting)
        bounded.conditions.append("e.data is not null")  # what was erased is nobody's
        # Names are joined where they are wanted; else a handler is chosen by the number of its type.
        names = bounded.woven is not None or "stream" in compiled.columns or "type" in compiled.columns
        numbers = {} if names else self._numbers(compiled)
        columns = {**compiled.columns, "esctl_type": "type" if names else "type_id"}
        if note:
            columns.setdefault("position", "position")
        view, self._noted = self._view(version, columns, numbers, note=note), None
        try:
            for _ in self._triggers.feed_windows(view, columns, bounded, POSITIONS_PER_FEED, names=names):
                self._noted = None
        except MisfitError as error:  # an upcast that cannot be done, or SQLite's word on a handler
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
        if position is not None or self._noted is None:
            return HandlerFailed(reason, position)
        position, said = self._noted
        types: dict[object, str] = {number: name for name, number in numbers.items()}
        return HandlerFailed(reason, position, types.get(said, str(said)))

    def _note(self, position: int, type_: object) -> None:
        self._noted = position, type_

    def _numbers(self, compiled: Compiled) -> dict[str, int]:
        """The numbers of the types that have handlers, of those that the log knows."""
        found = self._execute(_NUMBERS, (apsw.carray(tuple(compiled.on)),)).fetchall()
        return dict(found)  # type: ignore[arg-type]  # of two columns

    def _view(self, version: Version, columns: Collection[str], numbers: Mapping[str, int], *, note: bool) -> str:
        """The view that feeds the handlers of a version, created when first needed."""
        mark = version.fingerprint[:8] if version.fingerprint.isalnum() else ""
        view = f"{FED}{version.version}_{mark}_{len(numbers)}{'n' * note}"
        self._guard.present = {str(n).lower() for (n,) in self._execute("select name from main.sqlite_schema")}
        if note and not self._notes:
            self._connection.create_scalar_function(NOTE, self._note, 2)  # type: ignore[arg-type]  # it takes these
            self._notes = True
        if not self._triggers.has(view):
            self._weaving().allow(*version.compiled.on.values())
            self._guard.tables[view] = set(version.compiled.tables)
            self._triggers.create(view, columns, self._handlers(version.compiled, numbers, note=note))
        return view

    def _handlers(self, compiled: Compiled, numbers: Mapping[str, int], *, note: bool) -> Iterator[tuple[str, str]]:
        """The trigger of each handler: its condition and its body.

        With `numbers`, types are told by these; with `note`, each handler begins by noting its event.
        """
        begun = f"select {NOTE}(new.position, new.esctl_type); " if note else ""
        types = {type_: str(numbers.get(type_, 0)) if numbers else text(type_) for type_ in compiled.on if type_ != ANY}
        for type_, sql in compiled.on.items():
            which = f"= {types[type_]}" if type_ != ANY else f"not in ({', '.join(types.values())})"
            yield f"new.esctl_type {which}", f"{begun}{sql}"

    def count(self, version: Version) -> int:
        """How many rows a version's tables have."""
        return sum(
            self._execute(f"select count(*) from main.{quoted(version.actual(t))}").get for t in self._there(version)
        )

    def size(self, version: Version) -> int:
        """How many bytes of the file a version's tables and indexes take."""
        return sum(self._execute(_SIZE, (version.actual(table),)).get for table in self._there(version))

    def _there(self, version: Version) -> list[str]:
        sql = "select exists(select 1 from main.sqlite_schema where type = 'table' and name = ?)"
        tables = [] if version.state == DROPPED else version.compiled.tables
        return [table for table in tables if self._execute(sql, (version.actual(table),)).get]

    def lost(self, version: Version) -> list[str]:
        """The tables of a version that are not there."""
        tables = [] if version.state == DROPPED else version.compiled.tables
        return [version.actual(table) for table in tables if table not in self._there(version)]

    def own_after(self, position: int) -> int:
        """How many events after a position are the log's own, which no projection sees."""
        found: int = self._execute(_OWN_AFTER, (position,)).get
        return found

    # A projection as of some point, in temporary tables, which names without a schema find first

    def scratch(self, version: Version, base: Version | None, most: int) -> int:
        """Make a version's tables as temporary ones, with the rows of `base` where these hold nothing beyond the
        position `most`; the position up to which they do.
        """
        self._run(_ROOM)
        for table, statement in version.compiled.tables.items():
            self._run(f"drop table if exists temp.{quoted(table)}")
            self._run(f"create temp table {statement}")
            self._scratched.add(table)
        for name, statement in version.compiled.indexes.items():
            self._run(statement.format(name=quoted(name)))
        if base is None:
            return 0
        with Moment(self._connection):
            self._run("pragma defer_foreign_keys = on")  # children may come before their parents
            there = self.version(base.version)
            if there is None or there.position > most or there.fingerprint != base.fingerprint:
                return 0
            for table in there.compiled.tables:
                TableRows(self._execute, "temp", table).fill(TableRows(self._execute, "main", there.actual(table)))
            return there.position

    def put_aside(self, version: Version) -> tuple[int, dict[str, TableRows]]:
        """Copy the rows of a version, by table: those that it has in the log, or those of its temporary tables, which
        go. With them the position up to which the log's hold events.
        """
        self._run(_ROOM)
        with Moment(self._connection):
            self._run("pragma defer_foreign_keys = on")
            there = self.version(version.version) or version
            built = there.state not in (LIVE, BUILDING, PREVIOUS)
            copies = {}
            for number, table in enumerate(there.compiled.tables):
                schema, name = ("temp", table) if built else ("main", there.actual(table))
                original = TableRows(self._execute, schema, name)
                original.copy_to(f"{_BEFORE}{number}")
                copies[table] = TableRows(self.select, "temp", f"{_BEFORE}{number}", original.key)
            for table in reversed(there.compiled.tables) if built else ():
                self._run(f"drop table temp.{quoted(table)}")
            return there.position, copies

    def rows_of(self, table: str, *, built: bool = False) -> TableRows:
        """The rows of a table in the log, or of one that was `built` beside it by `scratch`."""
        return TableRows(self.select, "temp" if built else "main", table)

    def select(self, sql: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> Iterator[tuple[Any, ...]]:
        """Rows of a statement of ours over the tables. Raises HandlerFailed for what does not fit into them."""
        try:
            yield from self._execute(sql, parameters)
        except (apsw.ConstraintError, apsw.MismatchError, apsw.SQLError, apsw.TooBigError) as error:
            raise HandlerFailed(str(error)) from error
