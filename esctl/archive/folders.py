"""Folders that segments lie in, and files in them: written, kept, to be removed."""

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
    """A path that may be a folder's. Raises UsageError for an address (of which Path drops a slash)."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/", str(to)):
        raise UsageError(f"{to} is no folder", why="segments lie in the log's file or in a folder, which --to names")
    return Path(to)


def folder_for(to: Path) -> Path:
    """A folder for segments, made where it is missing."""
    check_folder(to)
    try:
        to.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnavailableError(f"cannot use the folder {to}", why=error.strerror or str(error)) from error
    return to


def location(log: EventLog, folder: Path) -> str:
    """A folder as it is recorded: relative to the log's own if it lies within, so that both can be moved together."""
    own, there = Path(log.path).resolve().parent, folder.resolve()
    return str(there.relative_to(own)) if there.is_relative_to(own) else str(there)


def write(log: EventLog, path: Path, parts: Iterable[Bytes], segment: Segment) -> None:
    """Write a segment's file, durably, under a name that no other content has. One that is there already stays.

    It is noted first as one that is to be removed, until a segment has it: see `kept`.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise UsageError(f"{path} is no file", why="a segment was to be written there")
    if path.exists():
        if digest_of(read_whole(path, segment)) == segment.sha256:
            return
        raise UsageError(f"{path} is there already, and holds something else", why="look what it is, and remove it")
    with log.transaction():
        for name in (path, draft_name(path)):
            log.store.archiving().leave(noted_path(log, name))
    with draft_of(path, draft_name(path)) as draft, draft.open("wb") as file:
        for part in parts:
            file.write(part)


def draft_name(path: Path) -> Path:
    """Where a segment's file is written before it has its name."""
    return path.with_name(f".{path.name}.new")


def noted_path(log: EventLog, path: Path) -> str:
    """A file as it is recorded: see `location`."""
    return str(Path(location(log, path.parent)) / path.name)


def kept(log: EventLog, path: Path, segment: Segment) -> None:
    """Within a transaction: a file is a segment's from here on, and not to be removed any more."""
    read_part(path, 0, 1, segment)  # another run may have taken it for what a killed one left
    for name in (path, draft_name(path)):
        log.store.archiving().removed(noted_path(log, name))


def leave(log: EventLog, archive: Archive, segment: Segment) -> None:
    """Have the file of a segment removed once the transaction is committed, unless it is another log's, too."""
    if (path := archive.place(segment)) is not None and not segment.shared:
        log.store.archiving().leave(noted_path(log, path))
