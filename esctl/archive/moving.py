"""Export and restore segments, and move them between the log's file and folders."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from esctl.archive.checking import check
from esctl.archive.content import digest_of, lines, packed, parts
from esctl.archive.folders import claim, folder_for, kept, location, path_of, release, write
from esctl.archive.listing import again, archived
from esctl.archive.tidying import tidy
from esctl.log import EventLog
from esctl.store import segments
from esctl.store.files import read_whole
from esctl.store.segments import Packed, Segment


def export(log: EventLog, segment: Segment) -> Iterator[bytes]:
    """The bytes of a segment's file. Raises VerificationError first if they do not match its SHA-256."""
    archive = log.store.archive()
    assert archive is not None
    frames = archive.frames(segment)
    if digest_of(parts(log, archive, segment, frames)) != segment.sha256:
        raise segments.damaged(segment.name, "its SHA-256 is not the recorded one")
    yield from parts(log, archive, segment, frames)


def restore(log: EventLog, segment: Segment) -> None:
    """Restore a segment's events as hot rows, and delete the segment."""
    tidy(log)
    check(log, segment)
    with log.transaction():
        archive, segment = again(log, segment)
        ids = (line.id for frame in archive.frames(segment) for line in lines(archive, frame, segment))
        release(log, archive, segment)
        log.store.archiving().bring_back(segment, list(ids))
    tidy(log)


def move(log: EventLog, segment: Segment, to: Path | None) -> Segment:
    """Move a segment to a folder, or (None) into the log's file."""
    tidy(log)
    folder = None if to is None else folder_for(to)
    moved = segment._replace(location=None if folder is None else location(log, folder), shared=0)
    if _same_place(log, moved, segment):
        return segment
    check(log, segment)
    if folder is not None:
        moved = write(log, folder, _exported(log, segment), moved)
        if digest_of(read_whole(path_of(log, moved), segment)) != segment.sha256:
            raise segments.damaged(segment.name, "what was read back differs from what was written")
    with log.transaction():
        archive, segment = again(log, segment)
        release(log, archive, segment)
        log.store.archiving().place(moved, packed(archive, segment))
        if folder is not None:
            claim(log, moved)
    tidy(log)
    return moved


def _exported(log: EventLog, segment: Segment) -> Iterator[bytes]:
    """The bytes of a segment's file, of one state of the log. Raises ConflictError if another process changed it."""
    with log.store.one_state():
        yield from export(log, again(log, segment)[1])


def _same_place(log: EventLog, one: Segment, other: Segment) -> bool:
    if one.location is None or other.location is None:
        return one.location is other.location
    folder = Path(log.path).resolve().parent
    return (folder / one.location).resolve() == (folder / other.location).resolve()


def embed(copy: EventLog, source: EventLog) -> None:
    """Make a copy of a log contain, in its own file, the segments that its source stores in folders.

    Within the source's block of one state, which holds their files open.
    """
    _refer(copy, source, lambda folder, _: folder)
    archive, lender = copy.store.archive(), source.store.archive()
    if archive is not None and lender is not None:
        archive.borrow(lender)
    for segment in archived(copy):
        if segment.location is not None:
            check(copy, segment)
            with copy.transaction():
                archive, _ = again(copy, segment)
                copy.store.archiving().place(segment._replace(location=None, shared=0), packed(archive, segment))


def refer(copy: EventLog, source: EventLog) -> None:
    """Make a copy of a log refer to the files in its source's folders by absolute paths, as shared files.

    The files get further names for it, so that they stay when the source's log erases, moves or restores a segment.
    """
    _refer(copy, source, kept)


def _refer(copy: EventLog, source: EventLog, folder_of: Callable[[Path, Segment], Path]) -> None:
    folder = Path(source.path).resolve().parent
    for segment in archived(copy):
        if segment.location is not None:
            with copy.transaction():
                archive, _ = again(copy, segment)
                frames = [Packed(frame, b"", b"") for frame in archive.frames(segment)]
                where = str(folder_of((folder / segment.location).resolve(), segment))
                copy.store.archiving().place(segment._replace(location=where, shared=1), frames)


def cut(log: EventLog, position: int) -> None:
    """On a private copy of a log: remove all archived events after a position, or make them hot."""
    for segment in archived(log):
        if segment.first <= position < segment.last:
            restore(log, segment)
        elif segment.first > position:
            with log.transaction():
                log.store.archiving().cut(segment)
