"""Make a log in memory: nothing of it is ever written to a disk."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager

import apsw

from esctl.store import migrations
from esctl.store.format import Memory, uri_of


@contextmanager
def new() -> Iterator[Memory]:
    """The path of a new, empty log in memory; it stays as long as it is open, so open it within the block."""
    path = Memory(f"esctl-{uuid.uuid4().hex}")
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI
    with closing(apsw.Connection(uri_of(path), flags=flags)) as log, closing(apsw.Connection(":memory:")) as empty:
        empty.deserialize("main", migrations.image())
        with log.backup("main", empty, "main") as copy:
            copy.step(-1)
        yield path
