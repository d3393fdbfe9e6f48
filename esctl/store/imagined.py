"""The log as it will be once some payloads are erased, for folds and projections, without changing the file."""

from __future__ import annotations

from collections.abc import Iterable

from esctl.store.format import ARCHIVED, HOT, TEMP_STORE_IN_FILES
from esctl.store.windows import Reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

_PLANNED = "temp._planned"
# The names must not begin with `esctl_`: the guard would take the views for those of a fold.
_VIEWS = {HOT: "temp._planned_hot", ARCHIVED: "temp._planned_archived"}
_VIEW = """create temp view {view} as
select position, stream_id, version, id, type_id, schema, time, recorded, iif({erased}, null, data) as data,
       iif({erased}, null, meta) as meta, iif({erased}, null, salt) as salt, hash from {table} as h"""
_ERASED = f"exists(select 1 from {_PLANNED} p where p.position = h.position)"


class Imagined:
    """A block in which the payloads at some positions can be imagined to be erased, as often as wanted."""

    def __init__(self, reading: Reading, positions: Iterable[int]) -> None:
        self._reading, self._positions = reading, positions

    def __enter__(self) -> Self:
        connection = self._reading.connection
        connection.execute(TEMP_STORE_IN_FILES).fetchall()  # a later change would drop these tables and views
        connection.execute(f"create temp table {_name(_PLANNED)} (position integer primary key)").fetchall()
        insert = f"insert or ignore into {_PLANNED} values (?)"
        connection.executemany(insert, ((position,) for position in self._positions)).fetchall()
        with self._reading.pinned() as archived:
            tables = (HOT, ARCHIVED) if archived else (HOT,)
        for table in tables:
            connection.execute(_VIEW.format(view=_name(_VIEWS[table]), erased=_ERASED, table=table)).fetchall()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for view in _VIEWS.values():
            self._reading.connection.execute(f"drop view if exists {view}").fetchall()
        self._reading.connection.execute(f"drop table if exists {_PLANNED}").fetchall()

    def erased(self) -> Erased:
        """A block in which folds and projections get the events without these payloads."""
        return Erased(self._reading)


class Erased:
    """See `Imagined.erased`."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def __enter__(self) -> None:
        self._reading.seen = _VIEWS

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._reading.seen = {}


def _name(qualified: str) -> str:
    return qualified.removeprefix("temp.")
