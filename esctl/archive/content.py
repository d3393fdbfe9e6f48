"""The bytes, lines and digest of a segment, stored in the log's file or in a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from esctl.log import EventLog
from esctl.store import segments
from esctl.store.archive import Archive
from esctl.store.segments import Frame, Line, Packed, Segment

Bytes = bytes | bytearray | memoryview


def parts(log: EventLog, archive: Archive, segment: Segment, frames: Sequence[Frame]) -> Iterator[bytes]:
    """The bytes of a segment's file, also of a segment stored in the log."""
    path = archive.place(segment)
    if path is not None:
        yield from archive.whole(path, segment)
        return
    for frame in frames:
        yield archive.packed(frame, segment)
    erased = archive.digests(segment.first, segment.last)
    yield segments.trailer(log.log_id, frames, segment.after, erased, archive.salts_of(segment))


def measured(parts: Iterable[bytes], sizes: list[int]) -> Iterator[bytes]:
    """Pass the parts through and add their sizes to `sizes`."""
    for part in parts:
        sizes.append(len(part))
        yield part


def digest_of(parts: Iterable[Bytes]) -> bytes:
    """The SHA-256 of the parts, joined."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part)
    return whole.digest()


def lines(archive: Archive, frame: Frame, segment: Segment) -> list[Line]:
    """The lines of a frame."""
    return segments.decoded(segments.decompress(frame, archive.packed(frame, segment), segment.name), segment.name)


def packed(archive: Archive, segment: Segment) -> list[Packed]:
    """The frames of a segment with their bytes."""
    frames = zip(archive.frames(segment), archive.salts_of(segment), strict=True)
    return [Packed(frame, archive.packed(frame, segment), salts) for frame, salts in frames]
