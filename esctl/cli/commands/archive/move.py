"""`esctl archive move`: move segments to another place."""

from __future__ import annotations

from collections.abc import Sequence

from esctl.archive import folders, listing, moving
from esctl.output import render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl archive move 1-100 --to segments
  esctl archive move 1-100 --to log        into the log's own file"""

INTO_LOG = "log"


def command(
    shared: Shared,
    *,
    names: Annotated[
        Sequence[str], typer.Argument(metavar="SEGMENT …", help="Segments, as `archive list` names them.")
    ],
    to: Annotated[str, typer.Option("--to", metavar="DIR|log", help="A folder, or `log` for the log's own file.")],
) -> None:
    """Move segments between the log's file and a folder.

    Their bytes and names stay the same.
    """
    folder = None if to == INTO_LOG else folders.check_folder(to)
    with shared.opened(write=True, bulk=True) as log:
        moved = (listing.brief(moving.move(log, segment, folder)) for segment in listing.chosen(log, names))
        render.acknowledge_each(moved, shared.rendering)
