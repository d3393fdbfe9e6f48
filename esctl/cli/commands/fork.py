"""`esctl fork`: copy a log up to a point."""

from __future__ import annotations

from pathlib import Path

from esctl.log import EventLog
from esctl.output import console, render
from esctl.points import marks
from esctl.points.located import located
from esctl.upkeep import copies

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared
    from esctl.cli.options import By

EXAMPLES = """Examples:
  esctl fork what-if.db --until '#300'     up to a position
  esctl fork february.db --until 2026-02-01   up to the last event recorded by then
  esctl fork march.db --until 2026-03 --by time   up to the last event that happened by then
  esctl fork before.db --until before-import   up to a mark"""


def command(
    shared: Shared,
    *,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The new log; it must not exist.")],
    until: Annotated[
        str,
        typer.Option("--until", metavar="POINT", help="The last event to copy: a position, a mark, a recorded time."),
    ],
    by: By = None,
) -> None:
    """Copy the log up to a point into a new log.

    For what-if experiments; this log does not change.
    """
    with shared.opened() as log:
        position, note, _ = located(log, until, by=by)
        head = copies.fork(log, Path(file), position)
        with EventLog(file, timeout=shared.timeout) as new_log:
            copied = marks.marks(new_log)
        reactions = {one.name for one in log.store.reactions().all()}
        lost = [mark.name for mark in marks.marks(log).values() if copied.get(mark.name) != mark]
    if note:
        console.note(note)
    if lost:
        console.note(f"marks that were set later are not in {file}: {', '.join(lost)}")
    if reactions:
        console.note(f"reactions are not in {file}, and begin anew there: {', '.join(sorted(reactions))}")
    render.acknowledge({"log": file, "until": position, "head": str(head)}, shared.rendering)
