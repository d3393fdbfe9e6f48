"""Compare a new event with the one that has its id already: a duplicate, or a conflict."""

from __future__ import annotations

from esctl.errors import ConflictError
from esctl.events.json import same
from esctl.events.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.events.event import NewEvent


class Original(Record):
    """The event that has an id already."""

    position: int
    stream: str
    version: int
    type: str
    data: str | None  # JSON text; None where it was erased
    meta: str | None


def differing(new: NewEvent, original: Original) -> list[str]:
    """In what an event differs from the one that has its id. Spellings of the same JSON do not count."""
    differs = [name for name in ("stream", "type") if getattr(new, name) != getattr(original, name)]
    if original.data is None or original.meta is None:  # it was erased: what it said is unknown
        return differs
    return (
        differs
        + (["data"] if not same(new.data, original.data) else [])
        + (["meta"] if not same(new.meta, original.meta) else [])
    )


def conflict(id_: str, original: Original, differs: list[str], *, stored: bool) -> ConflictError:
    """The error for an id that an event with other content has; unless it is `stored`, the error ends it, too."""
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
