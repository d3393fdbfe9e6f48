"""`esctl init`: create an empty log."""

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
  esctl init --log books.db                creates books.db; without --log, esctl.db
  esctl init --if-missing                  no error if the log exists
  esctl init --log new.db --model shop.toml   with a model from the start"""


def command(
    shared: Shared,
    *,
    if_missing: Annotated[bool, typer.Option("--if-missing", help="Do nothing if the log exists.")] = False,
    model: Annotated[str | None, typer.Option("--model", metavar="FILE", help="Apply this model to the log.")] = None,
) -> None:
    """Create an empty log."""
    path, fill = locate.place(shared.log), None
    if model is not None:
        from esctl.evolution import plan  # noqa: PLC0415 - only --model needs it

        draft = plan.sound(Path(model))  # checked first: a wrong model creates no log

        def fill(new: Path) -> bytes:
            with EventLog(new, write=True) as log:
                plan.apply(log, draft, 0)
                return log.head().hash

    created = True
    try:
        migrations.create(Path(path), fill)
    except UsageError:
        if not if_missing:
            raise
        created = False
    with EventLog(path, timeout=shared.timeout) as log:
        log_id = log.log_id
    if fill is not None and not created:
        console.note(f"{path} exists already, and its model was not changed: esctl model apply {model}")
    render.acknowledge({"log": path, "log_id": log_id, "created": created}, shared.rendering)
