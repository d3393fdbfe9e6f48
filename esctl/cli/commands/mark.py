"""`esctl mark`: give a point in the log a name."""

from __future__ import annotations

from esctl.output import render
from esctl.points import marks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl mark before-import                 the log as it is now
  esctl mark quarter-end 2026-03-31        as it was recorded by then
  esctl mark audited '#400'                a position
  esctl replay --since before-import       a mark stands wherever a point is asked for"""


def command(
    shared: Shared,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it.")],
    point: Annotated[str | None, typer.Argument(metavar="[POINT]", help="Where; without it the newest event.")] = None,
) -> None:
    """Give a point in the log a name; a mark of that name moves."""
    with shared.opened(write=True) as log:
        position = log.head().position if point is None else marks.position_at(log, point)
        made = marks.set_mark(log, name, position)
    render.acknowledge(made.record(), shared.rendering)
