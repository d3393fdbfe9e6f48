"""Reactions: how far each command that runs for every event has come, and the events whose handlers failed.

This is no history and follows from no event: it says what was done outside of the log. So nothing can rebuild it.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterable, Iterator

import apsw

from esctl.errors import ConflictError
from esctl.events.event import now
from esctl.events.json import text_of
from esctl.events.record import Record
from esctl.sql.moments import in_condition
from esctl.store import reads
from esctl.store.blocks import Conditioned, Located
from esctl.store.errors import translating

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.events.query import Query, Upcasting
    from esctl.store.reads import Scan
    from esctl.store.windows import Reading

TABLES = (
    # A reaction, or one part of a group. Every event up to `position`, whose hash is `hash`, is done, and so are the
    # positions in `done` (JSON, ranges). Whoever has the `token` runs it until `lease`. The handlers of `failing`
    # different events failed one after the other; none starts before `closed_until`. The last error is of `failed`.
    """create table reactions (
         name text not null, part integer not null, parts integer not null,
         definition text not null, paused integer not null,
         log_id text not null, position integer not null, hash blob not null, done text not null,
         holder text, lease text, token text,
         failing integer not null, closed_until text,
         handled integer not null, running integer not null, rate real not null, saved text not null,
         failed integer, error text, failed_at text,
         primary key (name, part)
       ) strict""",
    # An event whose handler failed. Unless it is `retrying` or `stopped`, it is the place from which the later events
    # of its stream (of its `key`) wait; in the reaction's own place these count as done.
    """create table dead_letters (
         name text not null, part integer not null, key text not null, position integer not null,
         stream_id integer not null references streams,
         state text not null check (state in ('retrying', 'stopped', 'parked', 'retry', 'skip')),
         attempts integer not null, status integer, error text, stderr text,
         since text not null, next_try text,
         primary key (name, part, key, position)
       ) strict""",
)
"""Their pages are searched for traces of erased payloads, so they have row numbers."""

RETRYING, STOPPED, PARKED, RETRY, SKIP = "retrying", "stopped", "parked", "retry", "skip"
BLOCKING = (PARKED, RETRY, SKIP)
"""The states of a letter from which later events of its stream wait. Others are events in the reaction's own place."""


class Reaction(Record):
    """A reaction, or one part of a group: part 1 of 1 is all of it.

    Every event up to `position`, whose hash is `hash`, is done, and so are the positions in `done` (JSON, ranges).
    `definition` is JSON. The process `holder` with the `token` runs it until `lease`. Handlers of `failing` different
    events failed one after the other, and no handler starts before `closed_until`. `handled` counts all events,
    `running` the handlers that run, `rate` is events a second. The last `error` is of the position `failed`.
    """

    name: str
    part: int
    parts: int
    definition: str
    paused: int
    log_id: str
    position: int
    hash: bytes
    done: str
    holder: str | None
    lease: str | None
    token: str | None
    failing: int
    closed_until: str | None
    handled: int
    running: int
    rate: float
    saved: str
    failed: int | None
    error: str | None
    failed_at: str | None


class Letter(Record):
    """An event whose handler failed, and what is to become of it.

    It is RETRYING until `next_try`, or STOPPED the reaction; or it is PARKED: then later events of its stream (of its
    `key`) wait behind it. A RETRY was asked for, or to SKIP it and go on with the events behind it. `status` is the
    exit status of the handler, `stderr` the end of what it wrote.
    """

    name: str
    part: int
    key: str
    position: int
    stream: str
    state: str
    attempts: int
    status: int | None
    error: str | None
    stderr: str | None
    since: str
    next_try: str | None


_LETTERS = """select l.name, part, key, position, s.name, state, attempts, status, error, stderr, since, next_try
from dead_letters l join streams s using (stream_id)"""
_SAVED = (
    "position", "hash", "done", "failing", "closed_until", "handled", "running", "rate", "failed", "error", "failed_at",
    "lease", "saved",
)  # fmt: skip
_PUT = """insert or replace into dead_letters
select ?1, ?2, ?3, ?4, stream_id, ?6, ?7, ?8, ?9, ?10, ?11, ?12 from streams where name = ?5"""
_KEYS = {"id": "name = ? and part = ?", "letter": "name = ? and part = ? and key = ? and position = ?"}


@translating
class Reactions:
    """The reactions of one log; changes within an open transaction."""

    def __init__(self, reading: Reading, scan: Callable[[Query, Upcasting], Scan]) -> None:
        """`scan` resolves a query."""
        self._reading, self._scan = reading, scan
        self._connection, self.path = reading.connection, reading.path
        self._execute = reading.connection.execute

    def all(self, name: str | None = None) -> list[Reaction]:
        """All reactions, or the parts of one, by name and part."""
        where = "" if name is None else "where name = ?"
        sql = f"select {', '.join(Reaction._fields)} from reactions {where} order by name, part"
        return [Reaction._make(row) for row in self._execute(sql, () if name is None else (name,))]

    def create(self, reactions: Iterable[Reaction]) -> None:
        """Store new reactions. Their names are checked by the caller."""
        marks = ", ".join("?" * len(Reaction._fields))
        fields = ", ".join(Reaction._fields)
        self._connection.executemany(f"insert into reactions ({fields}) values ({marks})", list(reactions))

    def replace(self, reaction: Reaction) -> None:
        """Store all of a reaction that is there."""
        values = ", ".join(f"{name} = ?" for name in Reaction._fields)
        sql = f"update reactions set {values} where {_KEYS['id']}"
        self._execute(sql, (*reaction, reaction.name, reaction.part))

    def save(self, reaction: Reaction) -> None:
        """Store how far the process with the reaction's token has come.

        Raises ConflictError with the code LOST if another process has another token: that one runs it now.
        """
        values = ", ".join(f"{name} = ?" for name in _SAVED)
        found = [getattr(reaction, name) for name in _SAVED]
        sql = f"update reactions set {values} where {_KEYS['id']} and token = ?"
        self._execute(sql, (*found, reaction.name, reaction.part, reaction.token))
        if not self._connection.changes():
            raise ConflictError(
                f"lost the reaction {reaction.name}: another process runs it, or it was reset or dropped",
                why="this one was stopped for longer than its lease, or somebody changed the reaction;"
                " what it has not saved is handled again",
                code=LOST,
            )

    def delete(self, name: str) -> None:
        """Delete a reaction and its letters."""
        for table in ("dead_letters", "reactions"):
            self._execute(f"delete from {table} where name = ?", (name,))

    def letters(self, name: str | None = None, part: int | None = None, states: Collection[str] = ()) -> list[Letter]:
        """Letters, by reaction and position."""
        wanted = {"l.name": name, "part": part}
        given = {column: value for column, value in wanted.items() if value is not None}
        conditions = [f"{column} = ?" for column in given]
        if states:
            conditions.append(f"state in ({', '.join('?' * len(states))})")
        where = f"where {' and '.join(conditions)}" if conditions else ""
        found = self._execute(f"{_LETTERS} {where} order by l.name, position, part, key", (*given.values(), *states))
        return [Letter._make(row) for row in found]

    def put(self, letter: Letter) -> None:
        """Store a letter; it replaces one of the same key and position."""
        self._execute(_PUT, letter)

    def remove(self, name: str, part: int, key: str, position: int) -> None:
        """Delete a letter."""
        self._execute(f"delete from dead_letters where {_KEYS['letter']}", (name, part, key, position))

    def forget(self, positions: Collection[int]) -> None:
        """Delete what handlers wrote about events at positions: it may quote their payloads."""
        parameters = (apsw.carray(array("q", positions), flags=apsw.SQLITE_CARRAY_INT64),)
        among = "(select value from carray(?))"
        self._execute(f"update dead_letters set error = null, stderr = null where position in {among}", parameters)
        self._execute(f"update reactions set error = null where failed in {among}", parameters)

    def clear(self) -> None:
        """Delete all reactions."""
        for table in ("dead_letters", "reactions"):
            self._execute(f"delete from {table}")

    def pause_all(self) -> None:
        """Pause all reactions, in a copy of the log: what they did after it, they would do again."""
        self._execute("update reactions set paused = 1, holder = null, lease = null, token = null, running = 0")

    def lines(self, query: Query, key: str | None, upcasting: Upcasting) -> Iterator[tuple[bytes, object]]:
        """The events of a query as lines without LF, each with the value of an SQL expression over its columns."""
        with Conditioned(query):
            scan = self._scan(query, upcasting)
            value = f"({in_condition(key)}\n)" if key else "null"
            with Located(self._reading, scan):
                yield from reads.rows(self._reading, scan, f"{reads.line_of(self._connection, scan.upcasts)}, {value}")

    def count(self, query: Query, upcasting: Upcasting) -> tuple[int, str | None]:
        """The number of the events of a query, and when the first of them was recorded."""
        with Conditioned(query):
            counted = list(reads.rows(self._reading, self._scan(query, upcasting), "count(*), min(recorded)"))
        return sum(events for events, _ in counted), min((first for _, first in counted if first), default=None)

    def exist(self) -> bool:
        """Whether there are any reactions."""
        return bool(self._execute("select exists(select 1 from reactions)").get)


LOST = "lost"


def new(name: str, definition: str, log_id: str, position: int, hash_: bytes) -> Reaction:
    """A reaction that has handled nothing behind a position."""
    return Reaction(
        name=name, part=1, parts=1, definition=definition, paused=0, log_id=log_id, position=position, hash=hash_,
        done=text_of([]), holder=None, lease=None, token=None, failing=0, closed_until=None, handled=0, running=0,
        rate=0.0, saved=now(), failed=None, error=None, failed_at=None,
    )  # fmt: skip
