"""`esctl fork`: a log of what this one held up to a point."""

from __future__ import annotations

from pathlib import Path

from esctl.log import EventLog
from esctl.output import console, render
from esctl.points import marks
from esctl.upkeep import copies

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl fork what-if.db --until '#300'     what the log held up to a position
  esctl fork february.db --until 2026-02-01   up to what was recorded by then
  esctl fork before.db --until before-import   up to a mark"""


def command(
    shared: Shared,
    *,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The new log; a file that is not there.")],
    until: Annotated[
        str, typer.Option("--until", metavar="POINT", help="Its end: a position, a mark, a recorded time.")
    ],
) -> None:
    """Make a new log of what this one held up to a point.

    To try what would have been; this log goes on as it is.
    """
    with shared.opened() as log:
        position = marks.position_at(log, until)
        head = copies.fork(log, Path(file), position)
        with EventLog(file, timeout=shared.timeout) as made:
            kept = marks.marks(made)
        lost = [mark.name for mark in marks.marks(log).values() if kept.get(mark.name) != mark]
    if lost and not shared.quiet:
        console.say(f"note: set later, and so not in {file}: the marks {', '.join(lost)}")
    render.acknowledge({"log": file, "until": position, "head": str(head)}, shared.rendering)
