"""`esctl streams`: the streams of a log."""

from __future__ import annotations

from esctl.events.query import MAX_POSITION
from esctl.output import render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared
    from esctl.cli.options import System

EXAMPLES = """Examples:
  esctl streams                            events, first, last, bytes of payload
  esctl streams 'order-*'                  streams whose names match a GLOB pattern
  esctl streams --limit 20                 the first 20 by name
  esctl streams -o ndjson | jq -r .stream"""

COLUMNS = ("stream", "events", "first_position", "last_position", "first_time", "last_time", "bytes")


def command(
    shared: Shared,
    *,
    pattern: Annotated[str | None, typer.Argument(metavar="[PATTERN]", help="A GLOB pattern: * ? [abc].")] = None,
    limit: Annotated[
        int | None, typer.Option(min=0, max=MAX_POSITION, metavar="N", help="The first N streams by name.")
    ] = None,
    system: System = False,
) -> None:
    """List the streams: number of events, first, last, bytes."""
    with shared.opened() as log:
        found = log.store.facts().streams(pattern, system=system, limit=limit)
        render.listed(found, shared.rendering, spare=("first_position", "last_position"), names=COLUMNS)
