"""What a killed run left, finished: files that nothing needs, rows and frames that a segment holds already."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from esctl.log import EventLog
from esctl.store.files import remove

ROWS_PER_TRANSACTION = 50_000  # rows that go in one transaction, or that are put aside in memory while all others go


_A_SEGMENT = re.compile(r"\d{12,}-\d{12,}-([0-9a-f]{16})\.ndjson\.zst").fullmatch
_A_DRAFT = re.compile(r"\.\d{12,}-\d{12,}-[0-9a-f]{16}\.ndjson\.zst\.new").fullmatch


def tidy(log: EventLog) -> None:
    """Finish what a killed run left: remove files that nothing needs, and frames that are of no segment.

    Under the write lock: what another run is about to keep, it keeps before or not at all. What a log names is no
    reason to remove a file: it has to be one that was made for a segment.
    """
    archiving = log.store.archiving()
    with log.transaction():
        if left := [name for name in archiving.leftovers() if name]:
            folder, archive = Path(log.path).resolve().parent, log.store.archive()
            places = [archive.place(segment) for segment in archive.segments] if archive else []
            needed = {place.resolve() for place in places if place is not None}
            for name in left:
                path = folder / name
                if path.resolve() not in needed and _was_made(path):
                    remove(path)
                archiving.removed(name)
        archiving.drop_pending()
    delete_leftover_rows(log)


def delete_leftover_rows(log: EventLog) -> None:
    """Have the hot part hold no row any more that a segment holds: at once where few remain, else in portions."""
    archiving = log.store.archiving()
    spans, remaining = archiving.leftover_rows()
    if spans and remaining <= ROWS_PER_TRANSACTION and remaining < spans[-1][1] - spans[0][0]:
        archiving.delete_leftover_rows_at_once(log.transaction)
        return
    for first, last in spans:
        for low in range(first, last + 1, ROWS_PER_TRANSACTION):
            with log.transaction():
                archiving.delete_leftover_rows(low, min(low + ROWS_PER_TRANSACTION - 1, last))


def _was_made(path: Path) -> bool:
    """Whether a file is one that esctl made for a segment: by its name, and a whole one by its content."""
    if _A_DRAFT(path.name):
        return True
    name = _A_SEGMENT(path.name)
    if name is None or path.is_symlink() or not path.is_file():
        return name is not None and not path.exists()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest().startswith(name[1])
