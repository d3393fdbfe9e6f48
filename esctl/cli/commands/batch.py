"""`esctl batch`: many command lines in one process."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator

from esctl.cli.declare import Shared
from esctl.cli.parse import MalformedError, read, shared_options
from esctl.errors import EsctlError, UsageError
from esctl.output import console, render

EXAMPLES = """Examples:
  printf '%s\\n' "append s T a=1" "state s" | esctl batch
  esctl batch --log esctl.db < commands.txt   one command per line, without esctl"""

# A line up to its comment. As in a shell, # begins a comment only at the start of a word; shlex would cut `color=#fff`.
_BEFORE_COMMENT = re.compile(r"""(?:\\.#*|'[^']*'|"(?:\\.|[^"\\])*"|(?<=\S)#|[^#'"\\])*""", re.DOTALL)


def command(shared: Shared) -> int:
    """Run command lines from stdin in one process.

    Each line holds the words that follow `esctl`, quoted as in a shell. Blank lines and # comments are skipped. The
    answer to a line is the output of its command, then a line {"exit":0}, or {"exit":5,"error":"refused","what":"…"};
    both are flushed. Each command behaves as in a process of its own, with an empty stdin. Options of batch, such as
    --log, apply to every line.
    """
    from esctl.cli.main import outcome  # noqa: PLC0415 - main imports this module

    shared_words = words_of(shared)
    for line in _lines():
        try:
            words = _words(line)
            if not words:
                continue
            code, error = outcome([*shared_words, *_command(words)])
        except UsageError as refused:
            console.report(refused, shared.error_format)
            code, error = refused.exit_code, refused
        if console.stdout_lost:
            return code  # nothing more can be acknowledged
        render.records([{"exit": code} | _error_fields(error)], "ndjson")
    return 0


def _error_fields(error: EsctlError | None) -> dict[str, object]:
    return {} if error is None else {"error": error.kind, "what": error.what}


def _lines() -> Iterator[str]:
    """The lines of stdin; the commands themselves get an empty stdin."""
    if sys.stdin is None:
        return
    source = os.fdopen(os.dup(0), encoding="utf-8", errors="surrogateescape", newline="\n")
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    with source:
        yield from source


def _words(line: str) -> list[str]:
    """Split a line into words as a shell does. Raises UsageError."""
    try:
        return shlex.split(_without_comment(line.rstrip("\r\n")))
    except ValueError as error:
        raise UsageError(f"the line {line.strip()[:60]!r} is not a command line", why=str(error)) from error


def _without_comment(line: str) -> str:
    """A line up to its comment; the whole line if quotes are unbalanced, which is reported later."""
    before = _BEFORE_COMMENT.match(line)
    end = before.end() if before else 0
    return line[:end] if line[end : end + 1] == "#" else line


def _command(words: list[str]) -> list[str]:
    """The words after `esctl`. Raises UsageError for a batch within a batch."""
    words = words[1:] if words[0] == "esctl" else words
    if "batch" in words and _is_batch(words):
        raise UsageError("a batch within a batch", why="the inner one would have no stdin")
    return words


def _is_batch(words: list[str]) -> bool:
    """Whether the command line is a `batch`, wherever its options stand."""
    try:
        return read(words).verb == "batch"
    except MalformedError:
        return False


def words_of(shared: Shared) -> list[str]:
    """The shared options as words again, without those that have their default value."""
    default, words = Shared(), list[str]()
    for option in shared_options():
        value = getattr(shared, option.name)
        if value != getattr(default, option.name) or (
            option.name == "timeout" and shared.sql_timeout != default.sql_timeout
        ):
            words += [option.flags[-1]] if option.kind == "flag" else [option.flags[-1], str(value)]
    return words
