"""`esctl mark`: give a point in the log a name."""

from __future__ import annotations

from functools import partial

import msgspec
import typer

from esctl import marks, output
from esctl.cli.options import opened
from esctl.times import Point, parse_point

EXAMPLES = """Examples:
  esctl mark before-import                the log as it is now
  esctl mark quarter-end 2026-03-31       as it was recorded by then
  esctl mark audited '#8577'              a position
  esctl replay --since before-import      marks are points wherever a point is asked for"""


def command(
    ctx: typer.Context,
    name: str = typer.Argument(metavar="NAME", help="What to call it."),
    point: str | None = typer.Argument(None, metavar="[POINT]", help="Where; without it the newest event."),
) -> None:
    """Give a point in the log a name; a mark of that name moves."""
    with opened(ctx, write=True) as log:
        where = (
            Point(position=log.head()[0])
            if point is None
            else parse_point(point, upper=True, mark=partial(marks.position_named, log))
        )
        made = marks.set_mark(log, name, where)
    output.records([msgspec.structs.asdict(made)], ctx.obj.rendering)
