"""What marks an SQLite file as a log, known without loading anything."""

from __future__ import annotations

import os
import stat

from esctl.errors import NotFoundError, UnavailableError, UsageError

APPLICATION_ID = 0x65736374  # "esct", in the file's header
STORAGE_VERSION = 4  # the file's user_version: how many migrations have shaped it


def check_there(path: str) -> None:
    """Raise NotFoundError where there is no file, UsageError at a folder, UnavailableError where one cannot look."""
    try:
        folder = stat.S_ISDIR(os.stat(path).st_mode)
        there = True
    except (FileNotFoundError, NotADirectoryError, ValueError):
        folder = there = False
    except OSError as error:
        raise UnavailableError(
            f"cannot use {path}", why=error.strerror or str(error), fix="name the log with --log"
        ) from error
    if folder:
        raise UsageError(f"{path} is a folder", fix=f"--log {path}/esctl.db")
    if not there:
        raise NotFoundError(f"there is no log at {path}", fix=f"esctl init --log {path}   (or name another with --log)")


def absolute(path: str) -> str:
    """A path from the root; links in it stay."""
    return path if path[:1] == "/" else os.path.join(os.getcwd(), path)


def uri_of(path: str) -> str:
    """A path as the URI by which SQLite opens it; its bytes may be no text."""
    return "file://" + "".join([chr(b) if b in _PLAIN else f"%{b:02X}" for b in os.fsencode(absolute(path))])


_PLAIN = frozenset(b"/abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~")
