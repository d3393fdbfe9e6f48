"""Erase payloads in a segment: only the frames that hold them are unpacked and packed again."""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from esctl.archive import checking, folders, listing
from esctl.events import chain
from esctl.log import EventLog
from esctl.store import segments
from esctl.store.archive import Archive
from esctl.store.segments import Frame, Line, Packed, Segment

_ERASED = b',"data":null,"meta":null,"erased":true}\n'

Kind = tuple[str, str, int]
"""The stream, stored type and stored schema version of an erased payload."""


class Erased(NamedTuple):
    """A segment without some payloads: its frames; those of them that are new; its trailer; the digests of the payloads
    by position; how many bytes of payload each kind of event has less; and the removed bytes: data, meta and salt.
    """

    segment: Segment
    frames: list[Frame]
    new: list[Packed]
    trailer: bytes
    digests: dict[int, bytes]
    sizes: Counter[Kind]
    removed: list[bytes]


def without(log: EventLog, archive: Archive, segment: Segment, positions: Sequence[int]) -> Erased:
    """A segment without the payloads at some positions, as far as it has them. Raises VerificationError if the segment
    is damaged.
    """
    frames, wanted = archive.frames(segment), sorted(positions)
    numbers = {f.number for f in frames if bisect_left(wanted, f.first) < bisect_right(wanted, f.last)}
    checking.check(log, segment, numbers)
    made = Erased(segment, [], [], b"", {}, Counter(), [])
    offset, salts = 0, archive.salts_of(segment)
    whole = hashlib.sha256()
    for frame in frames:
        packed, number = archive.packed(frame, segment), frame.number
        new = _erased(frame, packed, salts[number], set(wanted), made) if number in numbers else None
        made.frames.append((frame if new is None else new.frame)._replace(offset=offset))
        if new is not None:
            packed, salts[number] = bytes(new.packed), bytes(new.salts)
            made.new.append(new._replace(frame=made.frames[-1]))
        whole.update(packed)
        offset += len(packed)
    digests = dict(sorted((archive.digests(segment.first, segment.last) | made.digests).items()))
    trailer = segments.trailer(log.log_id, made.frames, segment.after, digests, salts)
    whole.update(trailer)
    placed = segment._replace(
        shared=0,
        size=offset + len(trailer),
        raw_size=sum(frame.raw_size for frame in made.frames),
        sha256=whole.digest(),
    )
    return made._replace(segment=placed, trailer=trailer)


def _erased(frame: Frame, packed: bytes, salts: bytes, positions: set[int], made: Erased) -> Packed | None:
    """A frame without some payloads, which are noted; None if it has none of them.

    In the log's file it keeps its size if it can: then SQLite writes it where the old one is, and moves no other frame.
    """
    text = segments.decompress(frame, packed, made.segment.name)
    lines = [line for line in segments.decoded(text, made.segment.name) if line.position in positions]
    to_erase = [line for line in lines if not line.erased]
    for line in to_erase:
        salt, data, meta = salts[_salt_at(frame, line.position)], bytes(line.data), bytes(line.meta)
        made.digests[line.position] = chain.payload_digest(salt, data, meta)
        made.sizes[line.stream, line.type, line.schema] += len(data) + len(meta)
        made.removed.append(data + meta + salt)
    if not to_erase:
        return None
    text = _without(text, frame, to_erase)
    new = segments.compressor(segments.LEVEL)(text)
    if made.segment.location is None:
        new = segments.padded(new, len(packed))
    made_frame = frame._replace(size=len(new), raw_size=len(text), sha256=hashlib.sha256(new).digest())
    return Packed(made_frame, new, _without_salts(salts, frame, to_erase))


def written(log: EventLog, old: Segment, made: Erased) -> Erased:
    """Write the file of a segment that is in a folder; frames without changes are copied byte for byte. Raises
    ConflictError if another process has changed the old one.
    """
    if old.location is None:
        return made
    folder = folders.path_of(log, old).parent
    return made._replace(segment=folders.write(log, folder, _parts(log, old, made), made.segment))


def _parts(log: EventLog, old: Segment, made: Erased) -> Iterator[bytes | memoryview]:
    new = {packed.frame.number: packed.packed for packed in made.new}
    with log.store.one_state():
        archive, _ = listing.again(log, old)
        for frame in archive.frames(old):
            yield new[frame.number] if frame.number in new else archive.packed(frame, old)
    yield made.trailer


def place(log: EventLog, old: Segment, made: Erased) -> None:
    """Within the erasing transaction: put a segment in the place of the old one, and check what is stored."""
    archive, _ = listing.again(log, old)
    folders.release(log, archive, old)
    log.store.archiving().exchange(made.segment, made.frames, made.new, made.sizes)
    if made.segment.location is not None:
        folders.claim(log, made.segment)
    checking.check(log, made.segment, {packed.frame.number for packed in made.new})


def _salt_at(frame: Frame, position: int) -> slice:
    at = (position - frame.first) * chain.SALT_BYTES
    return slice(at, at + chain.SALT_BYTES)


def _without(text: bytes, frame: Frame, to_erase: Sequence[Line]) -> bytes:
    """Lines, some without their payload. `,"data":` cannot occur in a name before it, where quotes are escaped."""
    each = text.splitlines(keepends=True)
    for line in to_erase:
        at = line.position - frame.first
        each[at] = each[at][: each[at].index(b',"data":')] + _ERASED
    return b"".join(each)


def _without_salts(salts: bytes, frame: Frame, to_erase: Sequence[Line]) -> bytes:
    remaining = bytearray(salts)
    for line in to_erase:
        remaining[_salt_at(frame, line.position)] = bytes(chain.SALT_BYTES)
    return bytes(remaining)
