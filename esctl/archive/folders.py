"""Write segments as files in folders, and record which files are leftovers to be removed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from esctl.archive.content import Bytes, digest_of
from esctl.errors import UnavailableError, UsageError
from esctl.log import EventLog
from esctl.store.archive import Archive
from esctl.store.files import draft_of, read_part, read_whole
from esctl.store.segments import Segment


def check_folder(to: Path | str) -> Path:
    """A path that may be a folder's. Raises UsageError for a URL, which Path would silently change."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/", str(to)):
        raise UsageError(f"{to} is not a folder", why="segments are stored in the log's file or in a folder (--to DIR)")
    return Path(to)


def folder_for(to: Path) -> Path:
    """A folder for segments, created if it is missing."""
    check_folder(to)
    try:
        to.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnavailableError(f"cannot use the folder {to}", why=error.strerror or str(error)) from error
    return to


def location(log: EventLog, folder: Path) -> str:
    """A folder as recorded: relative to the log's folder if it is inside, so that both can be moved together."""
    own, absolute = Path(log.path).resolve().parent, folder.resolve()
    return str(absolute.relative_to(own)) if absolute.is_relative_to(own) else str(absolute)


def write(log: EventLog, path: Path, parts: Iterable[Bytes], segment: Segment) -> None:
    """Write a segment's file durably; its name contains its hash. A file with the same content is left as it is.

    The file is first recorded as a leftover to be removed, until a segment owns it: see `claim`.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise UsageError(f"{path} is not a file", why="a segment would be written there")
    if path.exists():
        if digest_of(read_whole(path, segment)) == segment.sha256:
            return
        raise UsageError(f"{path} exists, with other content", why="look what it is, and remove it")
    with log.transaction():
        for name in (path, draft_name(path)):
            log.store.archiving().leave(recorded_path(log, name))
    with draft_of(path, draft_name(path)) as draft, draft.open("wb") as file:
        for part in parts:
            file.write(part)


def draft_name(path: Path) -> Path:
    """The path under which a segment's file is written before it gets its name."""
    return path.with_name(f".{path.name}.new")


def recorded_path(log: EventLog, path: Path) -> str:
    """A file's path as recorded: see `location`."""
    return str(Path(location(log, path.parent)) / path.name)


def claim(log: EventLog, path: Path, segment: Segment) -> None:
    """Within a transaction: record that a segment owns a file, which is no longer a leftover."""
    read_part(path, 0, 1, segment)  # another run may have removed it as a leftover of a killed one
    for name in (path, draft_name(path)):
        log.store.archiving().removed(recorded_path(log, name))


def release(log: EventLog, archive: Archive, segment: Segment) -> None:
    """Within a transaction: record a segment's file as a leftover to be removed, unless another log shares it."""
    if (path := archive.place(segment)) is not None and not segment.shared:
        log.store.archiving().leave(recorded_path(log, path))
