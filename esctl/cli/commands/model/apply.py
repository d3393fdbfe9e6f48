"""`esctl model apply`: a model into the log."""

from __future__ import annotations

from pathlib import Path

from esctl.cli.commands.model.plan import show
from esctl.evolution import plan
from esctl.output import console, render
from esctl.projections import status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl model apply shop.toml              what it says holds from then on
  esctl model apply shop.toml --dry-run    only the plan"""


def command(
    shared: Shared,
    *,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The model, TOML.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the plan.")] = False,
) -> None:
    """Keep a model in the log; what it says holds from then on.

    Every earlier one is kept too.
    """
    draft = plan.sound(Path(file))
    with shared.opened(write=True) as log:
        planned = plan.plan(log, draft)
        if dry_run:
            show(planned, shared)
            return
        _warn(planned)
        if planned.unreadable or planned.dropped:
            shared.agree(_dangers(planned))
        receipt = plan.apply(log, draft, planned.position)
        holds = log.definitions.applied
        if not shared.quiet and receipt is not None and status.waiting(log):
            console.say("note: projections wait for events that are there: esctl projection run")
    record: dict[str, object] = {
        "applied": receipt is not None,
        "changes": len(planned.changes),
        "number": holds.number if holds else None,
        "position": holds.position if holds else None,
        "fingerprint": holds.fingerprint if holds else None,
    }
    render.acknowledge(record, shared.rendering)


def _warn(planned: plan.Plan) -> None:
    """Say which stored events do not pass what is about to hold."""
    for change in planned.changes:
        if change.misfits:
            console.say(f"warning: {change.misfits} stored events do not pass the {change.kind} of {change.name}")


def _dangers(planned: plan.Plan) -> str:
    dangers = [f"{planned.unreadable} stored events cannot be read any more"] * bool(planned.unreadable)
    dangers += [f"the projection {name} is dropped" for name in planned.dropped]
    return "; ".join(dangers)
