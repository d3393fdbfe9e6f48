"""Writes to stdout and stderr, and prints errors."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Collection, Iterable

from esctl.errors import EsctlError, UnavailableError
from esctl.events.json import encoded
from esctl.events.record import Record
from esctl.output.terminal import clean, clean_lines

FORMATS = ("auto", "table", "ndjson", "json", "csv", "tsv", "raw", "cloudevents")


class Settings(Record):
    """How a process prints."""

    color: str = "auto"
    utc: bool = False
    wide: bool = False
    quiet: bool = False
    safe_csv: bool = False


settings = Settings()  # of this process; a command sets them once, from its options
stdout_lost = False  # whether stdout takes no more
STDOUT = "stdout"  # the code of the error for a stdout that cannot be written


def resolve(format_: str) -> str:
    """Resolve `auto`: a table on a terminal, NDJSON elsewhere."""
    if format_ == "auto":
        return "table" if sys.stdout.isatty() else "ndjson"
    return format_


def write(chunks: Iterable[bytes]) -> None:
    """Write chunks to stdout as they arrive; an empty chunk flushes.

    Raises BrokenPipeError, and UnavailableError if stdout cannot be written.
    """
    out = sys.stdout.buffer
    for chunk in chunks:
        with _Writing():
            if chunk:
                out.write(chunk)
            else:
                out.flush()
    with _Writing():
        out.flush()


def write_data(chunks: Iterable[bytes], *, json: bool = False) -> None:
    """Write chunks of whole lines: in a pipe as they are; on a terminal, what would control it is escaped."""
    write((clean_lines(chunk, json=json) for chunk in chunks) if sys.stdout.isatty() else chunks)


def try_stdout() -> None:
    """Before something is stored whose receipt is then printed: raise UnavailableError if stdout is known to take none.

    A write of nothing asks a device; a full disk is asked for its space.
    """
    if settings.quiet:
        return
    with _Writing():
        os.write(1, b"")
        if stat.S_ISREG(os.fstat(1).st_mode) and not os.fstatvfs(1).f_bfree:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class _Writing:
    """Turns an OSError in its block into the error that stdout cannot be written."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            silence()
            raise UnavailableError("cannot write to stdout", why=error.strerror or str(error), code=STDOUT) from error


def say(text: str) -> None:
    """Print a message on stderr."""
    _tell("".join(f"{clean(line)}\n" for line in text.split("\n")))


def _tell(text: str) -> None:
    """Write to stderr. If it takes no more, messages are lost, and the run and its exit code stay what they are."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - stays open


def note(text: str) -> None:
    """Print a note on stderr; with --quiet, nothing."""
    if not settings.quiet:
        say(f"note: {text}")


def text(content: str) -> None:
    """Print text on stdout."""
    write([content.encode()])


def repaint(content: str) -> None:
    """Clear the terminal and print a text, cut to its height."""
    import shutil

    room = shutil.get_terminal_size().lines - 1
    text("\x1b[H\x1b[J" + "".join(content.splitlines(keepends=True)[:room]))


def where(error: EsctlError) -> str:
    """The place in the input where an error is: `, line 3 of a.ndjson, byte 14`."""
    details = error.details
    file = f" of {details['file']}" if "file" in details and "line" in details else ""
    places = {"line": file, "item": "", "byte": ""}
    return "".join(f", {place} {details[place]}{more}" for place, more in places.items() if place in details)


def report(error: EsctlError, format_: str = "text", *, fix: str | None = None) -> None:
    """Print an error on stderr: what and where, why, and the command to run next; or one line of JSON.

    `fix` replaces the error's own fix by one that can be pasted.
    """
    fix = error.fix if fix is None else fix
    if format_ == "json":
        record = {
            "error": error.kind,
            "exit": error.exit_code,
            "what": error.what,
            "why": error.why,
            "fix": fix,
            **error.details,
        }
        _tell(encoded(record).decode() + "\n")
    else:
        lines = [f"error: {error.what}{where(error)}"]
        lines += [f"  {error.why}"] if error.why else []
        lines += [f"fix: {fix}"] if fix else []
        _tell("".join(f"{clean(line)}\n" for line in lines))


def unknown(kind: str, names: Iterable[str], known: Collection[str]) -> None:
    """Print a note for a type or category that no event has, if a similar one exists; such events may still come."""
    for name in names:
        if name not in known and not settings.quiet:
            import difflib

            parts = name.split(",")
            if len(parts) > 1 and all(part in known for part in parts):
                note(
                    f"no event has the {kind} {name}; give --{kind} once for each: --{kind} {f' --{kind} '.join(parts)}"
                )
            elif near := difflib.get_close_matches(name, known, 3, 0.75):
                note(f"no event has the {kind} {name}; did you mean {' or '.join(near)}?")


def notes(waiting: list[str]) -> None:
    """Print notes and forget them."""
    while waiting:
        note(waiting.pop(0))


def skipped(error: EsctlError) -> None:
    """Report a line of the input that was skipped, and why."""
    say(f"skipped: {error.what}{where(error)}" + (f" ({error.why})" if error.why else ""))


def silence() -> None:
    """Redirect stdout to /dev/null: it cannot be written, and its buffer must not raise again at exit."""
    global stdout_lost  # noqa: PLW0603 - there is one stdout
    stdout_lost = True
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
