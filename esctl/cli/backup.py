"""`esctl backup`: copy a log while it is in use."""

from __future__ import annotations

from pathlib import Path

import typer

from esctl import output
from esctl.cli.options import opened
from esctl.log import EventLog

EXAMPLES = """Examples:
  esctl backup /mnt/backup/shop-$(date +%F).db
  esctl backup copy.db && esctl verify --log copy.db"""


def command(ctx: typer.Context, file: Path = typer.Argument(metavar="FILE", help="A file that is not there.")) -> None:
    """Copy the log into a new file, consistently, while others read and write."""
    with opened(ctx) as log:
        log.backup(file)
    with EventLog(file, timeout=ctx.obj.timeout) as copy:
        head = copy.head()
    record = {"file": str(file), "head": output.head_text(head), "bytes": file.stat().st_size}
    output.records([record], ctx.obj.rendering)
