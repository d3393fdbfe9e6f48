"""`esctl fork`: a log of what this one held up to a point."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import typer

from esctl import copies, marks, output
from esctl.cli.options import opened
from esctl.log import EventLog
from esctl.times import parse_point

EXAMPLES = """Examples:
  esctl fork what-if.db --until '#8577'   what the log held up to a position
  esctl fork what-if.db --until 2026-02-01   up to what was recorded by then
  esctl fork what-if.db --until before-import && esctl append --log what-if.db …"""


def command(
    ctx: typer.Context,
    file: Path = typer.Argument(metavar="FILE", help="The new log; a file that is not there."),
    until: str = typer.Option(..., "--until", metavar="POINT", help="Its end: a position, a mark, a recorded time."),
) -> None:
    """Make a new log of what this one held up to a point, to try what would have been; this one goes on as it is."""
    with opened(ctx) as log:
        point = parse_point(until, upper=True, mark=partial(marks.position_named, log))
        position = marks.position_of(log, point)
        head = copies.fork(log, file, position)
        with EventLog(file, timeout=ctx.obj.timeout) as made:
            kept = marks.marks(made)
        lost = [mark.name for mark in marks.marks(log).values() if kept.get(mark.name) != mark]
    if lost and not ctx.obj.quiet:
        output.say(f"note: set later, and so not in {file}: the marks {', '.join(lost)}")
    output.records([{"log": str(file), "until": position, "head": output.head_text(head)}], ctx.obj.rendering)
