"""`esctl projection run`: bring projections up to the head of the log."""

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
  esctl projection run                     every projection; for cron
  esctl projection run customer_orders --follow"""


def command(
    shared: Shared,
    *,
    names: Annotated[Sequence[str], typer.Argument(metavar="[NAME …]", help="Only these. [all]")] = (),
    follow: Annotated[bool, typer.Option("--follow", help="Continue with new events until Ctrl-C.")] = False,
    reducer: Annotated[
        str | None, typer.Option(metavar="M:F", help="Feed it with a Python function (rows, event).")
    ] = None,
) -> None:
    """Bring projections up to the head of the log.

    A handler that fails stops its projection at that event; the others continue (exit 9).
    """
    if reducer is not None and len(names) != 1:
        raise UsageError(
            "--reducer feeds one projection", why="give the name of that projection", fix="esctl projection run --help"
        )
    with shared.opened(write=True, bulk=True) as log:
        if not (follow or reducer) and (quick := runs.quick(log, names)) is not None:
            render.acknowledge_each(quick, shared.rendering)
            return
        from esctl.cli.commands.projection.running import run  # noqa: PLC0415 - loads the model; a short run does not need it

        while True:
            log.store.changed()
            done = run(log, names, reducer)
            _report(done, shared, following=follow)
            if not follow:
                break
            while not log.store.changed():
                time.sleep(POLL_SECONDS)
    done.end()


def _report(done: runs.Run, shared: Shared, *, following: bool) -> None:
    """Print a receipt for each projection; with --follow only for those that moved."""
    moved = [record for record in done.records if not following or record["read"]]
    render.acknowledge_each(moved, shared.rendering)
    if following:
        for failure in done.failures:
            console.say(f"warning: {failure.what}: {failure.why}")
        return
    for name in done.skipped:
        console.note(f"{name} needs its Python function: esctl projection run --reducer MODULE:FUNCTION {name}")
