"""`esctl upcast rewrite`: write a new log in the newest schemas."""

from __future__ import annotations

import os
from pathlib import Path

from esctl.errors import UsageError
from esctl.evolution import rewriting
from esctl.output import console, progress, render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared
    from esctl.cli.options import DryRun

EXAMPLES = """Examples:
  esctl upcast rewrite --to new.db --dry-run
  esctl upcast rewrite --to new.db --yes"""


def command(
    shared: Shared,
    *,
    to: Annotated[str, typer.Option("--to", metavar="FILE", help="The new log; it must not exist.")],
    dry_run: DryRun = False,
) -> None:
    """Write a new log in which every event has its newest schema.

    This log does not change. Ids, times and order stay the same. So do positions, except after a split event, whose
    parts take additional positions.
    """
    if os.path.lexists(to):
        raise UsageError(f"{to} exists already", why="name a file that does not exist")
    with shared.opened() as log:
        planned = rewriting.plan(log)
        if dry_run:
            render.one({"to": to, **planned}, shared.rendering)
            return
        shared.confirm(f"this writes {to}: {', '.join(f'{count} {what}' for what, count in planned.items())}")
        report = rewriting.rewrite(
            log, Path(to), lambda events, total: progress.watched(events, "rewriting", total, lambda _: 1)
        )
    if "reactions" in report:
        console.note(f"reactions in {to} are paused, since those of this log may go on: esctl reaction resume --help")
    render.acknowledge(report, shared.rendering)
