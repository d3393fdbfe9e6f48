"""What marks an SQLite file as a log, and where its events are; importing this loads nothing else."""

from __future__ import annotations

import os
import stat

from esctl.errors import NotFoundError, UnavailableError, UsageError, word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

APPLICATION_ID = 0x65736374  # "esct", in the file's header
STORAGE_VERSION = 6  # the file's user_version: the number of applied migrations
NEXT_BLOCK = "select ifnull(max(block) + 1, 0) from block_summaries"  # the first without a summary
POSITIONS_PER_BLOCK = 1000  # block n, from 0 on, has the positions 1000 n + 1 to 1000 (n + 1)
MEMORY = ":memory:"
HOT = "main.events"  # the table of events that are not archived
ARCHIVED = "archived"  # the virtual table of archived events
# For temporary tables that may be large. Setting another value drops all temporary tables.
TEMP_STORE_IN_FILES = "pragma temp_store = file"


class Memory(str):
    """The path of a log in memory. All connections of the process to one name see the same log; it ends with the last
    of them.
    """

    __slots__ = ("name",)

    def __new__(cls, name: str) -> Self:
        """The path is only for messages; the name is what tells logs apart."""
        path = super().__new__(cls, MEMORY)
        path.name = name
        return path

    name: str


def check_there(path: str) -> None:
    """Raise NotFoundError for a missing file, UsageError for what is no file (a folder, a pipe), UnavailableError if it
    cannot be checked.
    """
    mode = 0
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):
        pass
    except OSError as error:
        raise UnavailableError(
            f"cannot use {path}", why=f"{error.strerror or error}; name another log with --log"
        ) from error
    if stat.S_ISDIR(mode):
        raise UsageError(f"{path} is a folder", why=f"a log is a file, such as {path.rstrip('/')}/esctl.db")
    if mode and not stat.S_ISREG(mode):  # reading it may never end
        raise UsageError(f"{path} is not a file", why="a log is a file; name the log with --log")
    if not mode:
        raise NotFoundError(
            f"there is no log at {path}",
            why="make one, or name another with --log",
            fix=f"esctl init --log {word(path)}",
        )


def absolute(path: str) -> str:
    """A path from the root; links are not resolved."""
    return path if path[:1] == "/" else os.path.join(os.getcwd(), path)


def uri_of(path: str) -> str:
    """A path as a URI for SQLite; its bytes need not be valid text."""
    if isinstance(path, Memory):
        return f"file:/{path.name}?vfs=memdb"
    return "file://" + "".join([chr(b) if b in _PLAIN else f"%{b:02X}" for b in os.fsencode(absolute(path))])


_PLAIN = frozenset(b"/abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~")
