"""New files that appear whole, under their final name, or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from esctl.errors import UnavailableError, UsageError


@contextmanager
def draft_of(target: Path) -> Iterator[Path]:
    """An empty file (mode 0600) beside `target` to write and close; it takes that name when the block ends well.

    A file that has the name already is kept, whoever made it and when. Raises UsageError then, and UnavailableError
    where the folder cannot be written.
    """
    draft = target.with_name(f".{target.name}.{uuid.uuid4().hex[:12]}.new")
    try:
        os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
        try:
            if os.path.lexists(target):  # known before the work is done; the link below decides
                raise FileExistsError
            yield draft
            _sync(draft)
            os.link(draft, target, follow_symlinks=False)
            _sync(target.parent)
        finally:
            for leftover in (draft, Path(f"{draft}-wal"), Path(f"{draft}-shm"), Path(f"{draft}-journal")):
                leftover.unlink(missing_ok=True)
    except FileExistsError as error:
        raise UsageError(f"{target} is there already", fix="name a file that does not exist") from error
    except OSError as error:
        raise UnavailableError(f"cannot write {target}", why=error.strerror or str(error)) from error


def _sync(path: Path) -> None:
    """Make a file's bytes, or a folder's names, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
