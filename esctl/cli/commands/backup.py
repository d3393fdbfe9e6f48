"""`esctl backup`: copy a log while it is in use."""

from __future__ import annotations

import os
from pathlib import Path

from esctl.output import render
from esctl.upkeep import copies

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl backup "shop-$(date +%F).db"
  esctl backup copy.db && esctl verify --log copy.db
  esctl backup thin.db --without-segments  names the same segment files: keep them"""


def command(
    shared: Shared,
    *,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file that is not there.")],
    without_segments: Annotated[
        bool, typer.Option("--without-segments", help="Leave segments that are files of their own where they are.")
    ] = False,
) -> None:
    """Copy the log into a new file while others read and write.

    Archived segments come along.
    """
    with shared.opened() as log:
        head = copies.backup(log, Path(file), segments=not without_segments)
    record = {"file": file, "head": str(head), "bytes": os.stat(file).st_size}
    render.acknowledge(record, shared.rendering)
