"""`esctl mark`: name a point in the log."""

from __future__ import annotations

from esctl.output import render
from esctl.points import marks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl mark before-import                 the newest event
  esctl mark quarter-end 2026-03-31        the last event recorded by then
  esctl mark audited '#400'                a position
  esctl replay --since before-import       every option that takes a POINT takes a mark"""


def command(
    shared: Shared,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of the mark.")],
    point: Annotated[str | None, typer.Argument(metavar="[POINT]", help="The point. [the newest event]")] = None,
) -> None:
    """Name a point in the log; a mark that exists is moved."""
    with shared.opened(write=True) as log:
        position = log.head().position if point is None else marks.position_at(log, point)
        mark = marks.set_mark(log, name, position)
    render.acknowledge(mark.record(), shared.rendering)
