"""A library between a process and its file operations, for the harnesses that kill, fail, stop or record it.

`library()` compiles `shim.c`. A process that is started with it in LD_PRELOAD obeys the variables SHIM_… (`orders`)
from its start; a fork of such a process from the call of `arm` on. What SQLite, Python and their libraries do to files
within one folder counts: creating, truncating, writing, syncing, renaming, linking, unlinking, changing modes, making
and removing folders; so does writing to stdout. Reading does not, and what ends in `-shm` is left alone.

A record file has, in order, what was done, and not what failed to be done:

| kind | path, other | inode | offset | result | data |
|---|---|---|---|---|---|
| create | the new, empty file | of the file | flags of open | descriptor | |
| write | path by which it was opened | of the file | in the file | bytes written | these bytes |
| truncate | same | of the file | the new size (it may grow) | 0 | |
| sync | same | of the file | | 0, or -1: it failed | |
| sync_folder | the folder, whose names are durable now | of the folder | | 0 or -1 | |
| rename | from, to (which was replaced) | of the file | | | |
| link | from, to | of the file | | | |
| symlink | content, name | of the link | | | |
| unlink | the name (the file may have others, or be open) | of the file | | | |
| mkdir, rmdir | the folder | of the folder | mode | | |
| chmod | the file | of the file | mode | | |
| open, close | the file | of the file | flags of open | descriptor | |
| print | | | | bytes | what was written to stdout: it is acknowledged from here on |
| mark | | | | | the text given to `mark` |

A write, truncate or sync of an unlinked file has the path that it had. An inode's number may come again after its file
is gone: with the next `create`, `mkdir` or `symlink`. Paths are absolute, and links in their folders are followed.
"""

from __future__ import annotations

import atexit
import ctypes
import errno
import mmap
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).with_name("shim.c")
MODES = ("idle", "count", "kill", "kill half", "fail", "fail on", "fail half", "stop")
"""What is done at the chosen operation. Kill: the process dies before it, or (half) when half of a write is written.
Fail: it alone fails, or (on) all from there on fail, or (half) half of a write is written and from there on the disk is
full. Stop: the process waits until it is told to go on. With the error ENOSPC only what takes room fails.
"""
KINDS = (
    "", "create", "write", "truncate", "sync", "sync_folder", "rename", "link", "symlink", "unlink", "mkdir", "rmdir",
    "chmod", "close", "print", "mark", "open",
)  # fmt: skip
HEADER = struct.Struct("=IiQqqIIQ")
CONTROL = struct.Struct("=qqq")  # operations so far; whether the chosen one was reached; whether to go on


class Operation(NamedTuple):
    """One operation of a record file."""

    kind: str
    descriptor: int
    path: str
    other: str
    inode: int
    offset: int
    result: int
    data: bytes


def missing() -> str:
    """Why there can be no such library here; empty if it can be."""
    if shutil.which("cc") is None:
        return "there is no C compiler"
    return "" if Path("/proc/self/fd").is_dir() else "there is no /proc"


@cache
def library() -> str:
    """The path of the library, compiled for this process."""
    folder = tempfile.mkdtemp(prefix="esctl-shim-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    made = str(Path(folder) / "shim.so")
    command = ["cc", "-shared", "-fPIC", "-O2", "-Wall", "-o", made, str(SOURCE), "-ldl", "-lpthread"]
    subprocess.run(command, check=True, capture_output=True)
    return made


def orders(
    folder: Path,
    mode: str,
    at: int = 0,
    *,
    control: Path | None = None,
    record: Path | None = None,
    error: int = errno.EIO,
    opens: bool = False,
) -> dict[str, str]:
    """The environment that tells the library what to do at the operation of this number (from 1) on files in `folder`.

    `control` and `record` are files to write, outside of the folder. `opens`: opening a file counts, too.
    """
    found = {
        "SHIM_FOLDER": str(folder),
        "SHIM_MODE": str(MODES.index(mode)),
        "SHIM_AT": str(at),
        "SHIM_ERROR": str(error),
        "SHIM_OPENS": str(int(opens)),
    }
    if control is not None:
        found["SHIM_CONTROL"] = str(control)
    if record is not None:
        found["SHIM_RECORD"] = str(record)
    return found


def arm() -> None:
    """Obey the variables SHIM_… of the environment from here on, in a process that has the library loaded."""
    ctypes.CDLL(None).shim_arm()


def mark(text: str) -> None:
    """Put a mark into the record of this process."""
    ctypes.CDLL(None).shim_mark(text.encode())


class Control:
    """What a process and its harness share: how far it is, and whether it may go on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(bytes(CONTROL.size))
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), CONTROL.size)

    @property
    def operations(self) -> int:
        """How many operations there were, the one that was killed or that waits included."""
        found: int = CONTROL.unpack_from(self._shared)[0]
        return found

    @property
    def reached(self) -> bool:
        """Whether there was an operation of the chosen number, and it was of a kind that can fail so."""
        return bool(CONTROL.unpack_from(self._shared)[1])

    def go(self) -> None:
        """Let a process that waits go on."""
        struct.pack_into("=q", self._shared, 16, 1)

    def reset(self) -> None:
        """Be as new, for the next process."""
        self._shared[:] = bytes(CONTROL.size)

    def close(self) -> None:
        self._shared.close()


def operations(record: Path) -> Iterator[Operation]:
    """Read a record file."""
    content = memoryview(record.read_bytes() if record.exists() else b"")
    at = 0
    while at < len(content):
        kind, descriptor, inode, offset, result, path, other, data = HEADER.unpack_from(content, at)
        at += HEADER.size
        parts = []
        for size in (path, other, data):
            parts.append(bytes(content[at : at + size]))
            at += size
        yield Operation(
            KINDS[kind], descriptor, os.fsdecode(parts[0]), os.fsdecode(parts[1]), inode, offset, result, parts[2]
        )
