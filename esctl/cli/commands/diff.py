"""`esctl diff`: what changed in a stream's state between two points."""

from __future__ import annotations

from esctl.errors import DifferenceError
from esctl.events.json import Json
from esctl.output import console, render
from esctl.points.points import query_of
from esctl.states import differences, left_out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared
    from esctl.cli.options import AggregateName

EXAMPLES = """Examples:
  esctl diff order-1012 --from v1          from version 1 to now; exit 10 if anything changed
  esctl diff order-1012 --from 2026-01-31 --to 2026-02-28
  esctl diff order-1012 --from v2 -o ndjson | jq -r .path"""

COLUMNS = ("path", "change", "before", "after", "position", "type")


def command(
    shared: Shared,
    *,
    stream: Annotated[str, typer.Argument(metavar="STREAM", help="The stream.")],
    from_: Annotated[str, typer.Option("--from", metavar="POINT", help="The earlier state.")],
    to: Annotated[str | None, typer.Option("--to", metavar="POINT", help="The later state. [now]")] = None,
    aggregate: AggregateName = None,
) -> int:
    """Print what changed in a stream's state between two points.

    One line per path that differs, with the event that changed it last; exit 10 if anything changed. `change` says
    whether the path was added, is gone, or has changed: a missing value and null are both printed as null.
    """
    with shared.opened() as log:
        since, until = query_of(log, stream, until=from_), query_of(log, stream, until=to)
        for note in dict.fromkeys(note for query in (since, until) for note in left_out.notes(log, query)):
            console.note(note)
        changes = differences.diff(log, since, until, aggregate)
    records = (
        dict(zip(COLUMNS, (c.path, c.change, _json(c.before), _json(c.after), c.position, c.type), strict=True))
        for c in changes
    )
    render.listed(records, shared.rendering, names=COLUMNS)
    return DifferenceError.exit_code if changes else 0  # a difference is an answer, not an error


def _json(value: str | None) -> Json | None:
    return None if value is None else Json(value)
