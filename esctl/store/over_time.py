"""Count events over time, in equal parts of the time from the first event to the last.

A block whose events are all in one part is counted by its summary. The others are read, once for all limits of parts
in them: in a log in order of time, as many as there are limits, however long it is.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise

import apsw

from esctl.errors import VerificationError
from esctl.events.query import MAX_POSITION
from esctl.store import format as storage
from esctl.store.errors import translating
from esctl.store.reads import VERSION
from esctl.store.windows import Reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SPANS = "select block, events, least_time, greatest_time from block_summaries order by block"
_SPAN = "select min(time), max(time) from {events} where stream_id > 0 and position >= ?1"
_KINDS = "select t.name, sum(b.events) from block_type_summaries b join types t using (type_id) "
_KINDS += "where block between ? and ? and not own group by type_id"
# Microseconds since the year 1, from text and back: SQLite's own times have milliseconds.
_MICROS = "(unixepoch(substr({0}, 1, 19)) + 62135596800) * 1000000 + substr({0}, 21, 6)"
_ENDS = f"select {_MICROS.format('?1')}, {_MICROS.format('?2')}"
_TEXTS = """select strftime('%Y-%m-%dT%H:%M:%S', value / 1000000 - 62135596800, 'unixepoch')
  || printf('.%06dZ', value % 1000000) from carray(?1)"""
_COUNTED = """select {name}, count(*){sums} from ({events}) {join} group by 1"""
_TIMES = "select type_id, time from {events} where position between ?1 and ?2 and stream_id > 0"
_LARGEST = f"""select stream_id, name from (select stream_id, name, {VERSION} as version from streams s
  where stream_id > 0 order by version desc, name limit ?)"""
_OF_STREAMS = "select stream_id, time from {events} where stream_id in (select value from json_each(?1))"
Part = tuple[int, str, int]
"""A part of the time, 0, 1 …; a name; how many events."""
Run = tuple[tuple[int, int], int, int, int]
"""The first and the last part of the events of some blocks; the first block and the one behind the last; how many."""


@translating
class OverTime:
    """Numbers of events in equal parts of time, without the log's own; each answer is of one state of the file."""

    def __init__(self, reading: Reading, parts: int) -> None:
        self.path, self._reading, self._parts = reading.path, reading, parts

    def total(self) -> list[int]:
        """The number of events in each part."""
        counted = [0] * self._parts
        for part, _, events in self._reading.steady(lambda _: list(self._counted(by_type=False))):
            counted[part] += events
        return counted

    def by_type(self) -> list[Part]:
        """The same by type."""
        return self._reading.steady(lambda _: list(self._counted(by_type=True)))

    def by_stream(self, most: int) -> list[Part]:
        """The same of the streams with the most events."""

        def ask(_: bool) -> list[Part]:
            execute = self._reading.connection.execute
            limits, names = self._limits(), dict(execute(_LARGEST, (most,)))
            counted: dict[tuple[int, str], int] = {}
            chosen = f"[{','.join(map(str, names))}]"
            for stream_id, time in execute(self._reading.everywhere(_OF_STREAMS), (chosen,)):
                key = bisect_right(limits, time), names[stream_id]
                counted[key] = counted.get(key, 0) + 1
            return [(*key, events) for key, events in counted.items()]

        return self._reading.steady(ask)

    def _limits(self) -> list[str]:
        """Where each part but the first begins."""
        execute = self._reading.connection.execute
        first = execute(storage.NEXT_BLOCK).get * storage.POSITIONS_PER_BLOCK + 1
        spans: list[Any] = execute("select min(least_time), max(greatest_time) from block_summaries").fetchall()
        spans += execute(self._reading.everywhere(_SPAN), (first,)).fetchall()
        found = [span for span in spans if span[0] is not None]
        if not found:
            return []
        low, high = execute(_ENDS, (min(low for low, _ in found), max(high for _, high in found))).get
        if low is None or high is None:
            raise VerificationError(f"{self.path} is damaged", why="it has a time that is none", fix="esctl verify")
        starts = [low + (high - low) * n // self._parts for n in range(1, self._parts)] if low < high else []
        return (
            [
                str(text)
                for (text,) in execute(_TEXTS, (apsw.carray(array("q", starts), flags=apsw.SQLITE_CARRAY_INT64),))
            ]
            if starts
            else []
        )

    def _counted(self, *, by_type: bool) -> Iterator[Part]:
        limits, size = self._limits(), storage.POSITIONS_PER_BLOCK
        after = 0
        for (low, high), first, after, events in self._runs(limits):
            if low < high:
                yield from self._read(limits[low:high], low, (first * size + 1, after * size), by_type=by_type)
            elif by_type:
                found: Any = self._reading.connection.execute(_KINDS, (first, after - 1))
                yield from ((low, name, number) for name, number in found)
            else:
                yield low, "", events
        yield from self._read(limits, 0, (after * size + 1, MAX_POSITION), by_type=by_type)

    def _runs(self, limits: list[str]) -> Iterator[Run]:
        """All blocks: in runs, if all their events are in one part."""
        run: Run | None = None
        found: Any = self._reading.connection.execute(_SPANS).fetchall()
        for block, events, least, greatest in found:
            low, high = bisect_right(limits, least or ""), bisect_right(limits, greatest or "")
            if run and run[0] == (low, high) and low == high and run[2] == block:
                run = run[0], run[1], block + 1, run[3] + events
                continue
            if run:
                yield run
            run = (low, high), block, block + 1, events
        if run:
            yield run

    def _read(self, limits: list[str], part: int, positions: tuple[int, int], *, by_type: bool) -> Iterator[Part]:
        """The events between two positions, counted by SQLite; `limits` are those after a part."""
        sums = "".join([f", sum(time >= '{limit}')" for limit in limits])
        join, name = ("join types using (type_id)", "name") if by_type else ("", "''")
        sql = _COUNTED.format(name=name, sums=sums, events=self._reading.everywhere(_TIMES), join=join)
        for found, *numbers in self._reading.connection.execute(sql, positions):
            for at, (since, later) in enumerate(pairwise([*numbers, 0]), part):
                if since > later:
                    yield at, found, since - later
