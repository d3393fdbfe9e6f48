"""`esctl types`: the event types of a log."""

from __future__ import annotations

import typer

from esctl import output
from esctl.cli.options import opened

EXAMPLES = """Examples:
  esctl types                             name, events, schema versions, first and last position and time, bytes
  esctl types -o csv > types.csv"""

COLUMNS = ("type", "events", "schemas", "first_position", "last_position", "first_time", "last_time", "bytes")


def command(
    ctx: typer.Context, system: bool = typer.Option(False, "--system", help="With the log's own types.")
) -> None:
    """List the event types: how many events, in which schema versions, the first, the last, their size."""
    with opened(ctx) as log:
        found = log.store.types(system=system)
        output.listed(found, ctx.obj.rendering, spare=("first_position", "last_position"), names=COLUMNS)
