"""Clean up after a killed run: unneeded files, frames of no segment, hot rows that a segment contains already."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from esctl.log import EventLog
from esctl.store.files import remove

ROWS_PER_TRANSACTION = 50_000  # deleted in one transaction, or saved in memory while all other rows are deleted


_SEGMENT_NAME = re.compile(r"\d{12,}-\d{12,}-([0-9a-f]{16})\.ndjson\.zst").fullmatch
_DRAFT_NAME = re.compile(r"\.\d{12,}-\d{12,}-[0-9a-f]{16}\.ndjson\.zst\.new").fullmatch


def tidy(log: EventLog) -> None:
    """Clean up after a killed run: remove unneeded files, frames of no segment, and leftover hot rows.

    Under the write lock, so that no other run can claim a file meanwhile. A log may come from a stranger, so a file
    that it records as a leftover is removed only if esctl made it for a segment.
    """
    archiving = log.store.archiving()
    with log.transaction():
        if leftovers := [name for name in archiving.leftovers() if name]:
            folder, archive = Path(log.path).resolve().parent, log.store.archive()
            places = [archive.place(segment) for segment in archive.segments] if archive else []
            needed = {place.resolve() for place in places if place is not None}
            for name in leftovers:
                path = folder / name
                if path.resolve() not in needed and _is_ours(path):
                    remove(path)
                archiving.removed(name)
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


def _is_ours(path: Path) -> bool:
    """Whether esctl made a file for a segment: judged by its name and, unless it is a draft, by its hash."""
    if _DRAFT_NAME(path.name):
        return True
    name = _SEGMENT_NAME(path.name)
    if name is None or path.is_symlink() or not path.is_file():
        return name is not None and not path.exists()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest().startswith(name[1])
