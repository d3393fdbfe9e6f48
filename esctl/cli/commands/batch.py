"""`esctl batch`: many command lines in one process."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator

from esctl import output
from esctl.cli.declare import Shared
from esctl.cli.parse import shared_options
from esctl.errors import EsctlError, UsageError

EXAMPLES = """Examples:
  printf '%s\\n' "append s T a=1" "state s" | esctl batch
  esctl batch --log esctl.db < commands.txt   a command line a line, without esctl"""


def command(shared: Shared) -> None:
    """Run command lines from stdin in one process, one a line.

    A line holds the words that stand behind `esctl`, quoted as in a shell; blank lines and # comments are passed over.
    Each is answered by what it prints, and then by a line {"exit":0}, or {"exit":5,"error":"refused","what":"…"}; both
    are flushed. Answers are those of one process a line, but for stdin, which is empty. Options of batch, such as
    --log, hold for every line.
    """
    from esctl.cli.main import outcome  # noqa: PLC0415 - it imports this

    given = _given(shared)
    for line in _lines():
        try:
            words = _words(line)
            if not words:
                continue
            code, error = outcome([*given, *words])
        except UsageError as wrong:
            output.report(wrong, shared.error_format)
            code, error = wrong.exit_code, wrong
        output.records([{"exit": code} | _said(error)], "ndjson")


def _said(error: EsctlError | None) -> dict[str, object]:
    return {} if error is None else {"error": error.kind, "what": error.what}


def _lines() -> Iterator[str]:
    """The lines of stdin; the commands that they name find it empty."""
    if sys.stdin is None:
        return
    source = os.fdopen(os.dup(0), encoding="utf-8", errors="surrogateescape", newline="\n")
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    with source:
        yield from source


def _words(line: str) -> list[str]:
    """The words of a line, as a shell has them. Raises UsageError."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError as error:
        raise UsageError(f"the line {line.strip()[:60]!r} is no command line", why=str(error)) from error
    words = words[1:] if words[:1] == ["esctl"] else words
    if "batch" in words[:1]:
        raise UsageError("a batch within a batch", why="its lines would come from nowhere")
    return words


def _given(shared: Shared) -> list[str]:
    """The options of batch as words, but for those that are as they always are."""
    usual, words = Shared(), list[str]()
    for option in shared_options():
        value = getattr(shared, option.name)
        if value != getattr(usual, option.name):
            words += [option.flags[-1]] if option.kind == "flag" else [option.flags[-1], str(value)]
    return words
