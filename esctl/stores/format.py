"""What marks an SQLite file as a log, known without loading anything."""

from __future__ import annotations

from pathlib import Path

from esctl.errors import NotFoundError, UnavailableError, UsageError, word

APPLICATION_ID = 0x65736374  # "esct", in the file's header
STORAGE_VERSION = 4  # the file's user_version: how many migrations have shaped it


def check_there(path: Path) -> None:
    """Raise NotFoundError where there is no file, UsageError at a folder, UnavailableError where one cannot look."""
    try:
        folder, there = path.is_dir(), path.exists()
    except OSError as error:
        raise UnavailableError(
            f"cannot use {path}", why=f"{error.strerror or error}; name another log with --log"
        ) from error
    if folder:
        raise UsageError(f"{path} is a folder", why=f"a log is a file, such as {path / 'esctl.db'}")
    if not there:
        raise NotFoundError(
            f"there is no log at {path}",
            why="make one, or name another with --log",
            fix=f"esctl init --log {word(path)}",
        )
