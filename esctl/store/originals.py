"""Find the events that have some ids already, and compare new ones with them: a duplicate, or a conflict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import apsw

from esctl.errors import ConflictError
from esctl.events.json import same
from esctl.events.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from esctl.events.event import NewEvent
    from esctl.store.windows import Reading

    class Source(Protocol):
        """Events with their ids: those in the log's table, or those in its archive."""

        def positions(self, ids: Sequence[str]) -> list[int]:
            """Positions of the events that have one of these ids; of others too, if the source does not know better."""

        def originals(self, positions: Sequence[int]) -> Iterable[tuple[Any, ...]]:
            """The fields of an Original, of each event at ascending positions; there may be gaps."""


_POSITIONS = "select e.position from carray(?) c cross join events e on e.id = c.value"
_FIELDS = "id, position, stream_id, version, type_id, data, meta"
_RANGE = f"select {_FIELDS} from events where position between ? and ?"
_PLACES = f"select {_FIELDS} from carray(?) c cross join events on position = c.value"


class Original(Record):
    """The event that has an id already."""

    id: str
    position: int
    stream_id: int
    version: int
    type_id: int
    data: str | None  # JSON text; None where it was erased
    meta: str | None


class Hot:
    """The events in the log's table, as a `Source`."""

    def __init__(self, reading: Reading) -> None:
        self._execute = reading.connection.execute

    def positions(self, ids: Sequence[str]) -> list[int]:
        """See `Source`."""
        return [position for (position,) in self._execute(_POSITIONS, (apsw.carray(tuple(ids)),))]

    def originals(self, positions: Sequence[int]) -> Iterable[tuple[Any, ...]]:
        """See `Source`."""
        if isinstance(positions, range):
            return self._execute(_RANGE, (positions[0], positions[-1]))
        from array import array  # noqa: PLC0415 - a cold append does without

        numbers = apsw.carray(array("q", positions), flags=apsw.SQLITE_CARRAY_INT64)
        return self._execute(_PLACES, (numbers,))


def originals(source: Source, ids: Sequence[str]) -> dict[str, Original]:
    """The events of a source that have one of these ids, by id.

    Events that come again mostly come in the order in which they are stored. So, if first and last are not further
    apart, what is between them is read in order, and only other ids are searched for.
    """
    found: dict[str, Original] = {}
    ends = sorted(source.positions((ids[0], ids[-1])))
    if len(ends) == 2 and ends[1] - ends[0] < 2 * len(ids):
        _add(found, source.originals(range(ends[0], ends[1] + 1)), set(ids))
    others = {id_ for id_ in ids if id_ not in found}
    if others and (positions := sorted(set(source.positions(sorted(others))))):
        _add(found, source.originals(positions), others)
    return found


def _add(found: dict[str, Original], rows: Iterable[tuple[Any, ...]], ids: set[str]) -> None:
    made = Original._make
    found.update([(row[0], made(row)) for row in rows if row[0] in ids])


def differing(new: NewEvent, stream_id: int, type_id: int, original: Original) -> list[str]:
    """In what an event differs from the one that has its id. Spellings of the same JSON do not count."""
    differs = ["stream"] if stream_id != original.stream_id else []
    differs += ["type"] if type_id != original.type_id else []
    if original.data is None or original.meta is None:  # it was erased: what it said is unknown
        return differs
    return (
        differs
        + (["data"] if not same(new.data, original.data) else [])
        + (["meta"] if not same(new.meta, original.meta) else [])
    )


def conflict(original: Original, differs: list[str], *, stored: bool) -> ConflictError:
    """The error for an id that an event with other content has; unless it is `stored`, the error ends it, too."""
    id_ = original.id
    if stored:
        return ConflictError(
            f"the id {id_} is taken by the event at position {original.position}",
            why=f"that event has other content ({', '.join(differs)}); a new event needs a new id",
            fix=f"esctl show {original.position:d}",
            code="id",
            id=id_,
            position=original.position,
            differs=differs,
        )
    return ConflictError(
        f"the id {id_} occurs twice with different content ({', '.join(differs)})",
        why="a new event needs a new id",
        code="id",
        id=id_,
        earlier=original.position,
        differs=differs,
    )
