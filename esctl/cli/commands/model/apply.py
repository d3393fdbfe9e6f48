"""`esctl model apply`: put a model into the log."""

from __future__ import annotations

from pathlib import Path

from esctl.cli.commands.model.plan import say_doubts, show
from esctl.evolution import plan
from esctl.output import console, render
from esctl.projections import status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared
    from esctl.cli.options import DryRun

EXAMPLES = """Examples:
  esctl model apply shop.toml              in force from then on
  esctl model apply shop.toml --dry-run    print the plan only"""


def command(
    shared: Shared,
    *,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The model file (TOML).")],
    dry_run: DryRun = False,
) -> None:
    """Apply a model to the log; it is in force from then on.

    The log stores the model, and keeps every earlier one.
    """
    draft = plan.sound(Path(file))
    with shared.opened(write=True) as log:
        planned = plan.plan(log, draft)
        if dry_run:
            show(planned, shared)
            return
        if not shared.quiet:
            _warn(planned)
        say_doubts(planned, shared)
        if planned.unreadable or planned.dropped:
            shared.confirm(_dangers(planned))
        receipt = plan.apply(log, draft, planned.position)
        current = log.definitions.applied
        if receipt is not None and status.waiting(log):
            console.note("projections have stored events to process: esctl projection run")
    record: dict[str, object] = {
        "applied": receipt is not None,
        "changes": len(planned.changes),
        "number": current.number if current else None,
        "position": current.position if current else None,
        "fingerprint": current.fingerprint if current else None,
    }
    render.acknowledge(record, shared.rendering)


def _warn(planned: plan.Plan) -> None:
    """Warn of stored events that do not fit the new model."""
    for change in planned.changes:
        if change.misfits:
            events = f"{change.misfits} stored event{'s do' if change.misfits > 1 else ' does'}"
            which = f": {change.detail}" if change.kind == "strict model" else ""
            console.say(f"warning: {events} not fit the {change.kind} of {change.name}{which}")


def _dangers(planned: plan.Plan) -> str:
    count = planned.unreadable
    dangers = [f"this makes {count} stored event{'s' * (count > 1)} unreadable"] if count else []
    return "; ".join(dangers + [f"this drops the projection {name}" for name in planned.dropped])
