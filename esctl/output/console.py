"""Standard output and error: what is written to them, and how errors are printed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence

from esctl.errors import EsctlError, UnavailableError
from esctl.events.json import encoded
from esctl.output.terminal import clean

FORMATS = ("auto", "table", "ndjson", "json", "csv", "tsv", "raw", "cloudevents")


class Settings:
    """How this process prints; a command sets it once from its options. `lost`: stdout takes no more."""

    color = "auto"
    utc = False
    wide = False
    quiet = False
    safe_csv = False
    lost = False


def resolve(format_: str) -> str:
    """The format that `auto` stands for here: a table on a terminal, NDJSON elsewhere."""
    if format_ == "auto":
        return "table" if sys.stdout.isatty() else "ndjson"
    return format_


def write(chunks: Iterable[bytes]) -> None:
    """Write bytes to stdout as they come; an empty chunk lets the reader have what there is.

    Raises BrokenPipeError, and UnavailableError if stdout takes no more.
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


class _Writing:
    """A block whose failure is stdout's."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            silence()
            raise UnavailableError("cannot write to stdout", why=error.strerror or str(error)) from error


def say(text: str) -> None:
    """Tell the user something that is not data."""
    sys.stderr.write("".join(f"{clean(line)}\n" for line in text.split("\n")))
    sys.stderr.flush()


def text(content: str) -> None:
    """Print prose on stdout."""
    write([content.encode()])


def repaint(content: str) -> None:
    """Show a text on a terminal in place of what is there, as much of it as there is room for."""
    import shutil

    room = shutil.get_terminal_size().lines - 1
    text("\x1b[H\x1b[J" + "".join(content.splitlines(keepends=True)[:room]))


def where(error: EsctlError) -> str:
    """The place in the input that an error names: `, line 3, byte 14`."""
    return "".join(f", {place} {error.details[place]}" for place in ("line", "byte") if place in error.details)


def report(error: EsctlError, format_: str = "text", *, fix: str | None = None) -> None:
    """Print an error on stderr: what and where, why, and the command that helps; or as one JSON object on one line.

    `fix` is the error's own, made such that it can be pasted.
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
        sys.stderr.write(encoded(record).decode() + "\n")
    else:
        told = [f"error: {error.what}{where(error)}"]
        told += [f"  {error.why}"] if error.why else []
        told += [f"fix: {fix}"] if fix else []
        sys.stderr.write("".join(f"{clean(line)}\n" for line in told))
    sys.stderr.flush()


def unknown_types(types: Iterable[str], known: Sequence[str]) -> None:
    """Note types that no event has where another may have been meant; they may come yet, so it is no error."""
    for name in types:
        if name not in known and not Settings.quiet:
            import difflib

            if near := difflib.get_close_matches(name, known, 3, 0.75):
                say(f"note: no event has the type {name}; did you mean {' or '.join(near)}?")


def skipped(error: EsctlError) -> None:
    """Tell that a line of the input was left out, and why."""
    say(f"skipped: {error.what}{where(error)}" + (f" ({error.why})" if error.why else ""))


def silence() -> None:
    """Give up on stdout: nobody reads it, and what is buffered must not raise again at exit."""
    Settings.lost = True
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
