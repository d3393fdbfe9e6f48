"""What marks an SQLite file as a log, and where its events stand; known without loading anything."""

from __future__ import annotations

import os
import stat

from esctl.errors import NotFoundError, UnavailableError, UsageError, word

APPLICATION_ID = 0x65736374  # "esct", in the file's header
STORAGE_VERSION = 4  # the file's user_version: how many migrations have shaped it
HOT = "main.events"  # the table of events that are not archived
ARCHIVED = "archived"  # the virtual table of those that are


def check_there(path: str) -> None:
    """Raise NotFoundError where there is no file, UsageError at a folder, UnavailableError where one cannot look."""
    try:
        folder = stat.S_ISDIR(os.stat(path).st_mode)
        there = True
    except (FileNotFoundError, NotADirectoryError, ValueError):
        folder = there = False
    except OSError as error:
        raise UnavailableError(
            f"cannot use {path}", why=f"{error.strerror or error}; name another log with --log"
        ) from error
    if folder:
        raise UsageError(f"{path} is a folder", why=f"a log is a file, such as {path.rstrip('/')}/esctl.db")
    if not there:
        raise NotFoundError(
            f"there is no log at {path}",
            why="make one, or name another with --log",
            fix=f"esctl init --log {word(path)}",
        )


def absolute(path: str) -> str:
    """A path from the root; links in it stay."""
    return path if path[:1] == "/" else os.path.join(os.getcwd(), path)


def uri_of(path: str) -> str:
    """A path as the URI by which SQLite opens it; its bytes may be no text."""
    return "file://" + "".join([chr(b) if b in _PLAIN else f"%{b:02X}" for b in os.fsencode(absolute(path))])


_PLAIN = frozenset(b"/abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~")
