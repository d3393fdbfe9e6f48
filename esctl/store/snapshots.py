"""Saved states as rows of a log."""

from __future__ import annotations

from collections.abc import Iterator

import apsw

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

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


def rows(connection: apsw.Connection, stream: str | None, aggregate: str | None) -> Iterator[tuple[Any, ...]]:
    """Saved states by stream and aggregate, newest first. Text that is none is read with marks in its place."""
    asked = {"s.name": stream, "n.aggregate": aggregate}
    given = {column: value for column, value in asked.items() if value is not None}
    where = f"where {' and '.join(f'{column} = ?' for column in given)}" if given else ""
    keys = connection.execute(f"{_KEYS} {where} {_ORDER}", tuple(given.values())).fetchall()
    for (key,) in keys:  # one by one: states may be large, and whoever asks may need the first only
        row = connection.execute(f"{_ROWS} where n.rowid = ?", (key,)).get
        if row is None:
            continue  # somebody pruned it
        yield tuple(
            value.decode("utf-8", "replace") if column in _TEXTS and isinstance(value, bytes) else value
            for column, value in zip(_COLUMNS, row, strict=True)
        )


def save(connection: apsw.Connection, row: tuple[Any, ...]) -> None:
    """Keep a state; one of the same stream, aggregate and version gives way."""
    connection.execute(
        "insert or replace into snapshots select stream_id, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12"
        " from streams where name = ?1",
        row,
    )


def drop(connection: apsw.Connection, stream: str, aggregate: str, version: int) -> None:
    """Let go of a saved state."""
    connection.execute(
        "delete from snapshots where stream_id = (select stream_id from streams where name = ?)"
        " and aggregate = ? and version = ?",
        (stream, aggregate, version),
    )
