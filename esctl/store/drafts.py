"""Check that a new log's file holds all that was committed, before it gets its name.

SQLite moves the rest of the WAL into the file when the last connection is closed, and reports no error there.
"""

from __future__ import annotations

import os
from pathlib import Path

import apsw

from esctl.errors import UnavailableError
from esctl.store.errors import Translated
from esctl.store.format import uri_of
from esctl.store.opening import run

_HAS_HEAD = "select 1 from sqlite_schema where name = 'head'"


def complete(draft: Path, target: Path, head: bytes | None) -> None:
    """Move all that was committed to a closed draft into its one file; then read from that file the hash of its head
    (None: it has no tables yet).

    Raises UnavailableError, with the name of the `target`, if anything of it is missing, as on a full disk.
    """
    with Translated(str(target)):
        try:
            busy = _checkpoint(draft)
            left = [end for end in ("-wal", "-journal") if _size(f"{draft}{end}")]
            found = b"" if busy or left else _head(draft)
        except (apsw.CorruptError, apsw.NotADBError, apsw.SQLError) as error:
            raise _incomplete(target, str(error)) from error
    if found != head:
        raise _incomplete(target, "not all that was written has reached the file")


def _checkpoint(draft: Path) -> int:
    """Whether a checkpoint of the whole WAL could not be finished."""
    connection = apsw.Connection(uri_of(str(draft)), flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_URI)
    try:
        run(connection, "pragma synchronous = full")
        busy: int = connection.execute("pragma wal_checkpoint(truncate)").get[0]
        return busy
    finally:
        connection.close()


def _size(path: str) -> int:
    return os.stat(path).st_size if os.path.exists(path) else 0


def _head(draft: Path) -> object:
    """The hash of the head as the file itself has it."""
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    connection = apsw.Connection(f"{uri_of(str(draft))}?immutable=1", flags=flags)
    try:
        return connection.execute("select hash from head").get if connection.execute(_HAS_HEAD).get else None
    finally:
        connection.close()


def _incomplete(target: Path, why: str) -> UnavailableError:
    return UnavailableError(f"cannot write {target}", why=f"{why}; check the free space of its folder")
