"""`esctl mark`: name a point in the log."""

from __future__ import annotations

from esctl.errors import UsageError
from esctl.output import console, render
from esctl.points import marks
from esctl.points.located import located

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared
    from esctl.cli.options import By

EXAMPLES = """Examples:
  esctl mark before-import                 the newest event
  esctl mark quarter-end 2026-03-31        the last event recorded by then
  esctl mark march 2026-03 --by time       in an imported history: the last event that happened by then
  esctl mark audited '#400'                a position
  esctl replay --since before-import       every option that takes a POINT takes a mark"""


def command(
    shared: Shared,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of the mark.")],
    point: Annotated[str | None, typer.Argument(metavar="[POINT]", help="The point. [the newest event]")] = None,
    by: By = None,
) -> None:
    """Name a point in the log; a mark that exists is moved."""
    if by and point is None:
        raise UsageError("--by needs a POINT that is a time", fix="esctl mark --help")
    note = ""
    with shared.opened(write=True) as log:
        position = log.head().position
        if point is not None:
            position, note, _ = located(log, point, by=by)
        mark = marks.set_mark(log, name, position)
    if note:
        console.note(note)
    render.acknowledge(mark.record(), shared.rendering)
