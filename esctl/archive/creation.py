"""Create segments: compress the oldest hot events, write them, read them back, compare, and only then delete hot rows.

One transaction commits a segment; from then on, readers find its events there, and before it, no reader knows of the
segment. The hot rows are deleted at the end of the run, in portions or, if few other rows remain, all at once: deleting
row by row, from two indexes, costs more than all the rest. The next run cleans up what a killed run left.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile

from esctl.archive import making
from esctl.archive.checking import hash_before
from esctl.archive.content import digest_of
from esctl.archive.folders import claim, folder_for, location, path_of, write, written
from esctl.archive.listing import Span
from esctl.archive.making import HASH_BYTES, Made
from esctl.archive.tidying import delete_leftover_rows, tidy
from esctl.errors import ConflictError, EsctlError
from esctl.events.chain import SALT_BYTES
from esctl.log import EventLog
from esctl.store import segments
from esctl.store.files import read_part
from esctl.store.segments import Facts, Frame, Line, Packed, Segment

SEGMENT_EVENTS = 100_000


class Draft:
    """A compressed segment that is not committed yet: its frames, their bytes (in an unnamed file beside the log), its
    salts, the chain's hash behind it, the digests of its erased payloads, and the facts that follow from its lines.
    """

    def __init__(self, folder: Path) -> None:
        self.frames: list[Frame] = []
        self.size, self.salts, self.after = 0, bytearray(), b""
        self.erased: dict[int, bytes] = {}
        self.facts = Facts()
        self._file = TemporaryFile(dir=folder)  # noqa: SIM115 - closed by `close`

    def add(self, made: Made, lines: Sequence[Line], erased: Mapping[int, bytes]) -> None:
        """Add a frame, with its lines and the digests of its erased payloads."""
        self.frames.append(made.frame)
        self._file.write(made.packed)
        self.size += len(made.packed)
        self.salts += made.salts
        self.after = made.hashes[-HASH_BYTES:]
        self.erased |= erased
        self.facts.add(lines, made.frame.number)

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


def create(
    log: EventLog,
    spans: Iterable[Span],
    *,
    most: int = SEGMENT_EVENTS,
    level: int = segments.LEVEL,
    to: Path | None = None,
) -> Iterator[Segment]:
    """Archive ranges of hot events in segments of at most `most` events; yield each segment when it is committed.

    While frames are compared with the log, another process compresses the next.
    """
    tidy(log)
    folder = None if to is None else folder_for(to)
    pieces = [(low, min(low + most - 1, last)) for first, last in spans for low in range(first, last + 1, most)]
    if not pieces:
        return
    with EventLog(log.path) as reader, closing(making.frames(reader, pieces, level)) as made:
        try:
            for _, last in pieces:
                with closing(Draft(Path(log.path).absolute().parent)) as draft:
                    while not draft.frames or draft.frames[-1].last < last:
                        _add(log, draft, next(made))
                    yield _commit(log, draft, folder)
        except EsctlError:
            tidy(log)  # remove what was written for the segment that failed
            raise
    delete_leftover_rows(log)
    log.store.compact()


def _add(log: EventLog, draft: Draft, made: Made) -> None:
    """Add a frame to a draft, if its bytes are the lines of the log, and these have the hashes of the log."""
    frame, name = made.frame, f"{made.frame.first}-{made.frame.last}"
    lines = segments.decompress(frame, made.packed, name)
    decoded = segments.decoded(lines, name)
    erased: dict[int, bytes] = {}
    if any(line.erased for line in decoded):
        erased = {position: digest for position, digest, _ in log.store.facts().erasures(frame.first, frame.last)}
    hashes = b"".join(segments.hashes(decoded, made.salts, erased, frame.before))
    if hashlib.sha256(lines).digest() != made.digest or hashes != made.hashes:
        raise segments.damaged(name, "what was compressed differs from the log")
    if hashes[-HASH_BYTES:] != hash_before(log, frame.last + 1):  # the other process may have opened another file
        raise ConflictError(f"the event at position {frame.last} is another one now", again="")
    draft.add(made, decoded, erased)


def _commit(log: EventLog, draft: Draft, folder: Path | None) -> Segment:
    """Write a draft to its place, read it back and compare, and commit it as a segment in place of the hot rows."""
    segment, trailer = _segment_of(log, draft, folder)
    if folder is None:
        with log.transaction():
            log.store.archiving().pend(map(draft.of, draft.frames))
    else:
        segment = write(log, folder, chain((draft.packed(frame) for frame in draft.frames), (trailer,)), segment)
    _read_back(log, draft, segment, None if folder is None else path_of(log, segment))
    with log.transaction():
        log.store.archiving().commit_segment(segment, draft.frames, draft.facts)
        if folder is not None:
            claim(log, segment)
    return segment


def _segment_of(log: EventLog, draft: Draft, folder: Path | None) -> tuple[Segment, bytes]:
    """The segment for a draft, and its trailer (the last frame)."""
    frames = draft.frames
    trailer = segments.trailer(log.log_id, frames, draft.after, draft.erased, (draft.salts,))
    digest = digest_of(chain((draft.packed(frame) for frame in frames), (trailer,)))
    raw, where = sum(frame.raw_size for frame in frames), None if folder is None else location(log, folder)
    ends, size = (frames[0].first, frames[-1].last, frames[0].before, draft.after), draft.size + len(trailer)
    return Segment(*ends, size, raw, digest, *draft.facts.recorded, where), trailer


def _read_back(log: EventLog, draft: Draft, segment: Segment, path: Path | None) -> None:
    """Compare what was written with the frames of a draft, which were compared with the log."""
    for frame in draft.frames:
        if path is None:
            packed = log.store.archiving().pending(frame)
        else:
            with written(path):
                packed = read_part(path, frame.offset, frame.size, segment)
        if hashlib.sha256(packed).digest() != frame.sha256:
            raise segments.damaged(segment.name, "what was read back differs from the log")
