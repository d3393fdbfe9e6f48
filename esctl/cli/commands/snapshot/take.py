"""`esctl snapshot take`: save states."""

from __future__ import annotations

from collections.abc import Sequence

from esctl.errors import UsageError
from esctl.output import render
from esctl.states import snapshot_care

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared
    from esctl.cli.options import AggregateName

EXAMPLES = """Examples:
  esctl snapshot take order-1012           its state as it is now
  esctl snapshot take --due                what the model's policies ask for; for cron"""

COLUMNS = ("stream", "aggregate", "version", "position", "time", "bytes", "taken", "problem")


def command(
    shared: Shared,
    *,
    streams: Annotated[Sequence[str], typer.Argument(metavar="[STREAM …]", help="The streams.")] = (),
    all_: Annotated[bool, typer.Option("--all", help="Every stream of every aggregate, or of --aggregate.")] = False,
    due: Annotated[bool, typer.Option("--due", help="Those that the model's snapshot policies ask for.")] = False,
    aggregate: AggregateName = None,
) -> None:
    """Save the states of streams as they are now."""
    if bool(streams) + all_ + due != 1:
        raise UsageError("esctl snapshot take takes streams, --all or --due", fix="esctl snapshot take --help")
    with shared.opened(write=True) as log:
        taken = (
            (snapshot_care.take(log, stream, aggregate) for stream in streams)
            if streams
            else snapshot_care.take_many(log, aggregate, due=due)
        )
        records = (snapshot_care.record(snapshot) for snapshot in taken if snapshot is not None)
        render.acknowledge_each(records, shared.rendering, COLUMNS, spare=("position", "aggregate"))
