"""Rows -> table, NDJSON, JSON, CSV, TSV; notes and errors. The only module that prints.

Its imports are paid by every cold start: rich, csv and msgspec are loaded where they are used.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

from esctl.errors import EsctlError, UnavailableError
from esctl.events import FIELDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from rich.console import Console

    from esctl.stores.base import Head, Receipt, SealedEvent

FORMATS = ("auto", "table", "ndjson", "json", "csv", "tsv", "raw")
TABLE_FIELDS = ("position", "time", "stream", "version", "type", "data")

# What a terminal might act on: C0 and C1 controls, DEL, line and paragraph separators, bidirectional controls.
_ACTING = [*range(0x20), *range(0x7F, 0xA0), 0x61C, 0x200E, 0x200F, 0x2028, 0x2029, *range(0x202A, 0x202F)]
_ACTING += range(0x2066, 0x206A)
_VISIBLE = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _ACTING}
_VISIBLE |= {10: "\\n", 13: "\\r", 9: "\\t"}


def clean(text: str) -> str:
    """Text with every character that a terminal acts on spelled out."""
    return text.translate(_VISIBLE)


def resolve(format_: str) -> str:
    """The format that `auto` stands for here: a table on a terminal, NDJSON elsewhere."""
    if format_ == "auto":
        return "table" if sys.stdout.isatty() else "ndjson"
    return format_


def write(chunks: Iterable[bytes]) -> None:
    """Write bytes to stdout as they come. Raises BrokenPipeError, and UnavailableError if stdout takes no more."""
    out = sys.stdout.buffer
    for chunk in chunks:
        with _Writing():
            out.write(chunk)
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


# Events


def lines(chunks: Iterable[bytes], format_: str) -> None:
    """Print chunks of NDJSON lines as they are (`ndjson`, `raw`) or as one JSON array (`json`)."""
    write(_array(chunks) if format_ == "json" else chunks)


def _array(chunks: Iterable[bytes]) -> Iterator[bytes]:
    separator = b"[\n"
    for chunk in chunks:
        yield separator + chunk[:-1].replace(b"\n", b",\n")  # an LF in a chunk always ends a line
        separator = b",\n"
    yield b"[]\n" if separator == b"[\n" else b"\n]\n"


def events(sealed: Iterable[SealedEvent], format_: str, *, hashes: bool) -> None:
    """Print events as a table, CSV or TSV."""
    if format_ == "table":
        table(TABLE_FIELDS, ((e[0], _seconds(e[6]), e[1], e[2], e[4], e[8]) for e, _, _ in sealed))
        return
    header = (*FIELDS, "salt", "hash") if hashes else FIELDS
    rows = ((*event, salt.hex(), hash_.hex()) if hashes else event for event, salt, hash_ in sealed)
    _separated(header, rows, format_)


def _seconds(time: str) -> str:
    """A time as people read it in a row of others: `2026-01-31 09:30:00Z`."""
    return f"{time[:10]} {time[11:19]}Z"


def _separated(header: Sequence[str], rows: Iterable[Sequence[object]], format_: str) -> None:
    """Print rows as CSV or TSV with LF at line ends, as the shell's tools expect."""
    import csv
    import io

    def chunks() -> Iterator[bytes]:
        buffer = io.StringIO(newline="")
        writer = csv.writer(buffer, delimiter="\t" if format_ == "tsv" else ",", lineterminator="\n")
        for row in chain((header,), rows):
            writer.writerow(row)
            yield buffer.getvalue().encode()
            buffer.seek(0)
            buffer.truncate()

    write(chunks())


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows as a table that fits the terminal; a cell's content is never markup and never acts.

    What does not fit is cut from the last column, the widest as a rule, and only then from the others.
    """
    from rich.table import Table
    from rich.text import Text

    console = _console()
    cells = [[Text(clean(str(cell))) for cell in row] for row in rows]
    widths = [max([len(name), *(row[i].cell_len for row in cells)]) for i, name in enumerate(header)]
    left = console.width - sum(widths[:-1]) - 2 * (len(header) - 1)
    grid = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for i, name in enumerate(header):
        width = min(widths[i], max(left, len(name))) if i == len(header) - 1 else None
        justify: Literal["left", "right"] = "right" if name in ("position", "version") else "left"
        grid.add_column(name, justify=justify, no_wrap=True, overflow="ellipsis", width=width)
    for row in cells:
        grid.add_row(*row)
    with console.capture() as captured:
        console.print(grid)
    write([captured.get().encode()])


_colour = "auto"


def colour(choice: str) -> None:
    """Set whether tables are coloured: `always`, `never`, or `auto` (as the terminal, NO_COLOR and TERM say)."""
    global _colour  # noqa: PLW0603 - as much a state of the process as stdout is
    _colour = choice


def _console() -> Console:
    from rich.console import Console

    forced = {"always": True, "never": False}.get(_colour)
    return Console(highlight=False, force_terminal=forced or None, no_color=forced is False or None)


def head_text(head: Head) -> str:
    """A head to be written down elsewhere: `<position>:<hash>`, the hash in hexadecimal."""
    return f"{head[0]}:{head[1].hex()}"


def head(newest: Head) -> None:
    """Print a head."""
    text(f"{head_text(newest)}\n")


# Records: receipts, reports


def receipt(made: Receipt) -> dict[str, object]:
    """The record of what became of one event."""
    return dict(zip(("position", "stream", "version", "id", "duplicate"), made, strict=True))


def records(rows: Iterable[Mapping[str, object]], format_: str) -> None:
    """Print records one by one, each flushed, so that a reader of a pipe has them when they are true."""
    if format_ in ("csv", "tsv", "json"):
        kept = list(rows)
        if format_ == "json":
            write([b"[\n" + b",\n".join(map(_json, kept)) + b"\n]\n" if kept else b"[]\n"])
        elif kept:
            _separated(list(kept[0]), (list(row.values()) for row in kept), format_)
        return
    for row in rows:
        if format_ == "table":
            write([" · ".join(f"{key} {clean(_shown(value))}" for key, value in row.items()).encode() + b"\n"])
        else:
            write([_json(row) + b"\n"])


def verification(report: Mapping[str, object], format_: str) -> None:
    """Print the report of `verify`: one record; on a terminal a line of it, and a table of what was found."""
    if format_ != "table":
        records([report], format_)
        return
    findings = report["findings"]
    assert isinstance(findings, list)
    records([{key: value for key, value in report.items() if key != "findings"}], format_)
    if findings:
        table(list(findings[0]), (list(finding.values()) for finding in findings))


def _shown(value: object) -> str:
    """A plain value for people."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _json(record: Mapping[str, object]) -> bytes:
    """Compact JSON. Flat records of plain values are put together by hand: importing msgspec takes two cold starts."""
    pairs = []
    for key, value in record.items():
        if isinstance(value, bool) or value is None:
            shown = {True: "true", False: "false", None: "null"}[value]
        elif isinstance(value, int):
            shown = str(value)
        elif isinstance(value, str) and value.isprintable():
            shown = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        else:
            import msgspec

            return msgspec.json.encode(record)
        pairs.append(f'"{key}":{shown}')
    return ("{" + ",".join(pairs) + "}").encode()


# Errors


def where(error: EsctlError) -> str:
    """The place in the input that an error names: `, line 3, byte 14`."""
    return "".join(f", {place} {error.details[place]}" for place in ("line", "byte") if place in error.details)


def report(error: EsctlError, format_: str = "text") -> None:
    """Tell an error on stderr: what and where, why, and what to do; or as one JSON object on one line."""
    if format_ == "json":
        record = {
            "error": error.kind,
            "exit": error.exit_code,
            "what": error.what,
            "why": error.why,
            "fix": error.fix,
            **error.details,
        }
        sys.stderr.write(_json(record).decode() + "\n")
    else:
        told = [f"error: {error.what}{where(error)}"]
        told += [f"  {error.why}"] if error.why else []
        told += [f"fix: {error.fix}"] if error.fix else []
        sys.stderr.write("".join(f"{clean(line)}\n" for line in told))
    sys.stderr.flush()


def skipped(error: EsctlError) -> None:
    """Tell that a line of the input was left out, and why."""
    say(f"skipped: {error.what}{where(error)}" + (f" ({error.why})" if error.why else ""))


def silence() -> None:
    """Give up on stdout: nobody reads it, and what is buffered must not raise again at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
