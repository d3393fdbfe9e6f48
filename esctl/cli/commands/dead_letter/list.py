"""`esctl dead-letter list`: the events that reactions gave up for now."""

from __future__ import annotations

from esctl.output import render
from esctl.reactions import dead_letters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl dead-letter list                   of all reactions
  esctl dead-letter list mail -o ndjson | jq -r .stream"""

LISTED = ("reaction", "stream", "position", "type", "state", "attempts", "status", "error", "since")


def command(
    shared: Shared,
    *,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only of this reaction.")] = None,
) -> None:
    """List the dead letters: event, attempts, error.

    Each is one event, behind which the later events of its stream wait. `state`: parked; retry or skip, once that was
    asked for; stopped, if the reaction waits there.
    """
    with shared.opened() as log:
        found = dead_letters.listed(log, name)
    render.listed(found, shared.rendering, spare=("since", "status", "attempts", "type"), names=LISTED)
