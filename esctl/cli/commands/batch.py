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
  esctl batch --log esctl.db < commands.txt   a command line a line, without esctl"""

# All before a comment: a # begins one where a word could begin, as in a shell; shlex would end `color=#fff` at it.
_BEFORE_COMMENT = re.compile(r"""(?:\\.#*|'[^']*'|"(?:\\.|[^"\\])*"|(?<=\S)#|[^#'"\\])*""", re.DOTALL)


def command(shared: Shared) -> int:
    """Run command lines from stdin in one process, one a line.

    A line holds the words that stand behind `esctl`, quoted as in a shell; blank lines and # comments are passed over.
    Each is answered by what it prints, and then by a line {"exit":0}, or {"exit":5,"error":"refused","what":"…"}; both
    are flushed. Answers are those of one process a line, but for stdin, which is empty. Options of batch, such as
    --log, hold for every line.
    """
    from esctl.cli.main import outcome  # noqa: PLC0415 - it imports this

    given = words_of(shared)
    for line in _lines():
        try:
            words = _words(line)
            if not words:
                continue
            code, error = outcome([*given, *_command(words)])
        except UsageError as wrong:
            console.report(wrong, shared.error_format)
            code, error = wrong.exit_code, wrong
        if console.Settings.lost:
            return code  # nothing more could be acknowledged
        render.records([{"exit": code} | _said(error)], "ndjson")
    return 0


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
        return shlex.split(_without_comment(line.rstrip("\r\n")))
    except ValueError as error:
        raise UsageError(f"the line {line.strip()[:60]!r} is no command line", why=str(error)) from error


def _without_comment(line: str) -> str:
    """A line up to its comment; the whole of it where quotes are unbalanced, which is reported later."""
    before = _BEFORE_COMMENT.match(line)
    end = before.end() if before else 0
    return line[:end] if line[end : end + 1] == "#" else line


def _command(words: list[str]) -> list[str]:
    """The words behind `esctl`. Raises UsageError if they ask for a batch."""
    words = words[1:] if words[0] == "esctl" else words
    if "batch" in words and _is_batch(words):
        raise UsageError("a batch within a batch", why="its lines would come from nowhere")
    return words


def _is_batch(words: list[str]) -> bool:
    """Whether words ask for a batch, wherever its options stand."""
    try:
        return read(words).verb == "batch"
    except MalformedError:
        return False


def words_of(shared: Shared) -> list[str]:
    """Shared options as words again, but for those that are as they always are."""
    usual, words = Shared(), list[str]()
    for option in shared_options():
        value = getattr(shared, option.name)
        if value != getattr(usual, option.name) or (option.name == "timeout" and shared.patience != usual.patience):
            words += [option.flags[-1]] if option.kind == "flag" else [option.flags[-1], str(value)]
    return words
