"""`esctl streams`: the streams of a log."""

from __future__ import annotations

import typer

from esctl import output
from esctl.cli.options import opened

EXAMPLES = """Examples:
  esctl streams                           name, events, first and last position and time, bytes of payload
  esctl streams 'order-*'                 those whose names match (GLOB)
  esctl streams -o ndjson | jq -r .stream"""

COLUMNS = ("stream", "events", "first_position", "last_position", "first_time", "last_time", "bytes")


def command(
    ctx: typer.Context,
    pattern: str | None = typer.Argument(None, metavar="[PATTERN]", help="A GLOB pattern: * ? [abc]."),
    system: bool = typer.Option(False, "--system", help="With the log's own streams."),
) -> None:
    """List the streams: how many events, the first, the last, their size."""
    with opened(ctx) as log:
        found = log.store.streams(pattern, system=system)
        output.listed(found, ctx.obj.rendering, spare=("first_position", "last_position"), names=COLUMNS)
