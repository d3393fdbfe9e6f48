"""`esctl projection run`: projections, brought to the head of the log."""

from __future__ import annotations

import time
from collections.abc import Sequence

from esctl.errors import UsageError
from esctl.log import POLL_SECONDS
from esctl.output import console, render
from esctl.projections import runs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl projection run                     every projection; what cron runs
  esctl projection run customer_orders --follow"""


def command(
    shared: Shared,
    *,
    names: Annotated[Sequence[str], typer.Argument(metavar="[NAME …]", help="Only these; else all.")] = (),
    follow: Annotated[bool, typer.Option("--follow", help="Go on as events come, until Ctrl-C.")] = False,
    reducer: Annotated[
        str | None, typer.Option(metavar="M:F", help="Keep it by a Python function (rows, event).")
    ] = None,
) -> None:
    """Bring projections to the head of the log.

    One that a handler stops, stops there; the others go on (exit 9).
    """
    if reducer is not None and len(names) != 1:
        raise UsageError("--reducer keeps one projection", why="name it", fix="esctl projection run --help")
    with shared.opened(write=True, bulk=True) as log:
        if not (follow or reducer) and (quick := runs.quick(log, names)) is not None:
            render.acknowledge_each(quick, shared.rendering)
            return
        from esctl.cli.commands.projection.running import run  # noqa: PLC0415 - the model, which a short run does without

        while True:
            log.store.changed()
            done = run(log, names, reducer)
            _tell(done, shared, following=follow)
            if not follow:
                break
            while not log.store.changed():
                time.sleep(POLL_SECONDS)
    done.end()


def _tell(done: runs.Run, shared: Shared, *, following: bool) -> None:
    """Print what became of each projection; those that follow tell only what went on."""
    moved = [record for record in done.records if not following or record["read"]]
    render.acknowledge_each(moved, shared.rendering)
    if following:
        for failure in done.failures:
            console.say(f"warning: {failure.what}: {failure.why}")
    elif not shared.quiet:
        for name in done.skipped:
            console.say(f"note: {name} is kept by a Python function: projection run --reducer MODULE:FUNCTION {name}")
