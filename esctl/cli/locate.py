"""Finds the log of a command, and the cache folder for compiled models."""

from __future__ import annotations

import os
import stat

from esctl.errors import NotFoundError, UsageError, word

DEFAULT_NAME = "esctl.db"


def find(named: str | None) -> str:
    """The log that `--log` or ESCTL_LOG names, else the nearest `esctl.db` in this folder or a parent.

    The search ends at the home folder and at mount points. Raises NotFoundError if it finds none, UsageError if another
    user may have put there what it finds.
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
            _refuse_planted(found, folder if folder != start else "")
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


def _refuse_planted(found: str, parent: str) -> None:
    """Raise UsageError for a found log that another user may have put there; `parent` is its folder if that is above
    the current one.

    What the user or root owns is trusted; for root, also what the user owns who called sudo. In a parent, which the
    user did not choose, nobody else may write the file or its folder; whether a group may is its owner's affair.
    """
    trusted = {0, os.geteuid()}
    if os.geteuid() == 0 and (sudo := os.environ.get("SUDO_UID", "")).isdecimal():
        trusted.add(int(sudo))
    for path in (found, parent) if parent else (found,):
        status = os.stat(path)
        if not {status.st_uid, os.lstat(path).st_uid} <= trusted:
            why = f"{path} belongs to another user"
        elif parent and status.st_mode & stat.S_IWOTH:
            why = f"every user may write {path}"
        else:
            continue
        raise UsageError(
            f"the log {found} was found, and may be another user's",
            why=f"{why}; name it if you trust it: --log {word(found)}",
            again=f"--log {word(found)}",
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
