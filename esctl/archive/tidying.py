"""Clean up after a killed run: unneeded files, frames of no segment, hot rows that a segment contains already."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from esctl.log import EventLog
from esctl.store.files import is_held, remove
from esctl.store.segments import log_id_in

ROWS_PER_TRANSACTION = 50_000  # deleted in one transaction, or saved in memory while all other rows are deleted


_SEGMENT_NAME = re.compile(r"\d{12,}-\d{12,}-([0-9a-f]{16})\.ndjson\.zst").fullmatch
_DRAFT_NAME = re.compile(r"\.\d{12,}-\d{12,}-[0-9a-f]{16}\.ndjson\.zst\.[0-9a-f]{12}\.new").fullmatch
_ENTRY = re.compile(r"(.*?)(?:#(\d+))?", re.DOTALL).fullmatch  # a file's path, and its inode unless it is a draft


def tidy(log: EventLog) -> None:
    """Clean up after a killed run: remove unneeded files, frames of no segment, and leftover hot rows.

    Under the write lock, so that no other run can claim a file meanwhile. What a running one writes stays. A log may be
    a copy, or come from a stranger: so a file is removed only if this very file of the log recorded it, and it is a
    segment of this log.
    """
    archiving = log.store.archiving()
    archiving.let_go()
    if any(archiving.leftovers()):
        with log.transaction():
            archiving.supersede()
    with log.transaction():
        archiving.adopt()
        if leftovers := [name for name in archiving.leftovers() if name]:
            folder, archive = Path(log.path).resolve().parent, log.store.archive()
            places = [archive.place(segment) for segment in archive.segments] if archive else []
            needed = {place.resolve() for place in places if place is not None}
            for entry in leftovers:
                name, inode = _parsed(entry)
                path = folder / name
                if is_held(path):  # another run writes it now
                    continue
                if path.resolve() not in needed and _is_ours(path, inode, log.log_id):
                    remove(path)
                archiving.removed(entry)
        archiving.drop_pending()
    delete_leftover_rows(log)


def delete_leftover_rows(log: EventLog) -> None:
    """Delete the hot rows of archived events: all at once if few other rows remain, else in portions."""
    archiving = log.store.archiving()
    spans, remaining = archiving.leftover_rows()
    if spans and remaining <= ROWS_PER_TRANSACTION and remaining < spans[-1][1] - spans[0][0]:
        archiving.delete_leftover_rows_at_once(log.transaction)
        return
    for first, last in spans:
        for low in range(first, last + 1, ROWS_PER_TRANSACTION):
            with log.transaction():
                archiving.delete_leftover_rows(low, min(low + ROWS_PER_TRANSACTION - 1, last))


def _parsed(entry: str) -> tuple[str, int | None]:
    """The path and the inode of an entry."""
    found = _ENTRY(entry)
    assert found is not None
    return found[1], None if found[2] is None else int(found[2])


def _is_ours(path: Path, inode: int | None, log_id: str) -> bool:
    """Whether a file is the one that was recorded, and a segment of this log, as written; or a draft of one."""
    if _DRAFT_NAME(path.name):
        return True
    name = _SEGMENT_NAME(path.name)
    if name is None or path.is_symlink() or not path.is_file():
        return name is not None and not path.exists()
    with path.open("rb") as file:
        return (
            os.fstat(file.fileno()).st_ino == inode
            and log_id_in(file) == log_id
            and file.seek(0) == 0
            and hashlib.file_digest(file, "sha256").hexdigest().startswith(name[1])
        )
