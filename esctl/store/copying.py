"""Copy a log while others read and write it."""

from __future__ import annotations

import os
from contextlib import closing

import apsw

from esctl.store.errors import Translated
from esctl.store.format import Memory, uri_of
from esctl.store.opening import run


def copy_to(connection: apsw.Connection, path: str, empty: str | os.PathLike[str]) -> None:
    """Copy a consistent state of the log at `path` into an empty file: SQLite's own online copy."""
    name = os.fspath(empty)
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_URI
    with Translated(name), closing(apsw.Connection(uri_of(name), flags=flags)) as copy:
        with copy.backup("main", connection, "main") as backup:
            backup.step(-1)  # all under one read lock: otherwise every write restarts the copy
        if isinstance(path, Memory):  # a log in memory has no journal of a file's kind
            from esctl.store import migrations  # noqa: PLC0415 - sqlite-utils, only to make a log

            run(copy, f"pragma journal_mode = {migrations.journal_of(name)}")
