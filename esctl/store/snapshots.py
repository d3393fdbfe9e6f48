"""Snapshots: saved states as stored rows of a log, unchecked."""

from __future__ import annotations

from collections.abc import Iterator

import apsw

from esctl.events.record import Record
from esctl.store.errors import translating

State = tuple[int, int, str, str, str]
"""What a stream's events add up to: version, position and time of the last of them, the latest of their times (empty
where there is none), and the state (JSON text).
"""

_TEXTS = ("s.name", "n.aggregate", "n.time", "n.latest", "n.fold", "n.upcasts", "n.state", "n.taken")
_COLUMNS = (
    "s.name", "n.aggregate", "n.version", "n.position", "n.time", "n.latest", "n.fold", "n.upcasts", "n.anchor",
    "n.state", "n.hash", "n.taken",
)  # fmt: skip
_ROWS = f"""
select {", ".join(f"cast({c} as blob)" if c in _TEXTS else c for c in _COLUMNS)}
from snapshots n join streams s on s.stream_id = n.stream_id"""
_KEYS = "select n.rowid from snapshots n join streams s on s.stream_id = n.stream_id"
_ORDER = "order by s.name, n.aggregate, n.version desc"


class Snapshot(Record):
    """A saved state.

    Its stream and aggregate (empty: the merge of all payloads); its version and position; the time of its last event
    and the latest of all times; fingerprints of fold and upcasts; the chain's hash of its last event; the state (JSON
    text); the hash of all that; when it was taken.
    """

    stream: str
    aggregate: str
    version: int
    position: int
    time: str
    latest: str
    fold: str
    upcasts: str
    anchor: bytes
    state: str
    hash: bytes
    taken: str

    @property
    def values(self) -> State:
        """The values from which a fold can start."""
        return self.version, self.position, self.time, self.latest, self.state


@translating
class Snapshots:
    """The snapshots of one log; changes within an open transaction."""

    def __init__(self, connection: apsw.Connection, path: str) -> None:
        self._connection, self.path = connection, path

    def of(self, stream: str | None = None, aggregate: str | None = None) -> Iterator[Snapshot]:
        """Snapshots by stream and aggregate, newest first. Invalid UTF-8 is read with replacement characters."""
        wanted = {"s.name": stream, "n.aggregate": aggregate}
        given = {column: value for column, value in wanted.items() if value is not None}
        where = f"where {' and '.join(f'{column} = ?' for column in given)}" if given else ""
        keys = self._connection.execute(f"{_KEYS} {where} {_ORDER}", tuple(given.values())).fetchall()
        for (key,) in keys:  # one by one: states may be large, and the caller may need only the first
            row = self._connection.execute(f"{_ROWS} where n.rowid = ?", (key,)).get
            if row is None:
                continue  # it was pruned meanwhile
            yield Snapshot._make(
                value.decode("utf-8", "replace") if column in _TEXTS and isinstance(value, bytes) else value
                for column, value in zip(_COLUMNS, row, strict=True)
            )

    def exist(self, aggregate: str) -> bool:
        """Whether any stream has a snapshot of an aggregate."""
        sql = "select exists(select 1 from snapshots where aggregate = ?)"
        return bool(self._connection.execute(sql, (aggregate,)).get)

    def save(self, snapshot: Snapshot) -> None:
        """Save a snapshot; it replaces one of the same stream, aggregate and version."""
        self._connection.execute(
            "insert or replace into snapshots select stream_id, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12"
            " from streams where name = ?1",
            snapshot,
        )

    def delete(self, stream: str, aggregate: str, version: int) -> None:
        """Delete a snapshot."""
        self._connection.execute(
            "delete from snapshots where stream_id = (select stream_id from streams where name = ?)"
            " and aggregate = ? and version = ?",
            (stream, aggregate, version),
        )
