"""`esctl snapshot prune`: remove old and unusable snapshots."""

from __future__ import annotations

from collections.abc import Sequence

from esctl.output import render
from esctl.states import snapshot_care

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl snapshot prune --keep 1            all but the newest of each stream"""


def command(
    shared: Shared,
    *,
    streams: Annotated[Sequence[str], typer.Argument(metavar="[STREAM …]", help="Only these streams. [all]")] = (),
    keep: Annotated[int, typer.Option(min=0, metavar="N", help="Keep the newest N of each stream.")] = 1,
) -> None:
    """Remove all but the newest snapshots of each stream.

    Stale and damaged snapshots are removed too.
    """
    with shared.opened(write=True) as log:
        render.acknowledge({"pruned": snapshot_care.prune(log, streams or None, keep)}, shared.rendering)
