"""Which events to read, and in which order: a value that every store understands."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from esctl.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_POSITION = 2**63 - 1


class Shape:
    """What an event of one stored type and schema version is read as.

    `data` is an SQL expression over `new`, the stored event, for its payload (None: as it is stored); `part` its number
    among those that the event is split into (0: it is not); `hidden` an SQL condition under which nobody sees it.
    """

    __slots__ = ("data", "hidden", "part", "schema", "type")

    def __init__(self, type_: str, schema: int, data: str | None, part: int, hidden: str | None) -> None:
        self.type, self.schema, self.data, self.part, self.hidden = type_, schema, data, part, hidden


Upcasting = Mapping[str, Mapping[int, tuple[Shape, ...]]]
"""By stored type and schema version: what such events are read as; nothing where they are dropped."""

NO_UPCASTS: Upcasting = {}
_set = object.__setattr__  # which alone sets what a query says

Noted = Callable[[object, object], None]
"""Gets the position of an event that cannot be upcast, and the reason; the event is then left out."""


class Query:
    """Filters that all have to hold; bounds are inclusive, and events come in position order unless `reverse`. A value:
    it does not change.

    `stream` is one stream's name, `category` all streams `<category>` and `<category>-…`, `types` any of these types.
    `since` and `until` bound the position, `since_version` and `until_version` the version (one stream only),
    `since_time` and `until_time` the producer's time, `as_of` the recorded time (UTC text).
    `where` is an SQL condition over an event's columns, judged by `esctl.sql.conditions.check_condition`.
    `raw_schema` reads events as they are stored, whatever upcasts say.
    `hot_only` leaves the archive out.
    `limit` keeps the first so many in reading order, `last` the newest so many. `system` adds the log's own streams.
    """

    __slots__ = (
        "as_of",
        "category",
        "hot_only",
        "last",
        "limit",
        "raw_schema",
        "reverse",
        "since",
        "since_time",
        "since_version",
        "stream",
        "system",
        "types",
        "until",
        "until_time",
        "until_version",
        "where",
    )

    stream: str | None
    category: str | None
    types: tuple[str, ...]
    since: int
    until: int
    since_version: int | None
    until_version: int | None
    since_time: str | None
    until_time: str | None
    as_of: str | None
    reverse: bool
    limit: int | None
    last: int | None
    system: bool
    where: str | None
    raw_schema: bool
    hot_only: bool

    def __init__(  # a value with one keyword a filter; a struct would import msgspec on every cold start
        self,
        *,
        stream: str | None = None,
        category: str | None = None,
        types: tuple[str, ...] = (),
        since: int = 1,
        until: int = MAX_POSITION,
        since_version: int | None = None,
        until_version: int | None = None,
        since_time: str | None = None,
        until_time: str | None = None,
        as_of: str | None = None,
        reverse: bool = False,
        limit: int | None = None,
        last: int | None = None,
        system: bool = False,
        where: str | None = None,
        raw_schema: bool = False,
        hot_only: bool = False,
    ) -> None:
        given = locals()
        for name in self.__slots__:
            _set(self, name, given[name])
        self._check()

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a query does not change; another {name} makes another query: see replace")

    def replace(self, **changes: Any) -> Query:
        """The same query but for some of its filters."""
        return Query(**{name: getattr(self, name) for name in self.__slots__} | changes)

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
