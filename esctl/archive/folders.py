"""Write segments as files in folders, and record which files are leftovers to be removed."""

from __future__ import annotations

import errno
import os
import re
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from esctl.archive.content import Bytes, digest_of
from esctl.errors import ConflictError, SegmentError, UnavailableError, UsageError
from esctl.log import EventLog
from esctl.store.archive import Archive
from esctl.store.files import draft_of, make_folder, read_part, read_whole, sync
from esctl.store.segments import Segment

KEPT = "kept-for-copies"  # in a folder of segments: further names (hard links) of files, which no log removes


def check_folder(to: Path | str) -> Path:
    """A path that may be a folder's. Raises UsageError for a URL, which Path would silently change."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/", str(to)):
        raise UsageError(f"{to} is not a folder", why="segments are stored in the log's file or in a folder (--to DIR)")
    return Path(to)


def folder_for(to: Path) -> Path:
    """A folder for segments. If it is missing, it is created, for the user alone, as the files in it are."""
    check_folder(to)
    try:
        for folder in [*reversed(to.parents), to]:
            make_folder(folder)
    except OSError as error:
        raise UnavailableError(f"cannot use the folder {to}", why=error.strerror or str(error)) from error
    return to


def location(log: EventLog, folder: Path) -> str:
    """A folder as recorded: relative to the log's folder if it is inside, so that both can be moved together."""
    own, absolute = Path(log.path).resolve().parent, folder.resolve()
    return str(absolute.relative_to(own)) if absolute.is_relative_to(own) else str(absolute)


def write(log: EventLog, folder: Path, parts: Iterable[Bytes], segment: Segment) -> Segment:
    """Write a segment's file durably, its name contains its hash; return the segment as it is placed.

    The file is first recorded as a leftover to be removed, until a segment owns it: see `claim`. A file with the same
    content that this log did not make may be another log's: it gets a further name, which no log removes. Raises
    ConflictError if another run writes the file meanwhile.
    """
    folder = folder.parent if folder.name == KEPT else folder
    path = folder / segment.file
    placed = segment._replace(location=location(log, folder), shared=0)
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise UsageError(f"{path} is not a file", why="a segment would be written there")
    if path.exists():
        if digest_of(read_whole(path, segment)) != segment.sha256:
            raise UsageError(f"{path} exists, with other content", why="look what it is, and remove it")
        if _is_made(log, path):
            return placed
        return segment._replace(location=location(log, kept(folder, segment)), shared=1)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.new")
    with log.transaction():
        log.store.archiving().leave(recorded_path(log, draft))
    try:
        with ExitStack() as drafting:
            with log.transaction():  # no other run tidies meanwhile; one may have, before the draft was there
                log.store.archiving().leave(recorded_path(log, draft))
                drafting.enter_context(draft_of(path, draft))
                log.store.archiving().hold(draft)
            with draft.open("wb") as file:
                for part in parts:
                    file.write(part)
            with log.transaction():
                log.store.archiving().leave(recorded_path(log, path), draft.stat().st_ino)
    except UsageError as error:  # the path was free above
        raise ConflictError(f"another run has just written the segment {segment.name}", again="") from error
    except UnavailableError as error:
        if recorded_path(log, draft) in log.store.archiving().leftovers():
            raise
        raise _removed(draft) from error
    with log.transaction():
        log.store.archiving().removed(recorded_path(log, draft))
    return placed


def _is_made(log: EventLog, path: Path) -> bool:
    """Whether another run of this log has just made a segment's file; if so, it stays until this run has ended, too."""
    with log.transaction():
        try:
            is_made = f"{recorded_path(log, path)}#{path.stat().st_ino}" in log.store.archiving().leftovers()
            if is_made:
                log.store.archiving().hold(path)
        except FileNotFoundError as error:
            raise _removed(path) from error
        return is_made


@contextmanager
def written(path: Path) -> Iterator[None]:
    """A block that reads a file that was just written. Raises ConflictError if another run has removed it: until a
    segment owns it, it may be a killed run's, and not every file system has the locks that tell (see `Archiving.hold`).
    """
    try:
        yield
    except SegmentError as error:
        if os.path.lexists(path):
            raise
        raise _removed(path) from error


def _removed(path: Path) -> ConflictError:
    return ConflictError(
        f"{path} was removed by another run while it was written",
        why="it took the file for one that a killed run had left; the segment is where it was",
        again="",
    )


def kept(folder: Path, segment: Segment) -> Path:
    """A folder in which a segment's file stays, whatever its log does: it gets a further name there, a hard link.

    On a read-only file system this is the same folder. Raises UnavailableError if links are not possible, SegmentError
    if the file is not there.
    """
    if folder.name == KEPT:
        return folder
    to = folder / KEPT
    read_part(folder / segment.file, 0, 1, segment)
    try:
        make_folder(to)
        try:
            os.link(folder / segment.file, to / segment.file, follow_symlinks=False)
        except FileExistsError:
            if digest_of(read_whole(to / segment.file, segment)) != segment.sha256:
                raise
        sync(to)
    except OSError as error:
        if error.errno == errno.EROFS:
            return folder
        read_part(folder / segment.file, 0, 1, segment)  # if it is gone, another process may have moved it
        raise UnavailableError(
            f"cannot link {folder / segment.file} into {to}",
            why=f"{error.strerror or error}; without a link, erasing or moving it in one log would remove it for both",
        ) from error
    return to


def recorded_path(log: EventLog, path: Path) -> str:
    """A file's path as recorded: see `location`."""
    return str(Path(location(log, path.parent)) / path.name)


def path_of(log: EventLog, segment: Segment) -> Path:
    """The path of the file of a segment that is, or will be, in a folder."""
    assert segment.location is not None
    return Path(log.path).resolve().parent / segment.location / segment.file


def claim(log: EventLog, segment: Segment) -> None:
    """Within a transaction: record that a segment owns its file, which is no longer a leftover."""
    path = path_of(log, segment)
    with written(path):
        read_part(path, 0, 1, segment)
    if not segment.shared:
        log.store.archiving().removed(recorded_path(log, path))
    log.store.archiving().let_go()


def release(log: EventLog, archive: Archive, segment: Segment) -> None:
    """Within a transaction: record a segment's file as a leftover to be removed, unless another log shares it."""
    if (path := archive.place(segment)) is not None and not segment.shared and path.exists():
        log.store.archiving().leave(recorded_path(log, path), path.stat().st_ino)
