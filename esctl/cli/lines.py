"""A stream of lines into a log: the options of `append` for it, and what is printed of it."""

from __future__ import annotations

import errno
import gc
import os
import stat
import sys
from collections.abc import Sequence
from typing import Literal

from msgspec import Raw

from esctl.append import ingest
from esctl.append.ingest import BATCH_LINES, Options
from esctl.append.writer import Writer
from esctl.cli.declare import Shared
from esctl.cli.single import have_stdin
from esctl.errors import NotFoundError, RefusedError, Stopped
from esctl.events.lines import Defaults
from esctl.output import console, progress, render

__all__ = ["BATCH_LINES", "Options", "defaults", "run", "source"]


def defaults(
    stream: str | None,
    type_: str | None,
    schema: int | None,
    meta: dict[str, str],
    *,
    payload: bool,
    extra: str | None,
    form: Literal["auto", "ndjson", "cloudevents"],
) -> Defaults:
    """What lines lack."""
    fields = {key: Raw(text.encode()) for key, text in meta.items()}
    return Defaults(stream, type_, schema or 0, fields, payload, extra == "meta", form)


def source(arguments: Sequence[str], *, quiet: bool) -> int:
    """The descriptor that lines come from."""
    if arguments and arguments[0] != "-":
        try:
            descriptor = os.open(arguments[0], os.O_RDONLY)
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise IsADirectoryError(errno.EISDIR, "it is a folder")
            return descriptor
        except OSError as error:
            why = f"{error.strerror or error}; a single event takes STREAM TYPE DATA"
            raise NotFoundError(f"cannot read {arguments[0]}", why=why, fix="esctl append --help") from error
    have_stdin()
    if sys.stdin.isatty() and not quiet:
        console.say("reading events from the terminal, one JSON object a line; end with Ctrl-D")
    return sys.stdin.fileno()


def run(writer: Writer, descriptor: int, lacking: Defaults, options: Options, shared: Shared) -> None:
    """Take in all lines; whatever ends it, the receipt says what is stored."""
    gc.set_threshold(200_000)  # millions of tuples come and go, and none is part of a cycle: 5 % of the time
    without_rules: dict[str, object] = {"rules": False} if not writer.asks_rules else {}
    tally = ingest.Tally()
    runs = ingest.ingest(writer, descriptor, lacking, options, tally, console.skipped)
    runs = progress.watched(runs, "appending", None, len)
    try:
        if options.receipts:
            made = (render.receipt(receipt) | without_rules for receipts in runs for receipt in receipts)
            render.records(made, shared.rendering)
        else:
            for _ in runs:
                pass
    except Stopped:
        console.say("interrupted: the batch under way is rolled back")
        raise
    finally:
        if not options.receipts:
            render.acknowledge({**tally.record(), **without_rules}, shared.rendering)
    if tally.invalid:
        lines = "1 line was" if tally.invalid == 1 else f"{tally.invalid} lines were"
        raise RefusedError(f"{lines} skipped", why="what was wrong is reported above; all others are stored")
