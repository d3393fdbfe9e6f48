"""`esctl archive restore`: move segments back into the table of hot events."""

from __future__ import annotations

from collections.abc import Sequence

from esctl.archive import listing, moving
from esctl.log import EventLog
from esctl.output import render
from esctl.store.segments import Segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared
    from esctl.cli.options import DryRun

EXAMPLES = """Examples:
  esctl archive restore 1-100 --yes        a segment, as archive list names it"""


def command(
    shared: Shared,
    *,
    names: Annotated[
        Sequence[str], typer.Argument(metavar="SEGMENT …", help="Segments, as `archive list` names them.")
    ],
    dry_run: DryRun = False,
) -> None:
    """Move segments back into the table of hot events."""
    with shared.opened(write=not dry_run, bulk=True) as log:
        chosen = listing.chosen(log, names)
        if dry_run:
            render.listed(map(listing.brief, chosen), shared.rendering)
            return
        number = f"{len(chosen)} segment{'s' * (len(chosen) != 1)}"
        shared.confirm(
            f"this moves {sum(s.events for s in chosen)} events of {number} back into the table of hot events"
        )
        restored = (listing.brief(_restored(log, segment)) for segment in chosen)
        render.acknowledge_each(restored, shared.rendering)


def _restored(log: EventLog, segment: Segment) -> Segment:
    moving.restore(log, segment)
    return segment
