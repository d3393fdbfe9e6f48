"""Prove which events of a damaged log are whole: the chain decides, event by event.

An event is whole if its hash follows from its content and from the hash before it, or if its frame has its SHA-256.
Where the hash before it is lost, it is whole if it has the log's form and the next event follows from it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

from esctl.errors import EsctlError
from esctl.events import chain
from esctl.events.event import check_name, check_schema
from esctl.events.times import canonical
from esctl.store.carving import HASH, Carved
from esctl.store.pages import BrokenError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.store.segments import Frame, Segment

SEARCHES = 500  # pages that are searched for a lost hash, in all
_GONE = "nothing that can be read is left of it"


class Row(NamedTuple):
    """A stored event. Without payload (erased) it has its `digest`. `salt` and `hash` are None if they are lost;
    `sure`: a frame's SHA-256 proves it.
    """

    position: int
    stream: str
    version: int
    id: str
    type: str
    schema: int
    time: str
    recorded: str
    data: str | None
    meta: str | None
    salt: bytes | None
    digest: bytes | None
    hash: bytes | None
    sure: bool = False

    def follows(self, previous: bytes) -> bytes:
        """The hash of the event after another hash."""
        digest = self.digest
        if digest is None:
            digest = chain.payload_digest(self.salt or b"", (self.data or "").encode(), (self.meta or "").encode())
        return chain.event_hash(previous, digest, chain.header(*self[:8]))


class Lost(NamedTuple):
    """Positions that are not whole, why, and the hashes in the chain around them: of the last event before, and of the
    first one after (None: unknown).
    """

    first: int
    last: int
    why: str
    before: bytes | None = None
    after: bytes | None = None


class Stated(NamedTuple):
    """What the log states of itself in its head."""

    log_id: str
    created: str
    position: int
    hash: bytes
    created_digest: bytes


class Damaged:
    """The events of a damaged log; read with `events`, in order, whole ones and losses."""

    def __init__(self, carved: Carved, path: str) -> None:
        self.carved, self.path = carved, path
        heads = [row for rows in carved.rows("head").values() for row in rows]
        self.head = Stated._make((*heads[0][1:5], heads[0][11])) if len(heads) == 1 else None
        self.log_id = self._log_id()
        self.streams, self.types = carved.names("streams"), carved.names("types")
        self.erased = {
            position: [row[1] for row in rows if isinstance(row[1], bytes)]
            for position, rows in carved.rows("erased").items()
        }
        self.segments = self._segments()
        self.damaged_frames: list[tuple[int, int, str]] = []  # first and last position, why
        self._searched = 0

    def _log_id(self) -> str | None:
        """The log's id; None if it is lost."""
        if self.head is None:
            return None
        log_id = self.head.log_id
        return log_id if chain.created_digest(log_id, self.head.created) == self.head.created_digest else None

    def _segments(self) -> list[Segment]:
        rows = self.carved.rows("segments")
        if not rows:
            return []
        from esctl.store.segments import Segment  # noqa: PLC0415 - zstandard, for logs that need it

        return [Segment(first, *rows[first][0][1:]) for first in sorted(rows)]  # type: ignore[arg-type]

    # Where the rows are

    def candidates(self) -> Iterator[tuple[int, list[Row]]]:
        """Positions in order, each with what is found of its event."""
        hot = sorted(self.carved.events)
        at = 0
        for first, last, rows in self._frames():
            while at < len(hot) and hot[at] < first:
                yield hot[at], self._hot(hot[at])
                at += 1
            yield from ((row.position, [row]) for row in rows)
            while rows and at < len(hot) and hot[at] <= last:
                at += 1  # left over from an archiving run
        for position in hot[at:]:
            yield position, self._hot(position)

    def _hot(self, position: int) -> list[Row]:
        found = []
        for place in self.carved.events[position]:
            try:
                values = self.carved.pages.table_cell(place).values
            except BrokenError:  # the file has changed meanwhile
                continue
            _, stream_id, version, id_, type_id, schema, time, recorded, data, meta, salt, hash_ = values
            streams = self.streams.get(stream_id, ())  # type: ignore[arg-type]
            types = self.types.get(type_id, ())  # type: ignore[arg-type]
            gone = data is None and meta is None and salt is None
            if not gone and (data is None or meta is None or salt is None):
                continue
            for stream, type_, digest in product(streams, types, self.erased.get(position, ()) if gone else (None,)):
                row = (position, stream, version, id_, type_, schema, time, recorded, data, meta, salt, digest, hash_)
                found.append(Row._make((*row, False)))
        return found

    def _frames(self) -> Iterator[tuple[int, int, list[Row]]]:
        """Archived frames in order: first and last position, and the rows, none if the frame is damaged."""
        if not self.carved.frames:
            return
        from esctl.store.segments import Frame  # noqa: PLC0415

        read = []
        for first, places in self.carved.frames.items():
            values = self.carved.pages.table_cell(places[0]).values
            frame = Frame(first, *values[1:10])  # type: ignore[arg-type]
            if 0 < frame.first <= frame.last:
                read.append(frame)
        end = 0
        read.sort()
        for n, frame in enumerate(read):
            if frame.first <= end:
                continue
            end = frame.last
            rows: list[Row] = []
            try:
                rows = self._of_frame(frame, read[n + 1] if n + 1 < len(read) else None)
            except (EsctlError, BrokenError, OSError, KeyError, ValueError) as error:
                self.damaged_frames.append((frame.first, frame.last, _said(error)))
            yield frame.first, frame.last, rows

    def _of_frame(self, frame: Frame, following: Frame | None) -> list[Row]:
        """The rows of a frame that has its SHA-256. Raises VerificationError for another one."""
        from esctl.store import segments  # noqa: PLC0415

        segment = next((s for s in self.segments if s.first <= frame.first <= s.last), None)
        values = self.carved.pages.table_cell(self.carved.frames[frame.first][0]).values
        packed, salts = values[10], values[11]
        name = segment.name if segment else f"of position {frame.segment}"
        if not isinstance(packed, bytes):
            packed, salts = self._from_file(frame, segment)
        lines = segments.decoded(segments.decompress(frame, packed, name), name)
        if [line.position for line in lines] != list(range(frame.first, frame.last + 1)):
            raise segments.damaged(name, f"the frame of positions {frame.first} to {frame.last} has others")
        digests = {line.position: self.erased.get(line.position, [b""])[0] for line in lines if line.erased}
        hashes: list[bytes] | list[None] = [None] * len(lines)
        salts = salts if isinstance(salts, bytes) else b""
        if len(salts) == 16 * len(lines) and all(digests.values()):
            after = segment.after if segment and segment.last == frame.last else None
            if following is not None and following.first == frame.last + 1 and following.segment == frame.segment:
                after = following.before
            computed = segments.hashes(lines, salts, digests, frame.before)
            hashes = computed if after in (None, computed[-1]) else hashes
        return [
            Row(
                line.position, line.stream, line.version, line.id, line.type, line.schema, line.time, line.recorded,
                None if line.erased else str(line.data, "utf-8"), None if line.erased else str(line.meta, "utf-8"),
                None if line.erased or hash_ is None else salts[16 * n : 16 * n + 16],
                (digests[line.position] or os.urandom(HASH)) if line.erased else None, hash_, True,
            )
            for n, (line, hash_) in enumerate(zip(lines, hashes, strict=True))
        ]  # fmt: skip

    def _from_file(self, frame: Frame, segment: Segment | None) -> tuple[bytes, bytes]:
        """The bytes of a frame in a folder, and its salts (none if the end of the file is damaged)."""
        if segment is None or segment.location is None:
            raise BrokenError("where its segment is, is lost")
        path = Path(os.path.realpath(self.path)).parent / segment.location / segment.file
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            packed = os.pread(descriptor, frame.size, frame.offset)
            at = segment.size - 8 - 16 * (segment.last - frame.first + 1)
            return packed, os.pread(descriptor, 16 * (frame.last - frame.first + 1), at)
        finally:
            os.close(descriptor)

    # The proof

    def events(self) -> Iterator[Row | Lost]:
        """Every position up to the last one, in order, as a whole event or as part of a loss."""
        walk = _Walk(chain.genesis(self.log_id) if self.log_id else None, self._search, self._why)
        for position, rows in self.candidates():
            if position > 0:
                yield from walk.over(position, rows)
        yield from walk.end(*self._stated_end())

    def _stated_end(self) -> tuple[int, bytes | None]:
        """The head's position and hash."""
        if self.head is None:
            return 0, None
        bound = max((*self.carved.events, 0)) + self.carved.pages.count * self.carved.pages.size // 64
        return (self.head.position if self.head.position <= bound else 0), self.head.hash

    def _why(self, first: int, last: int) -> str:
        """Why nothing can be read of positions."""
        for low, high, why in self.damaged_frames:
            if low <= last and first <= high:
                return f"the archived frame of positions {low} to {high} is damaged: {why}"
        return "the name of its stream or type is lost" if first in self.carved.events else _GONE

    def _search(self, row: Row) -> bytes | None:
        """The hash before an event, if it is still anywhere in a broken page."""
        if row.hash is None:
            return None
        for number in self.carved.broken:
            if self._searched >= SEARCHES:
                return None
            self._searched += 1
            page = self.carved.pages.page(number)
            for at in range(len(page) - HASH + 1):
                previous = page[at : at + HASH]
                if row.follows(previous) == row.hash:
                    return previous
        return None


class _Walk:
    """The walk along the chain. An event is held back until the next one proves it, where it has to be."""

    def __init__(
        self,
        genesis: bytes | None,
        search: Callable[[Row], bytes | None],
        why: Callable[[int, int], str],
    ) -> None:
        self.expected = 1
        self.search, self.why = search, why
        self.previous: list[bytes] = [genesis] if genesis else []  # what the hash before may be
        self.altered: tuple[Row, bytes] | None = None  # its hash does not follow; the computed one, which may be right
        self.unproved: Row | None = None  # the hash before it is lost
        self.lost: Lost | None = None
        self.recorded = ""

    def over(self, position: int, rows: list[Row]) -> Iterator[Row | Lost]:
        """Walk to a position."""
        if position < self.expected:
            return
        if position > self.expected:
            yield from self._settle()
            self._lose(self.expected, position - 1, self.why(self.expected, position - 1))
            self.previous = []
        self.expected = position + 1
        if not rows:
            yield from self._settle()
            self._lose(position, position, self.why(position, position))
            self.previous = []
            return
        for row in rows:
            for previous in self.previous if row.hash else ():
                if row.follows(previous) == row.hash:
                    yield from self._settle(previous)
                    yield from self._give(row)
                    return
        yield from self._unlinked(rows)

    def _unlinked(self, rows: list[Row]) -> Iterator[Row | Lost]:
        """An event that does not follow from what is known of the one before it."""
        row = rows[0]
        if row.sure:
            yield from self._settle()
            yield from self._give(row)
        elif self.unproved is not None:  # one of the two is altered, and nothing says which
            self._lose(self.unproved.position, self.unproved.position, "nothing proves that it is as it was appended")
            self.unproved = None
            self._lose(row.position, row.position, "nothing proves that it is as it was appended")
            self.previous = _hash_of(rows)
        elif self.previous:
            computed = row.follows(self.previous[-1])
            yield from self._settle()
            self.altered = row, computed
            self.previous = [*_hash_of(rows), computed]
        else:
            yield from self._after_gap(rows)

    def _after_gap(self, rows: list[Row]) -> Iterator[Row | Lost]:
        for row in rows:
            if self.search(row):
                yield from self._give(row)
                return
        row = rows[0]
        self.previous = _hash_of(rows)
        if len(rows) == 1 and _is_formed(row, self.recorded):
            self.unproved = row
        else:
            self._lose(row.position, row.position, "nothing proves that it is as it was appended")

    def _settle(self, previous: bytes | None = None) -> Iterator[Row | Lost]:
        """Decide about an event that was held back; `previous` is the hash of it that the next event follows from."""
        if self.altered is not None:
            (row, computed), self.altered = self.altered, None
            if previous == computed:
                yield from self._give(row._replace(hash=computed))
            else:
                self._lose(row.position, row.position, "its hash does not follow from what it says: it was altered")
        if self.unproved is not None:
            row, self.unproved = self.unproved, None
            if previous == row.hash:
                yield from self._give(row)
            else:
                self._lose(row.position, row.position, "nothing proves that it is as it was appended")

    def _give(self, row: Row) -> Iterator[Row | Lost]:
        if self.lost is not None:
            before_it = self.lost._replace(after=row.hash)
            self.lost = None
            yield before_it
        yield row
        self.recorded = row.recorded
        self.previous = [row.hash] if row.hash else []
        self._last_hash = row.hash

    _last_hash: bytes | None = None

    def _lose(self, first: int, last: int, why: str) -> None:
        if self.lost is None:
            self.lost = Lost(first, last, why, self._last_hash)
        else:
            reasons = self.lost.why if why in self.lost.why else f"{self.lost.why}; {why}"
            self.lost = self.lost._replace(last=last, why=reasons)

    def end(self, position: int, hash_: bytes | None) -> Iterator[Row | Lost]:
        """End at the head that the log states (None: it is lost)."""
        yield from self._settle(hash_)
        if position >= self.expected and not (self.previous and self.previous[0] == hash_):
            self._lose(self.expected, position, self.why(self.expected, position))
        if self.lost is not None:
            yield self.lost


def _hash_of(rows: list[Row]) -> list[bytes]:
    return list({row.hash for row in rows if row.hash is not None})


def _is_formed(row: Row, recorded: str) -> bool:
    """Whether an event has the form that the log gives every event; `recorded` is the time of an earlier one."""
    try:
        for kind, name in (("stream", row.stream), ("type", row.type), ("id", row.id)):
            check_name(kind, name)
        check_schema(row.schema)
        if canonical(row.time) != row.time or canonical(row.recorded) != row.recorded or row.recorded < recorded:
            return False
        return row.data is None or (
            json.loads(row.data) is not Ellipsis and isinstance(json.loads(row.meta or ""), dict)
        )
    except (EsctlError, ValueError, RecursionError):
        return False


def _said(error: Exception) -> str:
    if isinstance(error, EsctlError):
        return error.why or error.what
    return getattr(error, "strerror", None) or str(error) or "it cannot be read"
