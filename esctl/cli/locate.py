"""Which log a command is about."""

from __future__ import annotations

import os
from pathlib import Path

from esctl.errors import NotFoundError

DEFAULT_NAME = "esctl.db"


def find(named: str | None) -> Path:
    """The log that `--log` or ESCTL_LOG names, else the nearest `esctl.db` in this folder or a parent.

    The search ends at the home folder and at mount points. Raises NotFoundError where it finds none.
    """
    if given := named or os.environ.get("ESCTL_LOG"):
        return Path(given)
    try:
        start = Path.cwd()
    except OSError as error:
        raise NotFoundError("this folder is gone", why=error.strerror or str(error), fix="cd, or --log PATH") from error
    home = os.environ.get("HOME")
    for folder in (start, *start.parents):
        if (found := folder / DEFAULT_NAME).exists():
            return found
        if (home and Path(home).exists() and folder.samefile(home)) or os.path.ismount(folder):
            break
    raise NotFoundError(
        f"there is no {DEFAULT_NAME} in {start} or a folder above it",
        fix="esctl init   (or name a log with --log PATH)",
    )


def place(named: str | None) -> Path:
    """Where a new log goes: what `--log` or ESCTL_LOG names, else `esctl.db` in this folder."""
    return Path(named or os.environ.get("ESCTL_LOG") or DEFAULT_NAME)
