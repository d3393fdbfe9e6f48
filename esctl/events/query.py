"""Which events to read, and in which order: a value that every store understands."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from esctl.errors import UsageError
from esctl.events.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

MAX_POSITION = 2**63 - 1


class Shape(Record):
    """What an event of one stored type and schema version is read as."""

    type: str
    schema: int
    data: str | None  # an SQL expression over `new`, the stored event, for its payload; None: it is as stored
    part: int  # its number among the events that the stored one is split into; 0: it is not split
    hidden: str | None  # an SQL condition over `new` under which nobody sees the event


Upcasting = Mapping[str, Mapping[int, tuple[Shape, ...]]]
"""By stored type and schema version: what such events are read as; nothing where they are dropped."""

NO_UPCASTS: Upcasting = {}

Noted = Callable[[object, object], None]
"""Gets the position of an event that cannot be upcast, and the reason; the event is then left out."""


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
    """Filters that all have to hold; bounds are inclusive, and events come in position order unless `reverse`. A value:
    it does not change.

    `stream` is one stream's name, `category` all streams `<category>` and `<category>-…`, `types` any of these types.
    `since` and `until` bound the position, `since_version` and `until_version` the version (one stream only),
    `since_time` and `until_time` the producer's time, `as_of` the recorded time (UTC text).
    `where` is an SQL condition over an event's columns, judged by `esctl.sql.conditions.check_condition`.
    `raw_schema` reads events as they are stored, whatever upcasts say.
    `hot_only` leaves the archive out.
    `limit` keeps the first so many in reading order, `last` the newest so many. `system` adds the log's own streams.

    Raises UsageError for filters that exclude each other.
    """

    __slots__ = ()

    if not TYPE_CHECKING:  # to the type checker a query is made as its filters are declared

        def __new__(cls, **filters: object) -> Self:
            """The query, checked."""
            made = super().__new__(cls, **filters)
            made._check()
            return made

    def replace(self, **changes: Any) -> Query:
        """The same query with some other filters."""
        return Query(**{**self._asdict(), **changes})

    def since_position(self, position: int) -> Query:
        """The same filters over what comes from a position on; its end, limits and order are left out."""
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
            raise UsageError("a stream and a category exclude each other", why="name the stream alone")
