"""`esctl types`: the event types of a log."""

from __future__ import annotations

from esctl.output import render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl types                              events, schema versions, first, last, bytes
  esctl types -o csv > types.csv"""

COLUMNS = ("type", "events", "schemas", "first_position", "last_position", "first_time", "last_time", "bytes")


def command(
    shared: Shared, *, system: Annotated[bool, typer.Option("--system", help="Include the log's own types.")] = False
) -> None:
    """List the event types: events, schemas, first, last, bytes."""
    with shared.opened() as log:
        found = log.store.facts().types(system=system)
        render.listed(found, shared.rendering, spare=("first_position", "last_position"), names=COLUMNS)
