"""Read in windows: each from one snapshot of the file, from the hot table or the archive, whichever has the events.

Another process may move events from one to the other at any time. So each window also reads how often the archive has
changed, in the same snapshot, and looks up the places again if that number is new.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import apsw

from esctl.errors import SegmentError
from esctl.store.format import ARCHIVED, HOT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from array import array
    from types import TracebackType
    from typing import Any, TypeVar

    from esctl.store.archive import Archive
    from esctl.store.reads import Scan

    T = TypeVar("T")

MANY = 1_000_000  # positions (or versions), of which perhaps no more than a few have events: a number may be altered
POINTS = "points"  # the parameter for single keys
POSITIONS_PER_STATEMENT = 1000  # or versions; the read transaction ends after each
_GENERATION = "select archived from head union all select 0"
# Archived rows stay in the hot table until the end of the run that archives them. Reads by position or version never
# look for them there; everything else that counts rows excludes them.
NOT_ARCHIVED = """ifnull((select last from main.segments where first <= h.position order by first desc limit 1), 0)
< h.position"""
_REMAINING = f"(select * from main.events as h where {NOT_ARCHIVED})"
_LEFTOVER = "select exists(select 1 from segments g join events e on e.position between g.first and g.last)"


class Reading:
    """A connection and its archive (None if there never was one)."""

    def __init__(self, connection: apsw.Connection, path: str) -> None:
        self.connection, self.path = connection, path
        self.archive: Archive | None = None
        self.hot = HOT  # the table, or a SELECT that excludes archived rows
        self.seen: Mapping[str, str] = {}  # what folds and projections read instead of HOT and ARCHIVED, see `Imagined`

    def pinned(self) -> Pinned:
        """A block that sees one state of the file; it gives whether there is an archive."""
        return Pinned(self)

    def steady(self, ask: Callable[[bool], T]) -> T:
        """The answer of a question on one state of the file; `ask` gets whether there is an archive.

        It is asked again if another process has moved a segment that it needs.
        """
        while True:
            pinned = self.pinned()
            try:
                with pinned as archived:
                    return ask(archived)
            except SegmentError:
                if not self.moved_since(pinned.generation):
                    raise

    def moved_since(self, generation: int) -> bool:
        """Whether the archive has changed since a generation."""
        with self.pinned():
            return self.archive is not None and self.archive.generation != generation

    def known(self, generation: int) -> bool:
        """Register how often the archive has changed; whether there is an archive."""
        if generation and self.archive is None:
            from esctl.store.archive import Archive  # noqa: PLC0415 - only an archive needs it

            self.archive = Archive(self.connection, self.path)
        if self.archive is not None and self.archive.generation != generation:
            self.archive.as_of(generation)
            self.hot = _REMAINING if self.connection.execute(_LEFTOVER).get else HOT
        return generation > 0

    def everywhere(self, sql: str) -> str:
        """A SELECT from `{events}`, over the hot table and, if there is one, the archive."""
        hot = sql.format(events=self.hot)
        archived = self.archive is not None and self.archive.generation > 0
        return f"{hot} union all {sql.format(events=ARCHIVED)}" if archived else hot


class Pinned:
    """See `Reading.pinned`. An unfinished statement keeps its snapshot of the file."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.generation = 0
        self._cursor: apsw.Cursor | None = None

    def __enter__(self) -> bool:
        self._cursor = self.reading.connection.execute(_GENERATION)
        self.generation = next(self._cursor)[0]
        return self.reading.known(self.generation)

    def __exit__(self, *_: object) -> None:
        if self._cursor is not None:
            self._cursor.close()
            self._cursor = None


class Windows:
    """A query's keys cut into windows, in reading order.

    Use each in a `with` block: it gives the table to read and the parameters `low`, `high` and, if only single keys are
    to be read, POINTS; and keeps the snapshot until the block ends.
    """

    def __init__(
        self, reading: Reading, scan: Scan, size: int = POSITIONS_PER_STATEMENT, *, reverse: bool | None = None
    ) -> None:
        self._pinned = reading.pinned()
        self._reading, self._scan, self._size = reading, scan, size
        self._reverse = scan.reverse if reverse is None else reverse
        self._low, self._high = scan.low, scan.high
        self.low = self.high = 0
        self._candidates = scan.candidates(reading, reverse=self._reverse)
        self._points: array[int] | None = None

    def __iter__(self) -> Iterator[Windows]:
        while self._low <= self._high and self._skip():
            yield self

    def _skip(self) -> bool:
        """Go on to the next key at which an event may match; whether there is one."""
        if self._candidates is None:
            return True
        at = self._candidates.start(self._high if self._reverse else self._low)
        if at is None:
            return False
        if self._reverse:
            self._high = at
        else:
            self._low = at
        return self._low <= self._high

    def __enter__(self) -> tuple[str, dict[str, Any]]:
        archived = self._pinned.__enter__()
        try:
            table = self._next() if archived else self._cut(HOT, self._low, self._high)
        except BaseException:
            self._pinned.__exit__(None, None, None)
            raise
        bounds: dict[str, Any] = {"low": self.low, "high": self.high}
        if self._points is not None:
            bounds[POINTS] = apsw.carray(self._points, flags=apsw.SQLITE_CARRAY_INT64)
        return table, bounds

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        self._pinned.__exit__(None, None, None)
        if error is None:
            if self._reverse:
                self._high = self.low - 1
            else:
                self._low = self.high + 1
            return False
        if isinstance(error, SegmentError):  # another process may have moved it meanwhile: then read again
            return self._reading.moved_since(self._pinned.generation)
        return False

    def _next(self) -> str:
        """Take the next window from the table that has its first key (in reverse: its last)."""
        low, high = self._low, self._high
        ranges = self._scan.ranges(self._reading, self._pinned.generation)
        at = high if self._reverse else low
        for first, last in reversed(ranges) if self._reverse else ranges:
            if first <= at <= last:
                if self._scan.hot_only:
                    return self._pass(first, last)
                return self._cut(ARCHIVED, max(low, first), min(high, last))
            if not self._reverse and first > at:
                return self._cut(HOT, low, min(high, first - 1))
            if self._reverse and last < at:
                return self._cut(HOT, max(low, last + 1), high)
        return self._cut(HOT, low, high)

    def _pass(self, first: int, last: int) -> str:
        """Skip an archived range."""
        if self._reverse:
            self._high = first - 1
        else:
            self._low = last + 1
        if self._low > self._high or not self._skip():
            self.low, self.high = self._low, self._high
            return HOT
        return self._next()

    def _cut(self, table: str, low: int, high: int) -> str:
        """A window within these bounds; an archived one by position is at most one frame."""
        size, archive = self._size, self._reading.archive
        if table == ARCHIVED and self._scan.key == "position" and archive is not None:
            first, last = archive.frame_of(high if self._reverse else low)
            low, high = max(low, first), min(high, last)
        elif table == HOT and self._candidates is None and high - low > MANY:
            low, high = self._to_next(low, high)
        if self._candidates is not None:
            self.low, self.high, self._points = self._candidates.take(low, high, size)
        elif self._reverse:
            self.low, self.high = max(low, high - size + 1), high
        else:
            self.low, self.high = low, min(high, low + size - 1)
        return table

    def _to_next(self, low: int, high: int) -> tuple[int, int]:
        """The same bounds from the next hot event on (in reverse: down from it)."""
        key, most = self._scan.key, "max" if self._reverse else "min"
        of_stream = " and stream_id = :stream_id" if key == "version" else ""
        sql = f"select {most}({key}) from {HOT} where {key} between :low and :high{of_stream}"
        parameters = {"low": low, "high": high, "stream_id": self._scan.parameters.get("stream_id")}
        found: int | None = self._reading.connection.execute(sql, parameters).get
        if self._reverse:
            return low, low if found is None else found
        return high if found is None else found, high
