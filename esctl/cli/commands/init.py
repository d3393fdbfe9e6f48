"""`esctl init`: make an empty log."""

from __future__ import annotations

from pathlib import Path

from esctl.cli import locate
from esctl.errors import UsageError
from esctl.log import EventLog
from esctl.output import console, render
from esctl.store import migrations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl init --log books.db                makes books.db; without --log esctl.db
  esctl init --if-missing                  keeps a log that is there
  esctl init --log new.db --model shop.toml   its model holds from the first event"""


def command(
    shared: Shared,
    *,
    if_missing: Annotated[bool, typer.Option("--if-missing", help="A log that is there already is fine.")] = False,
    model: Annotated[str | None, typer.Option("--model", metavar="FILE", help="Apply this model to the log.")] = None,
) -> None:
    """Make an empty log."""
    path, draft = locate.place(shared.log), None
    if model is not None:
        from esctl.evolution import plan  # noqa: PLC0415 - only a model needs it

        draft = plan.sound(Path(model))  # a wrong one leaves no log behind
    created = True
    try:
        migrations.create(Path(path))
    except UsageError:
        if not if_missing:
            raise
        created = False
    with EventLog(path, write=created and draft is not None, timeout=shared.timeout) as log:
        log_id = log.log_id
        if created and draft is not None:
            plan.apply(log, draft, 0)
    if draft is not None and not created and not shared.quiet:
        console.say(f"{path} is there already, and its model stays: esctl model apply {model}")
    render.acknowledge({"log": path, "log_id": log_id, "created": created}, shared.rendering)
