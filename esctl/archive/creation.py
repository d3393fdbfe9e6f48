"""Create segments: compress the oldest hot events, write them, read them back, compare, and only then delete hot rows.

One transaction commits a segment; from then on, readers find its events there, and before it, no reader knows of the
segment. The hot rows are deleted at the end of the run, in portions or, if few other rows remain, all at once: deleting
row by row, from two indexes, costs more than all the rest. The next run cleans up what a killed run left.
"""

from __future__ import annotations

import hashlib
import os
import sys
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import accumulate, chain
from pathlib import Path
from tempfile import TemporaryFile

from esctl.archive.checking import hash_before
from esctl.archive.content import digest_of
from esctl.archive.folders import claim, folder_for, location, path_of, write, written
from esctl.archive.listing import Span
from esctl.archive.tidying import delete_leftover_rows, tidy
from esctl.errors import ConflictError, EsctlError
from esctl.events.chain import SALT_BYTES
from esctl.log import EventLog
from esctl.store import segments
from esctl.store.files import read_part
from esctl.store.segments import Facts, Frame, Packed, Segment

SEGMENT_EVENTS = 100_000
HASH_BYTES = 32
PAYLOAD_BYTES_PER_READ = 64 * 1024 * 1024  # an upper bound on the payload in memory when lines are made
# The compressing thread needs the interpreter about ten times a frame. With Python's default interval of 5 ms it would
# wait longer each time than it works (measured: 1.5 instead of 0.9 seconds a segment).
SWITCH_SECONDS = 0.0002


class Draft:
    """A compressed segment that is not committed yet: its frames, their bytes (in an unnamed file beside the log), the
    events' salts and hashes (concatenated), and the SHA-256 of each frame's lines.
    """

    def __init__(self, folder: Path) -> None:
        self.frames: list[Frame] = []
        self.size = 0
        self._file = TemporaryFile(dir=folder)  # noqa: SIM115 - closed by `close`
        self.salts, self.hashes = bytearray(), bytearray()
        self.lines: list[bytes] = []

    def add(self, frame: Frame, packed: bytes, lines: bytes, salts: bytes, hashes: bytes) -> None:
        """Add a frame."""
        self.frames.append(frame)
        self._file.write(packed)
        self.size += len(packed)
        self.salts += salts
        self.hashes += hashes
        self.lines.append(hashlib.sha256(lines).digest())

    def of(self, frame: Frame) -> Packed:
        """A frame with its bytes and salts."""
        low, high = ((position - self.frames[0].first) * SALT_BYTES for position in (frame.first, frame.last + 1))
        return Packed(frame, self.packed(frame), memoryview(self.salts)[low:high])

    def packed(self, frame: Frame) -> bytes:
        """The bytes of a frame."""
        self._file.flush()
        return os.pread(self._file.fileno(), frame.size, frame.offset)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def hashes_of(self, frame: Frame) -> memoryview:
        """The hashes of a frame's events, concatenated."""
        low, high = ((position - self.frames[0].first) * HASH_BYTES for position in (frame.first, frame.last + 1))
        return memoryview(self.hashes)[low:high]


def create(
    log: EventLog,
    spans: Iterable[Span],
    *,
    most: int = SEGMENT_EVENTS,
    level: int = segments.LEVEL,
    to: Path | None = None,
) -> Iterator[Segment]:
    """Archive ranges of hot events in segments of at most `most` events; yield each segment when it is committed.

    While one segment is compared and committed, another thread compresses the next.
    """
    tidy(log)
    folder = None if to is None else folder_for(to)
    pieces = [(low, min(low + most - 1, last)) for first, last in spans for low in range(first, last + 1, most)]
    if not pieces:
        return
    drafts = deque[Future[Draft]]()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    with EventLog(log.path) as reader, EventLog(log.path) as checker, ThreadPoolExecutor(1) as pool:
        try:
            for piece in [*pieces, None]:
                if piece is not None:
                    drafts.append(pool.submit(_compress, reader, *piece, level))
                if piece is None or len(drafts) > 1:
                    with closing(drafts.popleft().result()) as draft:
                        yield _commit(log, checker, draft, folder)
        except EsctlError:
            tidy(log)  # remove what was written for the segment that failed
            raise
        finally:
            sys.setswitchinterval(interval)
            for waiting in drafts:
                if not waiting.cancel() and waiting.exception() is None:
                    waiting.result().close()
    delete_leftover_rows(log)
    log.store.compact()


def _compress(log: EventLog, first: int, last: int, level: int) -> Draft:
    """Compress the hot rows of a range into the frames of a segment."""
    draft = Draft(Path(log.path).absolute().parent)
    try:
        _fill(draft, log, first, last, level)
    except BaseException:
        draft.close()
        raise
    return draft


def _fill(draft: Draft, log: EventLog, first: int, last: int, level: int) -> None:
    compress, start, before = segments.compressor(level), first, hash_before(log, first)
    while first <= last:
        events, lines, salts, hashes = _frame_at(log, first, last)
        packed = compress(lines)
        digest, number = hashlib.sha256(packed).digest(), len(draft.frames)
        own = events - segments.without_own(lines).count(b"\n")
        ends = first + events - 1
        frame = Frame(first, ends, start, number, before, draft.size, len(packed), len(lines), digest, own)
        draft.add(frame, packed, lines, salts, hashes)
        first, before = ends + 1, hashes[-HASH_BYTES:]


def _frame_at(log: EventLog, first: int, last: int) -> tuple[int, bytes, bytes, bytes]:
    """The next frame's number of events (FRAME_EVENTS, or fewer if they are large), lines, salts and hashes."""
    limit = max(1, min(segments.FRAME_EVENTS, PAYLOAD_BYTES_PER_READ // max(1, log.store.archiving().largest())))
    until = min(last, first + limit - 1)
    events, lines, salts, hashes = log.store.archiving().sealed_lines(first, until)
    if events != until - first + 1:
        raise ConflictError(f"positions {first} and on were archived just now", again="")
    if len(lines) > segments.FRAME_BYTES:
        each = lines.splitlines(keepends=True)
        events = max(1, bisect_right(list(accumulate(map(len, each))), segments.FRAME_BYTES))
        lines = b"".join(each[:events])
    return events, lines, salts[: SALT_BYTES * events], hashes[: HASH_BYTES * events]


def _commit(log: EventLog, checker: EventLog, draft: Draft, folder: Path | None) -> Segment:
    """Write a draft to its place, read it back and compare, and commit it as a segment in place of the hot rows."""
    segment, trailer, erased = _segment_of(log, draft, folder)
    if folder is None:
        with log.transaction():
            log.store.archiving().pend(map(draft.of, draft.frames))
    else:
        segment = write(log, folder, chain((draft.packed(frame) for frame in draft.frames), (trailer,)), segment)
    facts = _compared(checker, draft, segment, erased, None if folder is None else path_of(log, segment))
    segment = segment._replace(first_recorded=facts.recorded[0], last_recorded=facts.recorded[1])
    with log.transaction():
        log.store.archiving().commit_segment(segment, draft.frames, facts)
        if folder is not None:
            claim(log, segment)
    return segment


def _segment_of(log: EventLog, draft: Draft, folder: Path | None) -> tuple[Segment, bytes, Mapping[int, bytes]]:
    """The segment for a draft, its trailer (the last frame), and the digests of its erased payloads."""
    frames, after = draft.frames, bytes(draft.hashes[-HASH_BYTES:])
    first, last = frames[0].first, frames[-1].last
    erased = {position: digest for position, digest, _ in log.store.facts().erasures() if first <= position <= last}
    trailer = segments.trailer(log.log_id, frames, after, erased, (draft.salts,))
    digest = digest_of(chain((draft.packed(frame) for frame in draft.frames), (trailer,)))
    raw, where = sum(frame.raw_size for frame in frames), None if folder is None else location(log, folder)
    size = draft.size + len(trailer)
    return Segment(first, last, frames[0].before, after, size, raw, digest, "", "", where), trailer, erased


def _compared(
    checker: EventLog, draft: Draft, segment: Segment, erased: Mapping[int, bytes], path: Path | None
) -> Facts:
    """Read back what was written, and compare lines and hashes with those of the hot rows."""
    facts = Facts()
    for frame, digest in zip(draft.frames, draft.lines, strict=True):
        packed = _read_back(checker, frame, segment, path)
        lines = segments.decompress(frame, packed, segment.name)
        decoded = segments.decoded(lines, segment.name)
        hashes = b"".join(segments.hashes(decoded, draft.of(frame).salts, erased, frame.before))
        if hashlib.sha256(lines).digest() != digest or hashes != draft.hashes_of(frame):
            raise segments.damaged(segment.name, "what was read back differs from the log")
        facts.add(decoded, frame.number)
    return facts


def _read_back(checker: EventLog, frame: Frame, segment: Segment, path: Path | None) -> bytes:
    if path is None:
        return checker.store.archiving().pending(frame)
    with written(path):
        return read_part(path, frame.offset, frame.size, segment)
