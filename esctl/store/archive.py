"""Read the archived part of a log: its segments, its frames, and rows of events from them.

Some unpacked frames are cached, since the next question is mostly about the same ones.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from operator import attrgetter

import apsw

from esctl.events import chain
from esctl.store import archive_table
from esctl.store.errors import Translated, translating
from esctl.store.files import read_part, read_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from esctl.store.segments import Frame, Line, Segment

VERSION, ID = 2, 3  # columns of a row
_SEGMENTS = """select first, last, before, after, bytes, raw_bytes, sha256, first_recorded, last_recorded,
location, shared from segments order by first"""
_VERSIONS = """select first_version, first_version + versions_on
from segments g cross join archived_streams a on a.segment = g.first and a.stream_id = ? order by g.first"""
_PLACES = """select a.segment, first_position, first_position + positions_on, frames
from segments g cross join archived_streams a on a.segment = g.first and a.stream_id = ?
where first_version + versions_on >= ? and first_version <= ?
and first_position + positions_on >= ? and first_position <= ? order by g.first"""
_FRAME = "first, last, segment, number, before, offset, bytes, raw_bytes, sha256, own"
_RECORDED_STREAMS = """
select s.name, first_version, first_position, first_time, versions_on, positions_on, times_on, bytes, frames
from archived_streams join streams s using (stream_id) where segment = ?"""
_RECORDED_TYPES = """
select own, t.name, schema, events, first_position, last_position, first_time, last_time, least_time, greatest_time,
       first_recorded, last_recorded, bytes
from archived_types join types t using (type_id) where segment = ?"""
# Rows of carray() are numbered from 1.
_INDEXED = """select count(*) from carray(?1) c cross join archived_ids i
on i.hash = c.value and i.position = ?2 + c.rowid - 1"""
CACHED_BYTES = 4 * 1024 * 1024  # of unpacked lines; their rows take three times as much
MAX_CACHED_NAMES = 65_536

Row = tuple["Any", ...]


@translating
class Archive:
    """The archive of one connection, as of its last `as_of`.

    Damage raises VerificationError, an unreachable file SegmentError; both name the segment.
    """

    def __init__(self, connection: apsw.Connection, path: str) -> None:
        self._connection, self.path = connection, path
        self.generation = -1
        self._segments: list[Segment] | None = None
        self._held: dict[bytes, int] = {}  # open files of segments, by their SHA-256
        self._lent: dict[bytes, int] = {}  # those that another archive holds
        self._unpacked: OrderedDict[tuple[int, bytes], Unpacked] = OrderedDict()
        self._read_last = "", 0  # by stream: its name, and a position in the frame
        self._last_versions: dict[tuple[str, int, bytes], int] = {}  # of streams in frames (a position, SHA-256)
        self._numbers: dict[str, dict[str, int]] = {"stream": {}, "type": {}}
        archive_table.register(connection, self)

    def as_of(self, generation: int) -> None:
        """Forget what was read of the archive if its generation has changed."""
        if generation != self.generation:
            self.generation, self._segments = generation, None
            self._unpacked.clear()  # their segments may have moved

    @property
    def segments(self) -> list[Segment]:
        """The segments in order, loaded on first use: a cold append needs none."""
        if self._segments is None:
            from esctl.store.segments import Segment  # noqa: PLC0415 - needs zstandard and msgspec

            with Translated(self.path):
                self._segments = [Segment(*row) for row in self._connection.execute(_SEGMENTS)]
        return self._segments

    def ranges(self, stream_id: object = None) -> list[tuple[int, int]]:
        """The archived positions, or versions of one stream, as ranges; adjacent ones are joined."""
        if stream_id is None:
            found: Any = self._connection.execute("select first, last from segments order by first")
        else:
            found = self._connection.execute(_VERSIONS, (stream_id,))
        joined: list[tuple[int, int]] = []
        for low, high in found:
            if joined and joined[-1][1] + 1 == low:
                joined[-1] = joined[-1][0], high
            else:
                joined.append((low, high))
        return joined

    def segment_of(self, position: int) -> Segment | None:
        """The segment that contains a position."""
        at = bisect_right(self.segments, position, key=lambda segment: segment.first) - 1
        return self.segments[at] if at >= 0 and position <= self.segments[at].last else None

    def frame_of(self, position: int) -> tuple[int, int]:
        """The first and last position of the frame that contains an archived position."""
        frame = self._frame(position)
        return frame.first, frame.last

    def _frame(self, position: int) -> Frame:
        from esctl.store.segments import Frame, damaged  # noqa: PLC0415

        sql = f"select {_FRAME} from frames where first <= ? order by first desc limit 1"
        row = self._connection.execute(sql, (position,)).get
        segment = self.segment_of(position)
        if row is None or not row[0] <= position <= row[1] or segment is None or row[2] != segment.first:
            raise damaged(segment.name if segment else "?", f"no frame holds position {position}")
        return Frame(*row)

    def frames(self, segment: Segment) -> list[Frame]:
        """The frames of a segment, in order."""
        from esctl.store.segments import Frame  # noqa: PLC0415

        sql = f"select {_FRAME} from frames where first between ? and ? and segment = ? order by first"
        rows = self._connection.execute(sql, (segment.first, segment.last, segment.first))
        return [Frame(*row) for row in rows]

    def place(self, segment: Segment) -> Path | None:
        """The path of a segment's file; None if it lies in the log's file. Relative folders move with the log itself,
        not with a link to it.
        """
        if segment.location is None:
            return None
        from pathlib import Path  # noqa: PLC0415 - only an archive outside the log needs it

        return Path(os.path.realpath(self.path)).parent / segment.location / segment.file

    def hold(self) -> bool:
        """Open the files of all segments in folders, as many as can be, until `let_go`; whether each was there."""
        from esctl.store.files import descriptor_of, most_descriptors  # noqa: PLC0415

        are_there = True
        places = [(s.sha256, self.place(s)) for s in self.segments if s.location is not None]
        for sha256, path in places[: most_descriptors(len(places))] if places else ():
            if path is not None and self._descriptor(sha256) is None:
                try:
                    self._held[sha256] = descriptor_of(path)
                except (OSError, ValueError):  # no path has a NUL
                    are_there = False
        return are_there

    def let_go(self) -> None:
        """Close the files that `hold` opened."""
        for descriptor in self._held.values():
            os.close(descriptor)
        self._held.clear()

    def borrow(self, other: Archive) -> None:
        """Read files that another archive holds open, as long as it does."""
        self._lent = other._held

    def _descriptor(self, sha256: bytes) -> int | None:
        found = self._held.get(sha256)
        return self._lent.get(sha256) if found is None else found

    def part(self, path: Path, offset: int, size: int, segment: Segment) -> bytes:
        """Bytes of a segment's file."""
        return read_part(path, offset, size, segment, self._descriptor(segment.sha256))

    def whole(self, path: Path, segment: Segment) -> Iterator[bytes]:
        """A segment's file, in parts."""
        return read_whole(path, segment, self._descriptor(segment.sha256))

    def packed(self, frame: Frame, segment: Segment) -> bytes:
        """The compressed bytes of a frame, unchecked."""
        if (path := self.place(segment)) is not None:
            return self.part(path, frame.offset, frame.size, segment)
        found: bytes | None = self._connection.execute("select packed from frames where first = ?", (frame.first,)).get
        return found or b""

    def salts(self, frame: Frame, segment: Segment) -> bytes:
        """The salts of a frame's events, 16 bytes each."""
        if segment.location is not None:
            return self.salts_of(segment)[frame.number]
        found: bytes | None = self._connection.execute("select salts from frames where first = ?", (frame.first,)).get
        return found or b""

    def salts_of(self, segment: Segment) -> list[bytes]:
        """The salts of each frame of a segment."""
        frames = self.frames(segment)
        if (path := self.place(segment)) is None:
            return [self.salts(frame, segment) for frame in frames]
        from esctl.store.segments import salts_in  # noqa: PLC0415

        end = frames[-1].offset + frames[-1].size
        return salts_in(self.part(path, end, segment.size - end, segment), frames, segment.name)

    def digests(self, low: int, high: int) -> dict[int, bytes]:
        """The digests of erased payloads, by position."""
        sql = "select position, digest from erased where position between ? and ?"
        return dict(self._connection.execute(sql, (low, high)))

    def after(self, frame: Frame, segment: Segment) -> bytes:
        """The stored chain hash at the end of a frame."""
        if frame.last == segment.last:
            return segment.after
        following: bytes = self._connection.execute("select before from frames where first = ?", (frame.last + 1,)).get
        return following

    def recorded_facts(self, segment: Segment) -> tuple[set[tuple[object, ...]], set[tuple[object, ...]]]:
        """The stored facts of a segment, by stream and by type, in the form of `Facts`."""
        of_segment = (segment.first,)
        streams = self._connection.execute(_RECORDED_STREAMS, of_segment)
        return set(streams), set(self._connection.execute(_RECORDED_TYPES, of_segment))

    def unpacked(self, position: int) -> Unpacked:
        """The frame that contains a position, unpacked."""
        frame, segment = self._frame(position), self.segment_of(position)
        assert segment is not None
        key = frame.first, frame.sha256
        if key not in self._unpacked:
            from esctl.store.segments import decompress  # noqa: PLC0415

            lines = decompress(frame, self.packed(frame, segment), segment.name)
            self._unpacked[key] = Unpacked(self, frame, segment, lines)
            while len(self._unpacked) > 1 and sum(len(u.lines) for u in self._unpacked.values()) > CACHED_BYTES:
                self._unpacked.popitem(last=False)
        self._unpacked.move_to_end(key)
        return self._unpacked[key]

    def lines(self, low: int, high: int, *, own: bool, limit: int, reverse: bool) -> bytes:
        """Stored lines of positions within one frame; with `own`, those of the log's own streams too."""
        from esctl.store.segments import without_own  # noqa: PLC0415

        unpacked = self.unpacked(low)
        frame, lines = unpacked.frame, unpacked.lines
        if (low, high) != (frame.first, frame.last):
            each = lines.splitlines(keepends=True)
            lines = b"".join(each[low - frame.first : high - frame.first + 1])
        if frame.own and not own:
            lines = without_own(lines)
        if reverse or limit < high - low + 1:
            each = lines.splitlines(keepends=True)
            lines = b"".join((each[::-1] if reverse else each)[:limit])
        return lines

    def numbers(self, kind: str, names: set[str]) -> dict[str, int]:
        """The numbers of streams or types in the tables; 0 for unknown names."""
        known = self._numbers[kind]
        if missing := tuple(name for name in names if name not in known):
            if len(known) > MAX_CACHED_NAMES:
                known.clear()
                missing = tuple(names)
            sql = f"select name, {kind}_id from carray(?) c cross join {kind}s on name = c.value"
            known.update(dict.fromkeys(missing, 0))
            known.update(self._connection.execute(sql, (apsw.carray(missing),)))
        return known

    def are_indexed(self, first: int, hashes: array[int]) -> bool:
        """Whether events from a position on, whose ids have these hashes, can be found by their ids."""
        found: int = self._connection.execute(_INDEXED, (whole_numbers(hashes), first)).get
        return found == len(hashes)

    # For the virtual table

    def by_position(self, low: int, high: int, *, reverse: bool) -> Iterator[tuple[Unpacked, Sequence[Row]]]:
        """Frames with their rows in a range of positions."""
        for first, last in reversed(self.ranges()) if reverse else self.ranges():
            at, end = max(first, low), min(last, high)
            while at <= end:
                unpacked = self.unpacked(end if reverse else at)
                frame = unpacked.frame
                since, until = max(at, frame.first), min(end, frame.last)
                rows = unpacked.rows
                if (since, until) != (frame.first, frame.last):
                    rows = rows[since - frame.first : until - frame.first + 1]
                yield unpacked, rows[::-1] if reverse else rows
                if reverse:
                    end = since - 1
                else:
                    at = until + 1

    def by_stream(
        self, stream_id: int, bounds: tuple[int, int, int, int], *, reverse: bool
    ) -> Iterator[tuple[Unpacked, Sequence[Row]]]:
        """Frames with the rows of one stream, in ranges of versions and positions.

        Its versions rise with the positions, so that frames before and behind the range are not unpacked: who reads a
        long stream in windows unpacks each frame once.
        """
        low, high, _, _ = bounds
        stream = self._connection.execute("select name from streams where stream_id = ?", (stream_id,)).get
        found = self._connection.execute(_PLACES, (stream_id, *bounds)).fetchall()
        for place in reversed(found) if reverse else found:
            places = self._places(*place)
            at, step = self._frame_with(high if reverse else low, stream, places), -1 if reverse else 1
            at = min(at, len(places) - 1) if reverse else at
            while 0 <= at < len(places):
                unpacked = self.unpacked(places[at])
                of_stream = unpacked.of_stream(stream)
                rows = [row for row in of_stream if low <= row[VERSION] <= high]
                yield unpacked, rows[::-1] if reverse else rows
                self._read_last = stream, places[at]
                if of_stream and (of_stream[0][VERSION] <= low if reverse else of_stream[-1][VERSION] >= high):
                    break
                at += step

    def _frame_with(self, version: int, stream: str, places: list[int]) -> int:
        """The number of the first of these frames (a position in each) that ends at or behind a version."""
        if self._read_last[0] != stream:
            self._last_versions.clear()

        def last(position: int) -> int:
            key = stream, position, self._frame(position).sha256
            if key not in self._last_versions:
                rows = self.unpacked(position).of_stream(stream)
                self._last_versions[key] = rows[-1][VERSION] if rows else 0
            return self._last_versions[key]

        self._read_last = stream, self._read_last[1]
        near = bisect_left(places, self._read_last[1])
        for at in near, near + 1, near - 1:  # mostly the frame that was read last, or the next one
            if 0 <= at < len(places) and last(places[at]) >= version and (at == 0 or last(places[at - 1]) < version):
                return at
        return bisect_left(places, version, key=last)

    def _places(self, segment: Any, first: Any, last: Any, numbers: Any) -> list[int]:
        """A position in each frame of a segment that contains events of a stream."""
        if numbers is None:
            return [first] if self.frame_of(first) == self.frame_of(last) else [first, last]
        frames = "select first from frames where first >= ? and segment = ? order by first"
        firsts = [row[0] for row in self._connection.execute(frames, (segment, segment))]
        return [firsts[int(number)] for number in str(numbers).split(",")]

    def by_id(self, event_id: str) -> Iterator[tuple[Unpacked, Sequence[Row]]]:
        """The row with an id."""
        for position in self.positions([event_id]):
            unpacked = self.unpacked(position)
            row = unpacked.rows[position - unpacked.frame.first]
            if row[ID] == event_id:
                yield unpacked, [row]

    def positions(self, ids: Sequence[str]) -> list[int]:
        """Positions of archived events that may have one of these ids: an index has their hashes."""
        hashes = array("q", sorted(map(chain.id_hash, ids)))
        sql = "select position from carray(?) c cross join archived_ids on hash = c.value"
        return [position for (position,) in self._connection.execute(sql, (whole_numbers(hashes),))]

    def originals(self, positions: Sequence[int]) -> Iterator[tuple[object, ...]]:
        """See `originals.Source`. Each frame is unpacked once."""
        unpacked: Unpacked | None = None
        for position in positions:
            if unpacked is None or position > unpacked.frame.last:
                if self.segment_of(position) is None:
                    continue
                unpacked = self.unpacked(position)
            _, stream_id, version, id_, type_id, _, _, _, data, meta = unpacked.rows[position - unpacked.frame.first]
            yield id_, position, stream_id, version, type_id, data, meta


class Unpacked:
    """A frame's lines; rows, salts and hashes are decoded on first use."""

    def __init__(self, archive: Archive, frame: Frame, segment: Segment, lines: bytes) -> None:
        self._archive, self.frame, self.segment, self.lines = archive, frame, segment, lines
        self._rows: list[Row] | None = None
        self._sealed: list[tuple[bytes | None, bytes]] = []
        self._of_stream: tuple[str, list[Row]] = "", []

    @property
    def rows(self) -> list[Row]:
        """A row per event."""
        if self._rows is None:
            from esctl.store.segments import decoded  # noqa: PLC0415

            self._rows = self._to_rows(decoded(self.lines, self.segment.name))
        return self._rows

    def of_stream(self, stream: str) -> list[Row]:
        """The rows of one stream; those of the last one are kept: a long stream is read in windows."""
        from esctl.store.segments import of_stream  # noqa: PLC0415

        if self._of_stream[0] != stream:
            self._of_stream = stream, self._to_rows(of_stream(self.lines, stream, self.segment.name))
        return self._of_stream[1]

    def _to_rows(self, lines: list[Line]) -> list[Row]:
        streams = self._archive.numbers("stream", {line.stream for line in lines})
        types = self._archive.numbers("type", {line.type for line in lines})
        return [
            (
                line.position, streams[line.stream], line.version, line.id, types[line.type], line.schema, line.time,
                line.recorded, *((None, None) if line.erased else (str(line.data, "utf-8"), str(line.meta, "utf-8"))),
            )
            for line in lines
        ]  # fmt: skip

    def fields(self, columns: Sequence[str], low: int, high: int) -> Iterator[tuple[Any, ...]]:
        """Some columns, with the position, of the events in a range of positions; without stream_id, those of the log's
        own streams are left out. Nothing else of the lines is decoded.
        """
        from esctl.store.segments import decoded, decoder_of, without_own  # noqa: PLC0415

        lines, first = self.lines, self.frame.first
        if (low, high) != (first, self.frame.last):
            lines = b"".join(lines.splitlines(keepends=True)[low - first : high - first + 1])
        if "stream_id" not in columns and self.frame.own:
            lines = without_own(lines)
        names = tuple(column.removesuffix("_id") for column in columns)
        found = decoded(lines, self.segment.name, decoder_of(names))
        values = {column: list(map(attrgetter(name), found)) for column, name in zip(columns, names, strict=True)}
        for kind in {"stream", "type"}.intersection(names):
            numbers = self._archive.numbers(kind, set(values[f"{kind}_id"]))
            values[f"{kind}_id"] = list(map(numbers.__getitem__, values[f"{kind}_id"]))
        erased = self._archive.digests(low, high)
        for column in {"data", "meta"}.intersection(names):
            texts = values[column] = [str(raw, "utf-8") for raw in values[column]]
            if erased:
                pairs = zip(values["position"], texts, strict=True)
                values[column] = [None if position in erased else text for position, text in pairs]
        return zip(*values.values(), strict=True)

    def sealed(self, position: int) -> tuple[bytes | None, bytes]:
        """The salt (None: erased) and the hash of an event; the last event's hash is the stored one."""
        if not self._sealed:
            from esctl.store.segments import decoded, hashes  # noqa: PLC0415

            frame, size = self.frame, chain.SALT_BYTES
            lines = decoded(self.lines, self.segment.name)
            salts = self._archive.salts(frame, self.segment)
            digests = self._archive.digests(frame.first, frame.last)
            none = dict.fromkeys((line.position for line in lines if line.erased), bytes(32))
            computed = hashes(lines, salts, none | digests, frame.before)
            computed[-1] = self._archive.after(frame, self.segment)
            each = [salts[size * n : size * n + size] for n in range(len(lines))]
            self._sealed = [
                (None if line.erased else salt, hash_) for line, salt, hash_ in zip(lines, each, computed, strict=True)
            ]
        return self._sealed[position - self.frame.first]


def whole_numbers(numbers: array[int]) -> Any:
    """64-bit integers as an array that SQL reads with carray()."""
    return apsw.carray(numbers, flags=apsw.SQLITE_CARRAY_INT64)
