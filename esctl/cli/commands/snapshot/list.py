"""`esctl snapshot list`: the snapshots of a log."""

from __future__ import annotations

from esctl.output import render
from esctl.states import snapshot_care

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl snapshot list
  esctl snapshot list order-1012           of one stream"""

COLUMNS = ("stream", "aggregate", "version", "position", "time", "bytes", "taken", "problem")


def command(
    shared: Shared,
    *,
    stream: Annotated[str | None, typer.Argument(metavar="[STREAM]", help="Only this stream. [all]")] = None,
) -> None:
    """List the snapshots, newest first in each stream.

    The field `problem` says why a snapshot is not used.
    """
    with shared.opened() as log:
        found = snapshot_care.listed(log, stream)
        render.listed(found, shared.rendering, spare=("position", "taken", "bytes"), names=COLUMNS)
