"""`esctl backup`: copy a log while it is in use."""

from __future__ import annotations

from pathlib import Path

import typer

from esctl import copies, output
from esctl.cli.options import opened

EXAMPLES = """Examples:
  esctl backup /mnt/backup/shop-$(date +%F).db
  esctl backup copy.db && esctl verify --log copy.db
  esctl backup copy.db --without-segments   it names the same files: keep them"""


def command(
    ctx: typer.Context,
    file: Path = typer.Argument(metavar="FILE", help="A file that is not there."),
    without_segments: bool = typer.Option(
        False, "--without-segments", help="Leave segments that are files of their own where they are."
    ),
) -> None:
    """Copy the log into a new file, consistently, while others read and write; archived segments come along."""
    with opened(ctx) as log:
        head = copies.backup(log, file, segments=not without_segments)
    record = {"file": str(file), "head": output.head_text(head), "bytes": file.stat().st_size}
    output.records([record], ctx.obj.rendering)
