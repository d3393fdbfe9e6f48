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
  esctl backup thin.db --without-segments  refers to the same segment files: keep them"""


def command(
    shared: Shared,
    *,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A new file.")],
    without_segments: Annotated[
        bool, typer.Option("--without-segments", help="Do not copy segment files; the backup refers to them.")
    ] = False,
) -> None:
    """Copy the log to a new file while others read and write.

    Archived segments are copied too.
    """
    with shared.opened() as log:
        head = copies.backup(log, Path(file), segments=not without_segments)
    record = {"file": file, "head": str(head), "bytes": os.stat(file).st_size}
    render.acknowledge(record, shared.rendering)
