"""Copy a log while others read and write it."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from pathlib import Path

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
            run(copy, f"pragma journal_mode = {journal_of(name)}")


def journal_of(path: str | os.PathLike[str]) -> str:
    """The kind of journal for a new log at a path."""
    return "truncate" if on_network(Path(path).parent) else "wal"


def on_network(folder: Path) -> bool:
    """Whether a folder is on a network file system, where WAL's shared memory does not work (Linux only).

    On other systems the answer is no: there is no portable way to find out.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        device = folder.stat().st_dev
        mounts = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return False
    number = f"{os.major(device)}:{os.minor(device)}"
    kinds = (line.partition(" - ")[2].split(" ")[0] for line in mounts if line.split(" ")[2] == number)
    return any(kind.startswith(("nfs", "cifs", "smb", "9p", "fuse.sshfs", "ceph", "afs", "lustre")) for kind in kinds)
