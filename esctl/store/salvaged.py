"""Write the whole events of a damaged log into a new file, at their positions."""

from __future__ import annotations

import heapq
import json
import os
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import apsw

from esctl.events import chain, system
from esctl.events.event import new_ids, ranges
from esctl.store import summaries
from esctl.store.errors import Translated
from esctl.store.format import uri_of
from esctl.store.opening import run
from esctl.store.salvaging import Damaged, Lost, Row
from esctl.store.windows import Reading

_INSERT = "insert into events values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_FACTS = """select ifnull(max(ifnull(octet_length(data) + octet_length(meta), 0)), 0) from events"""
_MODEL = """select ifnull(max(position), 0) from events join types t using (type_id)
join streams s using (stream_id) where s.name = ? and t.name = ? and data is not null"""
_CHAIN = """select position, s.name, version, id, t.name, schema, time, recorded, data, meta, salt, g.digest
from events join streams s using (stream_id) join types t using (type_id) left join erased g using (position)
where position >= ? order by position"""
ROWS_AT_ONCE = 1000


class Found:
    """What was found in a damaged log: ranges of whole positions, losses, positions whose salts are lost, and positions
    whose payload is erased, though no event that is left says so.
    """

    def __init__(self) -> None:
        self.whole: list[tuple[int, int]] = []
        self.lost: list[Lost] = []
        self.unsalted: list[int] = []
        self.unsaid: list[int] = []

    @property
    def last(self) -> int:
        """The last position."""
        return max(self.whole[-1][1] if self.whole else 0, self.lost[-1].last if self.lost else 0)

    @property
    def events(self) -> int:
        """The number of whole events."""
        return sum(last - first + 1 for first, last in self.whole)

    def seen(self, events: Iterator[Row | Lost]) -> Iterator[Row]:
        """Note what is whole and what is not; pass on what is whole."""
        for event in events:
            if isinstance(event, Lost):
                self.lost.append(event)
                continue
            if self.whole and self.whole[-1][1] + 1 == event.position:
                self.whole[-1] = self.whole[-1][0], event.position
            else:
                self.whole.append((event.position, event.position))
            if event.hash is None:
                self.unsalted.append(event.position)
            yield event


class Draft:
    """A new log's file that gets the events of a damaged one."""

    def __init__(self, path: Path, damaged: Damaged) -> None:
        self.path, self.damaged, self.found = path, damaged, Found()
        self._streams: dict[str, int] = {}
        self._types: dict[str, int] = {}
        self._ends: dict[str, tuple[int, int]] = {}  # version and position of each stream's newest event so far
        self._jobs: list[tuple[int, int, str, int]] = []  # after and before which position a stream lacks a version
        self._said: dict[int, int] = {}  # erased positions, and the events that say so
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_URI
        self._connection = apsw.Connection(uri_of(str(path)), flags=flags)
        self._execute = self._connection.execute

    def fill(self, *, rechained: bool) -> None:
        """Write all whole events. `rechained`: with events in the places of the lost ones, in a chain of their own."""
        with Translated(str(self.path)), closing(self._connection):
            run(self._connection, "pragma synchronous = off; pragma foreign_keys = off")
            with self._connection:
                self._identify()
                rows = self.found.seen(self.damaged.events())
                while block := list(islice(rows, ROWS_AT_ONCE)):
                    self._connection.executemany(_INSERT, map(self._row, block))
                self._blank()
                if rechained:
                    self._fill_gaps()
                self._erased()
                self._finish(rechained=rechained)

    def _identify(self) -> None:
        """Give the file the id of the damaged log, unless that is lost."""
        head, log_id = self.damaged.head, self.damaged.log_id
        if head is not None and log_id is not None:
            digest = chain.created_digest(log_id, head.created)
            self._execute("update head set log_id = ?, created = ?, created_digest = ?", (log_id, head.created, digest))

    def _row(self, row: Row) -> tuple[object, ...]:
        self._note(row)
        salt, hash_, data, meta = row.salt, row.hash, row.data, row.meta
        if row.data is None:
            self._execute("insert into erased values (?, ?, 0)", (row.position, row.digest))
        elif salt is None:
            salt = os.urandom(chain.SALT_BYTES)
        return (
            row.position, self._number("stream", row.stream), row.version, row.id, self._number("type", row.type),
            row.schema, row.time, row.recorded, data, meta, salt, hash_ or bytes(32),
        )  # fmt: skip

    def _number(self, kind: str, name: str) -> int:
        known = self._streams if kind == "stream" else self._types
        if name not in known:
            number = len(known) + 1
            known[name] = -number if kind == "stream" and name.startswith(system.PREFIX) else number
            self._execute(f"insert into {kind}s ({kind}_id, name) values (?, ?)", (known[name], name))
        return known[name]

    def _note(self, row: Row) -> None:
        """Note which versions of the stream are missing before an event, and what it says was erased."""
        version, position = self._ends.get(row.stream, (0, 0))
        for missing in range(version + 1, row.version):
            self._jobs.append((position, row.position, row.stream, missing))
        self._ends[row.stream] = row.version, row.position
        if row.stream == system.STREAM and row.type == system.PAYLOAD_ERASED and row.data is not None:
            for low, high in json.loads(row.data)["positions"]:
                self._said.update(dict.fromkeys(range(low, high + 1), row.position))

    def _blank(self) -> None:
        """Remove payloads that an event says were erased: older pages may still have them."""
        for position in self._said:
            found = self._execute(
                "select salt, data, meta from events where position = ? and data is not null", (position,)
            ).get
            if found is not None:
                salt, data, meta = found
                digest = chain.payload_digest(salt, data.encode(), meta.encode())
                self._execute("insert into erased values (?, ?, 0)", (position, digest))
                sql = "update events set data = null, meta = null, salt = null where position = ?"
                self._execute(sql, (position,))

    # Lost events

    def _fill_gaps(self) -> None:
        """Put an event without payload at each lost position, in the stream that lacks a version there."""
        ids, moment = new_ids(), ""
        for position, (stream, version) in self._places().items():
            moment = self._execute("select recorded from events where position = ?", (position - 1,)).get or moment
            if not moment:  # nothing is left before it
                sql = "select recorded from events where position > ? order by position limit 1"
                moment = self._execute(sql, (position,)).get or self._execute("select created from head").get
            header = position, stream, version, next(ids), system.EVENT_LOST, 1, moment, moment
            digest = chain.payload_digest(os.urandom(chain.SALT_BYTES), b"{}", b"{}")
            row = Row._make((*header, None, None, None, digest, None, False))
            self._connection.executemany(_INSERT, [self._row(row)])

    def _places(self) -> dict[int, tuple[str, int]]:
        """The stream and version of each lost position. What the index says is taken, if all of it fits."""
        positions = [p for lost in self.found.lost for p in range(lost.first, lost.last + 1)]
        known = self._indexed(positions)
        if known is None or (places := _assigned(positions, known)) is None:
            places = _assigned(positions, self._jobs)
        assert places is not None, "the versions that are missing were at positions that are missing"
        number = self._ends.get(system.LOST_STREAM, (0, 0))[0]
        for position in positions:
            if position not in places:
                number += 1
                places[position] = system.LOST_STREAM, number
        return {position: places[position] for position in positions}

    def _indexed(self, positions: list[int]) -> list[tuple[int, int, str, int]] | None:
        """The missing versions, with their own positions where the index of the damaged log still has them, and those
        behind the newest whole event of a stream. None if the index contradicts them.
        """
        jobs = {(stream, version): (after, before) for after, before, stream, version in self._jobs}
        ends = dict(self._ends)
        for position in positions:
            place = self.damaged.carved.indexed.get(position)
            names = self.damaged.streams.get(place.stream_id, ()) if place else ()
            if place is None or len(names) != 1:
                continue
            stream, version = names[0], place.version
            if (stream, version) not in jobs:
                end = ends.get(stream, (0, 0))
                if end[0] + 1 != version or end[1] >= position:
                    continue
                ends[stream] = version, position
            elif not jobs[stream, version][0] < position < jobs[stream, version][1]:
                return None
            jobs[stream, version] = position - 1, position + 1
        return [(after, before, stream, version) for (stream, version), (after, before) in jobs.items()]

    # The end

    def _erased(self) -> None:
        """Note of each erased payload which event says so."""
        found = [int(str(row[0])) for row in self._execute("select position from erased order by position").fetchall()]
        for position in found:
            if position in self._said:
                self._execute("update erased set event = ? where position = ?", (self._said[position], position))
            else:
                self.found.unsaid.append(position)

    def _finish(self, *, rechained: bool) -> None:
        """Write the head; if `rechained`, first compute the hashes from the first loss on."""
        changed = [lost.first for lost in self.found.lost] + self.found.unsalted[:1]
        if rechained and (changed or self.damaged.log_id is None):
            self._rechain(min(changed) if self.damaged.log_id is not None else 1)
        newest = self._execute("select position, hash, recorded from events order by position desc limit 1").get
        log_id, created = self._execute("select log_id, created from head").get
        newest = newest or (0, chain.genesis(log_id), created)
        self._execute(
            "update head set position = ?, hash = ?, recorded = ?, quoting = 1,"
            f" largest = ({_FACTS}), model = ({_MODEL})",
            (*newest, system.STREAM, system.MODEL_APPLIED),
        )
        summaries.extend(Reading(self._connection, str(self.path)), 0, newest[0])

    def _rechain(self, start: int) -> None:
        log_id = self._execute("select log_id from head").get
        previous = self._execute("select hash from events where position = ?", (start - 1,)).get
        previous = previous or chain.genesis(log_id)

        def rows() -> Iterator[tuple[bytes, int]]:
            nonlocal previous
            cursor = self._connection.cursor()
            for *values, digest in cursor.execute(_CHAIN, (start,)):
                row = Row._make((*values, digest, None, False))
                previous = row.follows(previous)
                yield previous, row.position

        self._execute("create temp table hashes as select x'' as hash, 0 as position limit 0")
        self._connection.executemany("insert into temp.hashes values (?, ?)", rows())
        self._execute("create unique index temp.by_position on hashes (position)")
        self._execute("update events set hash = h.hash from temp.hashes h where h.position = events.position")
        self._execute("drop table temp.hashes")

    def unsaid(self) -> list[tuple[int, int]]:
        """The erased positions, as ranges, that an event still has to name."""
        return ranges(self.found.unsaid)


def _assigned(positions: list[int], jobs: list[tuple[int, int, str, int]]) -> dict[int, tuple[str, int]] | None:
    """A position for each missing version, strictly between the two that are given with it; None if there is no such
    order. At each position the version that has to come soonest.
    """
    waiting, placed = sorted(jobs), {}
    ready: list[tuple[int, str, int]] = []
    at = 0
    for position in positions:
        while at < len(waiting) and waiting[at][0] < position:
            _, before, stream, version = waiting[at]
            heapq.heappush(ready, (before, stream, version))
            at += 1
        if ready:
            before, stream, version = heapq.heappop(ready)
            if before <= position:
                return None
            placed[position] = stream, version
    return placed if not ready and at == len(waiting) else None
