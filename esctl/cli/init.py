"""`esctl init`: make an empty log."""

from __future__ import annotations

import typer

from esctl import output
from esctl.cli import locate
from esctl.errors import UsageError

EXAMPLES = """Examples:
  esctl init                              makes esctl.db here
  esctl init --log /var/lib/shop.db       makes it there
  esctl init --if-missing                 keeps a log that is there"""


def command(
    ctx: typer.Context,
    if_missing: bool = typer.Option(False, "--if-missing", help="A log that is there already is fine."),
) -> None:
    """Make an empty log."""
    from esctl.log import EventLog  # noqa: PLC0415
    from esctl.stores import migrations  # noqa: PLC0415 - sqlite-utils, for the two commands that need it

    path = locate.place(ctx.obj.log)
    created = True
    try:
        log_id = migrations.create(path)
    except UsageError:
        if not if_missing:
            raise
        with EventLog(path, timeout=ctx.obj.timeout) as log:
            log_id, created = log.log_id, False
    output.records([{"log": str(path), "log_id": log_id, "created": created}], ctx.obj.rendering)
