"""Where events that match a filter may be, by the summaries of blocks and by the streams of a category.

The newest events, which have no summary yet, may always match. So does a block whose summary is missing.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator

from esctl.store import format as storage
from esctl.store.windows import Reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Range = tuple[int, int]
    """The first and last of some adjacent positions."""

DENSE = 32  # so many adjacent positions are read as a range, fewer one by one
POINTS = 1000  # single positions for one statement
BLOCKS_AT_FIRST, BLOCKS_AT_ONCE = 32, 1024
FIRST_BUDGET = 2000  # events of a category that are looked for by its streams before events are read instead
_BY_TYPE = """select t.block, t.first_position, t.last_position, t.positions
from block_summaries b cross join block_type_summaries t on t.block = b.block and t.type_id in ({types})
where b.block between :first and :last {times} order by b.block {order}"""
_BY_TIME = """select b.block, b.block * :size + 1, (b.block + 1) * :size, null
from block_summaries b where b.block between :first and :last {times} order by b.block {order}"""
_COUNT = "select count(*) from block_summaries where block between ? and ?"
_STREAMS = """select stream_id from streams where name = :category
union all select stream_id from streams where name >= :category || '-' and name < :category || '.'"""
_HOT = f"""select e.position from ({_STREAMS}) s cross join main.events e on e.stream_id = s.stream_id
where e.position between :low and :high limit :most"""
_ARCHIVED = f"""select a.segment, a.first_position, a.first_position + a.positions_on, a.frames
from segments g cross join ({_STREAMS}) s cross join archived_streams a
  on a.segment = g.first and a.stream_id = s.stream_id
where a.first_position <= :high and a.first_position + a.positions_on >= :low limit :most"""
_FRAMES = "select first, last from frames where segment = ? and first >= ?1 order by first"


class Filter:
    """What events have to be to match, as far as candidates are found by it: their type (numbers), the least and
    greatest time, the category of their stream. None: anything.
    """

    __slots__ = ("category", "since", "types", "until")

    def __init__(self) -> None:
        self.types: list[int] | None = None
        self.since: str | None = None
        self.until: str | None = None
        self.category: str | None = None

    def __bool__(self) -> bool:
        return self.by_block or self.category is not None

    @property
    def by_block(self) -> bool:
        """Whether summaries of blocks help."""
        return self.types is not None or self.since is not None or self.until is not None


class Candidates:
    """The positions between two, in reading order, at which events may match."""

    def __init__(self, reading: Reading, wanted: Filter, low: int, high: int, *, reverse: bool) -> None:
        self._reading, self._execute = reading, reading.connection.execute
        self._wanted, self._reverse = wanted, reverse
        self._ranges = self._found(low, high)
        self._ahead: list[Range] = []

    def start(self, at: int) -> int | None:
        """The first candidate from a position on; None if there is none."""
        for low, high in self._from(at):
            return min(at, high) if self._reverse else max(at, low)
        return None

    def take(self, low: int, high: int, size: int) -> tuple[int, int, array[int] | None]:
        """The first candidates between two positions, at most so many: all of a range, or single positions."""
        points: list[int] = []
        most = min(size, POINTS)
        for first, last in self._from(high if self._reverse else low):
            since, until = max(low, first), min(high, last)
            if since > until or len(points) >= most:
                break
            if until - since + 1 >= DENSE:
                if points:
                    break
                if self._reverse:
                    return max(since, until - size + 1), until, None
                return since, min(until, since + size - 1), None
            some = range(since, until + 1)
            points += reversed(some) if self._reverse else some
        del points[most:]
        if self._reverse:
            points.reverse()
        return points[0], points[-1], array("q", points)

    def _from(self, at: int) -> Iterator[Range]:
        """The ranges from a position on; those before it are dropped."""
        ahead, number = self._ahead, 0
        while number < len(ahead) and (ahead[number][0] > at if self._reverse else ahead[number][1] < at):
            number += 1
        del ahead[:number]
        number = 0
        while True:
            while number >= len(ahead):
                if (new := next(self._ranges, None)) is None:
                    return
                if new[0] <= at if self._reverse else new[1] >= at:
                    ahead.append(new)
            yield ahead[number]
            number += 1

    def _found(self, low: int, high: int) -> Iterator[Range]:
        found = []
        if self._wanted.by_block:
            found.append(self._by_block(low, high))
        if self._wanted.category is not None:
            found.append(self._by_category(self._wanted.category, low, high))
        return found[0] if len(found) == 1 else self._both(*found)

    def _both(self, one: Iterator[Range], other: Iterator[Range]) -> Iterator[Range]:
        """What is in ranges of both."""
        a, b = next(one, None), next(other, None)
        while a is not None and b is not None:
            low, high = max(a[0], b[0]), min(a[1], b[1])
            if low <= high:
                yield low, high
            if a[0] > b[0] if self._reverse else a[1] < b[1]:
                a = next(one, None)
            else:
                b = next(other, None)

    # By the summaries of blocks

    def _by_block(self, low: int, high: int) -> Iterator[Range]:
        size = storage.POSITIONS_PER_BLOCK
        after = self._execute(storage.NEXT_BLOCK).get
        end = after * size
        newest = [(max(low, end + 1), high)] if high > end else []
        if self._reverse:
            yield from newest
        first, last = (low - 1) // size, min((high - 1) // size, after - 1)
        step = BLOCKS_AT_FIRST
        while first <= last:
            if self._reverse:
                start, last = last, max(first - 1, last - step)
                yield from self._in_blocks(last + 1, start)
            else:
                start, first = first, min(last + 1, first + step)
                yield from self._in_blocks(start, first - 1)
            step = BLOCKS_AT_ONCE
        if not self._reverse:
            yield from newest

    def _in_blocks(self, first: int, last: int) -> Iterable[Range]:
        """The candidates in some blocks."""
        size, wanted = storage.POSITIONS_PER_BLOCK, self._wanted
        if self._execute(_COUNT, (first, last)).get <= last - first:  # a summary is missing
            return [(first * size + 1, (last + 1) * size)]
        times = "and b.greatest_time >= :since " if wanted.since is not None else ""
        times += "and b.least_time <= :until" if wanted.until is not None else ""
        order = "desc" if self._reverse else ""
        sql = _BY_TIME if wanted.types is None else _BY_TYPE
        found: Any = self._execute(
            sql.format(types=",".join(map(str, wanted.types or ())), times=times, order=order),
            {"first": first, "last": last, "size": size, "since": wanted.since, "until": wanted.until},
        )
        ranges: list[Range] = []
        for block, least, greatest, positions in found:
            if positions is None:
                ranges.append((least, greatest))
            else:
                start = block * size
                ranges += [(start + int(at), start + int(at)) for at in positions.split(",")]
        return _merged(ranges, reverse=self._reverse)

    # By the streams of a category

    def _by_category(self, category: str, low: int, high: int) -> Iterator[Range]:
        """The places of a category's events, if they are few; else all positions, in growing portions, after each of
        which the rest may have few: looking takes a small part of the time that reading the portion takes.
        """
        budget = FIRST_BUDGET
        while low <= high:
            found = self._of_streams(category, low, high, budget)
            if found is not None:
                yield from found
                return
            if self._reverse:
                yield max(low, high - budget + 1), high
                high -= budget
            else:
                yield low, min(high, low + budget - 1)
                low += budget
            budget *= 4

    def _of_streams(self, category: str, low: int, high: int, most: int) -> Iterable[Range] | None:
        """The places of events in the streams of a category; None if there are more than so many."""
        parameters = {"category": category, "low": low, "high": high, "most": most + 1}
        hot: Any = self._execute(_HOT, parameters).fetchall()
        if len(hot) > most:
            return None
        ranges = [(position, position) for (position,) in hot]
        if self._reading.archive is not None:
            archived: Any = self._execute(_ARCHIVED, parameters).fetchall()
            if len(archived) > most:
                return None
            ranges += self._in_frames(archived)
        return _merged(ranges, reverse=self._reverse)

    def _in_frames(self, archived: list[tuple[int, int, int, str | None]]) -> Iterator[Range]:
        """The places of archived events: one or two by position, more by frame."""
        frames: dict[int, Any] = {}
        for segment, first, last, numbers in archived:
            if numbers is None:
                yield from ((first, first), (last, last))
                continue
            if segment not in frames:
                frames[segment] = self._execute(_FRAMES, (segment,)).fetchall()
            yield from (frames[segment][int(number)] for number in numbers.split(","))


def _merged(ranges: list[Range], *, reverse: bool) -> list[Range]:
    """Ranges in reading order, those that overlap or adjoin as one."""
    merged: list[Range] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(high, merged[-1][1])
        else:
            merged.append((low, high))
    return merged[::-1] if reverse else merged
