"""Finds the log of a command, and the cache folder for compiled models."""

from __future__ import annotations

import os

from esctl.errors import NotFoundError

DEFAULT_NAME = "esctl.db"


def find(named: str | None) -> str:
    """The log that `--log` or ESCTL_LOG names, else the nearest `esctl.db` in this folder or a parent.

    The search ends at the home folder and at mount points. Raises NotFoundError if it finds none.
    """
    if given := named or os.environ.get("ESCTL_LOG"):
        return given
    try:
        start = folder = os.getcwd()
    except OSError as error:
        raise NotFoundError(
            "this folder no longer exists", why=f"{error.strerror or error}; name the log with --log PATH"
        ) from error
    while True:
        if os.path.exists(found := os.path.join(folder, DEFAULT_NAME)):
            return found
        above = os.path.dirname(folder)
        if above == folder or _is_home(folder) or os.path.ismount(folder):
            break
        folder = above
    raise NotFoundError(
        f"there is no {DEFAULT_NAME} in {start} or a folder above it",
        why="esctl init creates one here; --log PATH names one elsewhere",
        fix="esctl init",
    )


def _is_home(folder: str) -> bool:
    home = os.environ.get("HOME")
    return bool(home) and os.path.exists(home or "") and os.path.samefile(folder, home or "")


def place(named: str | None) -> str:
    """The path of a new log: what `--log` or ESCTL_LOG names, else `esctl.db` in this folder."""
    return named or os.environ.get("ESCTL_LOG") or DEFAULT_NAME


def cache() -> str:
    """The folder for compiled models: ESCTL_CACHE, else the user's usual one; empty if ESCTL_CACHE is `none`."""
    if given := os.environ.get("ESCTL_CACHE"):
        return "" if given == "none" else given
    home = os.environ.get("HOME")
    base = os.environ.get("XDG_CACHE_HOME") or (home and os.path.join(home, ".cache"))
    return os.path.join(base, "esctl") if base and os.path.isabs(base) else ""
