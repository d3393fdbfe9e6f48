"""Feed events to triggers: the way in which SQL of a model, a fold's step or a handler, runs on stored events.

In an INSTEAD OF trigger of a view, a statement sees an event as `new`, beside the tables that it may change. SQLite
copies all selected rows before it runs the first trigger, so events are fed in windows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from esctl.store import reads
from esctl.store.format import ARCHIVED
from esctl.store.windows import POINTS, Reading, Windows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from esctl.store.errors import Patience
    from esctl.store.guard import Guard

_EXISTS = "select exists(select 1 from sqlite_temp_schema where name = ?)"
# Archived events of a frame. Through the virtual table, which calls Python for each value, a feed takes twice as long.
# The name must not begin with `esctl_`, or expressions of a model could read it.
_UNPACKED = "temp._unpacked"
_CREATE_UNPACKED = f"""create table if not exists {_UNPACKED} (
position integer primary key, stream_id integer default 1, version, id, type_id, schema, time, recorded, data, meta,
salt, hash)"""
_DECODED = ("version", "id", "schema", "time", "recorded", "data", "meta")


class TriggerFeed:
    """The views of one user of a connection, each with its triggers. They are temporary: a reader may have them.

    They are part of the transaction that creates them, so a user asks `has` each time, and creates what is missing.
    """

    def __init__(self, reading: Reading, guard: Guard, patience: Patience) -> None:
        self._reading, self._guard, self._patience = reading, guard, patience
        self._created: set[str] = set()

    def _run(self, sql: str, parameters: Mapping[str, Any] | tuple[object, ...] = ()) -> None:
        self._reading.connection.execute(sql, parameters).fetchall()

    def has(self, name: str) -> bool:
        """Whether there is a temporary table or view of a name."""
        return bool(self._reading.connection.execute(_EXISTS, (name,)).get)

    def create(self, view: str, columns: Collection[str], triggers: Iterable[tuple[str, str]]) -> None:
        """Create a view and its triggers, given as conditions (empty: none) and bodies.

        A body is text of a model: while its trigger is created, the guard denies everything else.
        """
        self._created.add(view)
        self._run(f"create temp view {view} as select {', '.join(f'null as {name}' for name in columns)}")
        for number, (condition, body) in enumerate(triggers):
            self._guard.defining = trigger = f"{view}_{number}"
            when = f"when {condition} " if condition else ""
            try:
                self._run(f"create temp trigger {trigger} instead of insert on {view} {when}begin {body} end")
            finally:
                self._guard.defining = ""

    def feed(self, view: str, columns: Collection[str], source: str, parameters: Mapping[str, Any]) -> None:
        """Feed the rows of one SELECT; it should have only the columns that are used, since each costs a copy."""
        with self._patience:
            self._run(f"insert into {view} ({', '.join(columns)}) {source}", parameters)

    def feed_windows(
        self, view: str, columns: Mapping[str, str], scan: reads.Scan, positions: int, *, names: bool = True
    ) -> Iterator[None]:
        """Feed the events of a scan, at most so many positions (or versions) at a time; yields after each window.

        `columns` are expressions over the event, by name; without `names`, stream and type are not looked up.
        """
        values = ", ".join(columns.values())
        size = reads.window_size(self._reading.connection, positions)  # SQLite copies them
        for window in Windows(self._reading, scan, size):
            with window as (table, bounds):
                seen = self._reading.seen.get(table, table)
                if seen == ARCHIVED and scan.key == "position":
                    seen = self.unpack(values, scan, bounds["low"], bounds["high"], streams=names)
                source = scan.sql(values, reverse=False, table=seen, names=names, points=POINTS in bounds)
                self.feed(view, columns, source, {**scan.parameters, **bounds, "most": scan.limit})
            yield

    def unpack(self, values: str, scan: reads.Scan, low: int, high: int, *, streams: bool) -> str:
        """Have the archived events between two positions of a frame in a temporary table, with the columns that a
        SELECT of some values from a scan uses; its name. Without `streams`, only the log's own events are told apart.
        """
        import re  # noqa: PLC0415 - only an archive needs it

        upcasts = (scan.upcasts.schema, scan.upcasts.data) if scan.upcasts else ()
        conditions = (condition for condition in scan.conditions if condition != reads.NOT_OWN)
        used = set(re.findall(r"\w+", " ".join((values, *conditions, *scan.outer, *upcasts))))
        needs_stream = streams or "stream_id" in used or reads.NOT_OWN not in scan.conditions
        columns = "position", "type_id", *("stream_id",) * needs_stream, *(name for name in _DECODED if name in used)
        self._run(_CREATE_UNPACKED)
        self._run(f"delete from {_UNPACKED}")
        assert self._reading.archive is not None
        rows = self._reading.archive.unpacked(low).fields(columns, low, high)
        insert = f"insert into {_UNPACKED} ({', '.join(columns)}) values ({', '.join('?' * len(columns))})"
        self._reading.connection.executemany(insert, rows).fetchall()
        return _UNPACKED

    def close(self) -> None:
        """Drop every view, and with each its triggers."""
        for view in self._created:
            self._run(f"drop view if exists temp.{view}")
        self._created.clear()
