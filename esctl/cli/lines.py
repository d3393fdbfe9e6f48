"""Appends lines from a file or pipe: the options of `append` for lines, and their receipts."""

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
from esctl.cli.single import require_stdin
from esctl.errors import NotFoundError, RefusedError, Stopped
from esctl.events.lines import Defaults
from esctl.output import console, progress, render

__all__ = ["BATCH_LINES", "Options", "defaults", "run", "source"]


def defaults(
    stream: str | None,
    type_: str | None,
    schema: int,
    meta: dict[str, str],
    *,
    payload: bool,
    extra: str | None,
    form: Literal["auto", "ndjson", "cloudevents"],
) -> Defaults:
    """The fields that lines get if they lack them."""
    fields = {key: Raw(text.encode()) for key, text in meta.items()}
    return Defaults(stream, type_, schema, fields, payload, extra == "meta", form)


def source(arguments: Sequence[str], *, quiet: bool) -> int:
    """Open the file of the lines, or stdin; return its descriptor."""
    if arguments and arguments[0] != "-":
        try:
            descriptor = os.open(arguments[0], os.O_RDONLY)
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise IsADirectoryError(errno.EISDIR, "it is a folder")
            return descriptor
        except OSError as error:
            why = f"{error.strerror or error}; to append one event, give STREAM TYPE DATA"
            raise NotFoundError(f"cannot read {arguments[0]}", why=why, fix="esctl append --help") from error
    require_stdin()
    if sys.stdin.isatty() and not quiet:
        console.say("reading events from the terminal, one JSON object per line; end with Ctrl-D")
    return sys.stdin.fileno()


def run(writer: Writer, descriptor: int, defaults: Defaults, options: Options, shared: Shared) -> None:
    """Append all lines. However the run ends, the receipt says what is stored."""
    gc.set_threshold(200_000)  # saves 5 % of the time: there are millions of tuples, none in a cycle
    without_rules: dict[str, object] = {"rules": False} if not writer.asks_rules else {}
    tally = ingest.Tally()
    runs = ingest.ingest(writer, descriptor, defaults, options, tally, console.skipped)
    runs = progress.watched(runs, "appending", None, len)
    try:
        if options.receipts:
            printed = (render.receipt(receipt) | without_rules for receipts in runs for receipt in receipts)
            render.records(printed, shared.rendering)
        else:
            for _ in runs:
                pass
    except Stopped:
        console.say("interrupted: the unfinished batch was rolled back")
        raise
    finally:
        if not options.receipts:
            conflicts = {"conflicts": tally.conflicts} if options.skip_conflicts else {}
            render.acknowledge({**tally.record(), **conflicts, **without_rules}, shared.rendering)
    if tally.invalid:
        lines = "1 line was" if tally.invalid == 1 else f"{tally.invalid} lines were"
        raise RefusedError(f"{lines} skipped", why="the reasons are above; all other lines are stored")
