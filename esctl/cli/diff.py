"""`esctl diff`: what changed in a stream's state between two points."""

from __future__ import annotations

import typer

from esctl import aggregates, output
from esctl.cli.options import opened
from esctl.errors import DifferenceError
from esctl.points import query_of
from esctl.text import Json

EXAMPLES = """Examples:
  esctl diff order-1012 --from v1         from version 1 to now; exit 10 if anything changed
  esctl diff order-1012 --from 2026-01-31 --to 2026-02-28
  esctl diff order-1012 --from v2 -o ndjson | jq -r .path"""

COLUMNS = ("path", "before", "after", "position", "type")


def command(
    ctx: typer.Context,
    stream: str = typer.Argument(metavar="STREAM", help="The stream."),
    from_: str = typer.Option(..., "--from", metavar="POINT", help="The earlier state."),
    to: str | None = typer.Option(None, "--to", metavar="POINT", help="The later state. [now]"),
    aggregate: str | None = typer.Option(None, metavar="NAME", help="Fold as this aggregate. [the stream's own]"),
) -> None:
    """Print what changed in the state, path by path, and the event that made each change; exit 10 if anything did."""
    with opened(ctx) as log:
        since, until = query_of(log, stream, until=from_), query_of(log, stream, until=to)
        changes = aggregates.diff(log, since, until, aggregate)
    records = (change._asdict() | {"before": _json(change.before), "after": _json(change.after)} for change in changes)
    output.listed(records, ctx.obj.rendering, names=COLUMNS)
    if changes:
        raise typer.Exit(DifferenceError.exit_code)  # a difference is an answer; there is nothing to tell beside it


def _json(value: str | None) -> Json | None:
    return None if value is None else Json(value)
