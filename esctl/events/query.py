"""The query: filters, bounds, limits and the order in which to read events; and the upcasts to read them with."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from esctl.errors import UsageError
from esctl.events.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

MAX_POSITION = 2**63 - 1


class Shape(Record):
    """The event that a stored event of one type and schema version is upcast to."""

    type: str
    schema: int
    data: str | None  # the payload as an SQL expression over `new`, the stored event; None: unchanged
    part: int  # its number among the events of a split; 0: not split
    hidden: str | None  # an SQL condition over `new` under which the event is dropped


Upcasting = Mapping[str, Mapping[int, tuple[Shape, ...]]]
"""By stored type and schema version: the shapes that such events are upcast to; an empty tuple drops them."""

NO_UPCASTS: Upcasting = {}

Noted = Callable[[object, object], None]
"""Called with the position of an event that cannot be upcast, and the reason; the read skips that event."""


class _Filters(Record):
    stream: str | None = None
    category: str | None = None
    types: tuple[str, ...] = ()
    since: int = 1
    until: int = MAX_POSITION
    since_version: int | None = None
    until_version: int | None = None
    since_time: str | None = None
    until_time: str | None = None
    as_of: str | None = None
    reverse: bool = False
    limit: int | None = None
    last: int | None = None
    system: bool = False
    where: str | None = None
    raw_schema: bool = False
    hot_only: bool = False


class Query(_Filters):
    """Filters, all of which an event has to match; immutable. Bounds are inclusive, and events come in position order
    unless `reverse`.

    `stream` is one stream's name, `category` all streams `<category>` and `<category>-…`, `types` any of these types.
    `since` and `until` bound the position, `since_version` and `until_version` the version (one stream only),
    `since_time` and `until_time` the producer's time, `as_of` the recorded time (UTC text).
    `where` is an SQL condition over an event's columns; `esctl.sql.conditions.check_condition` has to accept it.
    `raw_schema` reads events as stored, without upcasts. `hot_only` skips the archive.
    `limit` is the number of events from the start of the reading order, `last` from the newest back.
    `system` includes the log's own streams.

    Raises UsageError for filters that exclude each other.
    """

    __slots__ = ()

    if not TYPE_CHECKING:  # the type checker uses the signature of _Filters

        def __new__(cls, **filters: object) -> Self:
            """The query, checked."""
            query = super().__new__(cls, **filters)
            query._check()
            return query

    def replace(self, **changes: Any) -> Query:
        """A copy of the query with some filters changed."""
        return Query(**{**self._asdict(), **changes})

    def since_position(self, position: int) -> Query:
        """The same filters from a position on, without an end or limits, in position order."""
        left_out = {"until": MAX_POSITION, "until_version": None, "as_of": None, "limit": None, "last": None}
        return self.replace(since=max(self.since, position), reverse=False, **left_out)

    def _check(self) -> None:
        if self.stream is None and (self.since_version is not None or self.until_version is not None):
            raise UsageError(
                "a version (v7) is a point in one stream",
                why="no stream is named",
                fix="esctl help time",
            )
        if self.stream is not None and self.category is not None:
            raise UsageError("a stream and a category exclude each other", why="name only the stream")
