"""Turns the command that an error offers into one that can be pasted."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from esctl.cli.parse import read
from esctl.cli.table import COMMANDS, GROUPS

NEEDS_NO_LOG = ("completion", "demo", "help", "init", "model check", "project", "version")


def about(fix: str, log: str) -> str:
    """Add the user's --log to a command, or to several commands joined by `|`, `&&` or `;`."""
    if "--log" in fix or "--help" in fix:
        return fix
    for operator in (" | ", " && ", "; "):
        fix = operator.join(_about(part, log) for part in fix.split(operator))
    return fix


def _about(command: str, log: str) -> str:
    words = command.split(" ")
    if words[0] != "esctl" or "--log" in words:
        return command
    verb = " ".join(words[1:3]) if words[1:2] and words[1] in GROUPS else words[1]
    if verb in NEEDS_NO_LOG or verb not in COMMANDS:
        return command
    after = 1 + len(verb.split(" "))
    return " ".join([*words[:after], "--log", shlex.quote(log), *words[after:]])


def again(argv: Sequence[str], more: str) -> str:
    """The same command line with more words; words after `--` stay last."""
    words, added = list(argv), shlex.split(more)
    if added[:1] == ["--timeout"]:
        words = _without_timeout(words)
    at = words.index("--") if "--" in words else len(words)
    return shlex.join(["esctl", *words[:at], *added, *words[at:]])


def _without_timeout(argv: Sequence[str]) -> list[str]:
    """The words of a command line without --timeout and its value, which a new one replaces."""
    words: list[str] = []
    rest = iter(argv)
    for each in rest:
        if each == "--":
            return [*words, each, *rest]
        if each == "--timeout":
            next(rest, None)
        elif not each.startswith("--timeout="):
            words.append(each)
    return words


def fed(argv: Sequence[str], feed: str, file: object) -> str:
    """The same command line, which reads the output of `feed` in place of a file, or of what is its stdin now."""
    words = list(argv)
    if isinstance(file, str) and file in words:
        at = len(words) - 1 - words[::-1].index(file)
        words[at : at + 1] = ["-"] if _has_more_files(words) else []
    return f"{feed} | {shlex.join(['esctl', *words])}"


def _has_more_files(words: Sequence[str]) -> bool:
    return len(read(words).own.get("arguments", [])) > 1
