"""Check segments: re-read every byte and compare it with everything that the log records about it."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterator, Sequence

from esctl.archive.content import digest_of, measured, parts
from esctl.archive.listing import again, archived
from esctl.errors import EsctlError, VerificationError
from esctl.events import system
from esctl.events.chain import genesis
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.store import segments
from esctl.store.archive import Archive
from esctl.store.checks import Finding
from esctl.store.segments import Facts, Frame, Line, Segment

Passed = Callable[[Frame, Sequence[Line], bytes], None]
"""Called for each frame with which nothing is wrong, with its lines and the chain's hash behind it."""


def hash_before(log: EventLog, position: int) -> bytes:
    """The hash of the event before a position; the genesis hash for position 1."""
    if position == 1:
        return genesis(log.log_id)
    for segment in archived(log):
        if segment.last == position - 1:
            return segment.after
    query = Query(since=position - 1, until=position - 1, system=True, raw_schema=True)
    for _, _, hash_ in log.store.read(query):
        return hash_
    raise VerificationError(f"there is no event at position {position - 1}", fix="esctl verify")


def problems(
    log: EventLog, segment: Segment, only: Collection[int] | None = None, passed: Passed = lambda *_: None
) -> Iterator[str]:
    """What is wrong with a segment: re-read every byte of it, and recompute everything recorded about it; or, with
    `only`, about the frames of these numbers.
    """
    archive = log.store.archive()
    assert archive is not None
    facts = Facts()
    try:
        frames = archive.frames(segment)
        yield from _sequence_problems(segment, frames)
        sizes: list[int] = []
        if digest_of(measured(parts(log, archive, segment, frames), sizes)) != segment.sha256:
            yield "its SHA-256 is not the recorded one"
        if sum(sizes) != segment.size:
            yield "its size is not the recorded one"
        salts = archive.salts_of(segment)
        for frame in frames:
            if only is not None and frame.number not in only:
                continue
            lines = segments.decoded(
                segments.decompress(frame, archive.packed(frame, segment), segment.name), segment.name
            )
            ids = segments.id_hashes(lines)
            wrong = list(_frame_problems(archive, segment, frame, lines, salts[frame.number], ids))
            yield from wrong
            if not wrong:
                passed(frame, lines, archive.after(frame, segment))
            facts.add(lines, frame.number, ids)
        if only is None:
            yield from _differing(log, archive, segment, facts)
    except EsctlError as error:
        yield error.why or error.what
    except (KeyError, ValueError, TypeError, IndexError) as error:
        yield f"it is damaged: {error!r}"


def _sequence_problems(segment: Segment, frames: Sequence[Frame]) -> Iterator[str]:
    """What is wrong with the sequence of frames: they must cover the segment, without gaps, from its first hash."""
    position, offset = segment.first, 0
    for number, frame in enumerate(frames):
        if (frame.first, frame.offset, frame.number) != (position, offset, number):
            yield f"frame {number} does not follow the one before it"
        position, offset = frame.last + 1, frame.offset + frame.size
    if position != segment.last + 1 or not frames:
        yield f"its frames end at position {position - 1}"
    elif frames[0].before != segment.before:
        yield "its first frame does not begin with the segment's hash"
    if sum(frame.raw_size for frame in frames) != segment.raw_size:
        yield "the size of its lines is not the recorded one"


def _frame_problems(
    archive: Archive, segment: Segment, frame: Frame, lines: Sequence[Line], salts: bytes, ids: array[int]
) -> Iterator[str]:
    if [line.position for line in lines] != list(range(frame.first, frame.last + 1)):
        yield f"the frame of positions {frame.first} to {frame.last} contains other positions"
        return
    own = sum(line.stream.startswith(system.PREFIX) for line in lines)
    if own != frame.own:
        yield f"the frame of positions {frame.first} to {frame.last} contains {own} of the log's own events"
    digests = archive.digests(frame.first, frame.last)
    if {line.position for line in lines if line.erased} != set(digests):
        yield f"the payloads erased between positions {frame.first} and {frame.last} are not the recorded ones"
        return
    if segments.hashes(lines, salts, digests, frame.before)[-1] != archive.after(frame, segment):
        yield f"the chain over positions {frame.first} to {frame.last} does not end in the recorded hash"
    if not archive.are_indexed(frame.first, ids):
        yield f"the index of ids lacks events between positions {frame.first} and {frame.last}"


def _differing(log: EventLog, archive: Archive, segment: Segment, facts: Facts) -> Iterator[str]:
    """Which recorded facts about a segment differ from its lines."""
    if (segment.first_recorded, segment.last_recorded) != facts.recorded:
        yield "its recorded times are not those of its first and last event"
    by_stream, by_type = archive.recorded_facts(segment)
    if by_stream != set(facts.by_stream()):
        yield "the streams recorded for it are not those of its lines"
    if by_type != set(facts.by_type()):
        yield "the types recorded for it are not those of its lines"
    if segment.before != hash_before(log, segment.first):
        yield "it does not begin with the hash of the event before it"


def findings(log: EventLog, *, full: bool, passed: Passed = lambda *_: None) -> Iterator[Finding]:
    """What is wrong with the archive; with `full`, check every byte of it, else only whether its files exist."""
    for segment in archived(log):
        for problem in problems(log, segment, passed=passed) if full else _absent(log, segment):
            yield ("archive", segment.first, f"the segment {segment.name}: {problem}")


def _absent(log: EventLog, segment: Segment) -> Iterator[str]:
    """Why the file of a segment in a folder cannot be read, if it cannot."""
    archive = log.store.archive()
    path = archive.place(segment) if archive else None
    if archive is not None and path is not None:
        try:
            archive.part(path, 0, 1, segment)
        except EsctlError as error:
            yield error.why or error.what


def check(log: EventLog, segment: Segment, only: Collection[int] | None = None) -> None:
    """Check a segment, as `problems` does.

    Raises VerificationError for a damaged one, SegmentError if its file is missing, ConflictError if another process
    has changed it.
    """
    with log.store.one_state():
        archive, _ = again(log, segment)
        if (path := archive.place(segment)) is not None:
            archive.part(path, 0, 1, segment)
        for problem in problems(log, segment, only):
            raise segments.damaged(segment.name, problem)
