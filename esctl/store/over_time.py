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
        limits = self._limits()
        end = 0
        for part, block, last, events in self._runs(limits):
            if part is None:
                first = block * storage.POSITIONS_PER_BLOCK + 1
                yield from self._read(limits, first, last * storage.POSITIONS_PER_BLOCK, by_type=by_type)
            elif by_type:
                found: Any = self._reading.connection.execute(_KINDS, (block, last - 1))
                yield from ((part, name, number) for name, number in found)
            else:
                yield part, "", events
            end = last
        yield from self._read(limits, end * storage.POSITIONS_PER_BLOCK + 1, MAX_POSITION, by_type=by_type)

    def _runs(self, limits: list[str]) -> Iterator[tuple[int | None, int, int, int]]:
        """Blocks of one part each, in runs: the part, the first block and the one behind the last, how many events; and
        each block with events of several parts (None).
        """
        run: tuple[int, int, int, int] | None = None
        found: Any = self._reading.connection.execute(_SPANS).fetchall()
        for block, events, least, greatest in found:
            low = bisect_right(limits, least or "")
            whole = not events or low == bisect_right(limits, greatest)
            if run and whole and run[0] == low and run[2] == block:
                run = low, run[1], block + 1, run[3] + events
                continue
            if run:
                yield run
            run = (low, block, block + 1, events) if whole else None
            if not whole:
                yield None, block, block + 1, events
        if run:
            yield run

    def _read(self, limits: list[str], first: int, last: int, *, by_type: bool) -> Iterator[Part]:
        """The events between two positions, counted by SQLite."""
        rows = self._reading.everywhere(_TIMES)
        execute = self._reading.connection.execute
        least, greatest = execute(f"select min(time), max(time) from ({rows})", (first, last)).get
        if least is None:
            return
        start, end = bisect_right(limits, least), bisect_right(limits, greatest)
        sums = "".join([f", sum(time >= '{limit}')" for limit in limits[start:end]])
        join, name = ("join types using (type_id)", "name") if by_type else ("", "''")
        for found, *numbers in execute(_COUNTED.format(name=name, sums=sums, events=rows, join=join), (first, last)):
            for part, (since, later) in enumerate(pairwise([*numbers, 0]), start):
                if since > later:
                    yield part, found, since - later
