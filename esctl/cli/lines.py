"""Appends lines from a file or pipe: the options of `append` for lines, and their receipts."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Sequence
from typing import Literal

from msgspec import Raw

from esctl.append import ingest
from esctl.append.ingest import BATCH_LINES, Options
from esctl.append.inputs import Inputs
from esctl.append.writer import Writer
from esctl.cli.declare import Shared
from esctl.cli.single import require_stdin
from esctl.errors import RefusedError, Stopped, UnavailableError
from esctl.events.event import Receipt
from esctl.events.lines import Defaults
from esctl.output import console, progress, render

__all__ = ["BATCH_LINES", "Options", "defaults", "inputs", "run"]


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


def inputs(arguments: Sequence[str], *, quiet: bool) -> Inputs:
    """The files of the lines, or stdin."""
    if arguments and "-" not in arguments:
        return Inputs(arguments)
    require_stdin()
    if sys.stdin.isatty() and not quiet:
        console.say("reading events from the terminal, one JSON object per line; end with Ctrl-D")
    stdin = sys.stdin.fileno()
    return Inputs([stdin if argument == "-" else argument for argument in arguments or ["-"]])


def run(writer: Writer, inputs: Inputs, defaults: Defaults, options: Options, shared: Shared) -> None:
    """Append all lines. However the run ends, the receipt says what is stored."""
    gc.set_threshold(200_000)  # saves 5 % of the time: there are millions of tuples, none in a cycle
    without_rules: dict[str, object] = {"rules": False} if not writer.asks_rules else {}
    tally = ingest.Tally()
    runs = ingest.ingest(writer, inputs, defaults, options, tally, console.skipped)
    runs = _with_notes(progress.watched(runs, "appending", None, len), writer)
    try:
        if options.receipts:
            printed = (render.receipt(receipt) | without_rules for receipts in runs for receipt in receipts)
            render.records(printed, shared.rendering)
        else:
            for _ in runs:
                pass
    except UnavailableError as error:
        if error.code == console.STDOUT and tally.last is not None:
            error.why += f"; all events up to position {tally.last} are stored: do not append them again"
            error.details.update(tally.record())
        raise
    except Stopped:
        console.say("interrupted: the unfinished batch was rolled back")
        raise
    finally:
        if not options.receipts:
            conflicts = {"conflicts": tally.conflicts} if options.skip_conflicts else {}
            render.acknowledge({**tally.record(), **conflicts, **without_rules}, shared.rendering)
    if tally.system and not shared.quiet:
        events = "1 event" if tally.system == 1 else f"{tally.system} events"
        console.say(f"passed over {events} in streams that begin with $: the log has its own")
    if tally.invalid:
        lines = "1 line was" if tally.invalid == 1 else f"{tally.invalid} lines were"
        raise RefusedError(f"{lines} skipped", why="the reasons are above; all other lines are stored")


def _with_notes(runs: Iterator[list[Receipt]], writer: Writer) -> Iterator[list[Receipt]]:
    """The receipts; the notes on each transaction are printed after it."""
    for receipts in runs:
        console.notes(writer.log.notes)
        yield receipts
