"""`esctl init`: make an empty log."""

from __future__ import annotations

from pathlib import Path

import typer

from esctl import output, plan
from esctl.cli import locate
from esctl.errors import UsageError

EXAMPLES = """Examples:
  esctl init                              makes esctl.db here
  esctl init --log /var/lib/shop.db       makes it there
  esctl init --if-missing                 keeps a log that is there
  esctl init --model shop.toml            with a model that holds from the first event on"""


def command(
    ctx: typer.Context,
    if_missing: bool = typer.Option(False, "--if-missing", help="A log that is there already is fine."),
    model: Path | None = typer.Option(None, "--model", metavar="FILE", help="Apply this model to the new log."),
) -> None:
    """Make an empty log."""
    from esctl.log import EventLog  # noqa: PLC0415
    from esctl.stores import migrations  # noqa: PLC0415 - sqlite-utils, for the two commands that need it

    path = locate.place(ctx.obj.log)
    draft = None if model is None else plan.sound(model)  # a wrong one leaves no log behind
    created = True
    try:
        migrations.create(path)
    except UsageError:
        if not if_missing:
            raise
        created = False
    with EventLog(path, write=created and draft is not None, timeout=ctx.obj.timeout) as log:
        log_id = log.log_id
        if created and draft is not None:
            plan.apply(log, draft, 0)
    if draft is not None and not created and not ctx.obj.quiet:
        output.say(f"{path} is there already, and its model stays: esctl model apply {model}")
    output.records([{"log": str(path), "log_id": log_id, "created": created}], ctx.obj.rendering)
