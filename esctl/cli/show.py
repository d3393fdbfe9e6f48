"""`esctl show`: one event, whole, and what it is connected with."""

from __future__ import annotations

import typer

from esctl import output, trace
from esctl.cli.options import opened
from esctl.events import FIELDS
from esctl.query import Query

EXAMPLES = """Examples:
  esctl show 120                          by position
  esctl show 019be6af-9d7a-7fa2-a9b2-85f1db57ca84   by id
  esctl show 120 --trace                  what caused it and what it caused, and all that shares its correlation id"""


def command(
    ctx: typer.Context,
    event: str = typer.Argument(metavar="EVENT", help="A position or an id."),
    traced: bool = typer.Option(False, "--trace", help="The tree of causation, and all of the same correlation id."),
) -> None:
    """Show one event, whole."""
    format_ = ctx.obj.rendering
    with opened(ctx) as log:
        found, salt, hash_ = log.event(event)
        if not traced:
            if format_ in ("table", "csv", "tsv"):
                record = dict(zip(FIELDS, found, strict=True)) | {"salt": salt.hex(), "hash": hash_.hex()}
                output.one(record, format_)
            else:
                query = Query(since=found[0], until=found[0], system=True)
                output.lines(log.lines(query, "data" if format_ == "raw" else "hash"), format_)
            return
        tree = trace.trace(log, found)
        if format_ == "table":
            output.traced(((t.depth, t.event) for t in tree), found[0])
        else:
            names = ("depth", *FIELDS[:8])
            output.listed((dict(zip(names, (t.depth, *t.event[:8]), strict=True)) for t in tree), format_)
