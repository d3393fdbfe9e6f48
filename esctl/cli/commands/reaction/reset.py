"""`esctl reaction reset`: let a reaction begin at another point."""

from __future__ import annotations

from esctl.output import console, render
from esctl.points.located import located
from esctl.reactions import admin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared
    from esctl.cli.options import DryRun

EXAMPLES = """Examples:
  esctl reaction reset mail --from '#120' --dry-run
  esctl reaction reset mail --from now --yes   skip what it has not handled"""


def command(
    shared: Shared,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The reaction.")],
    from_: Annotated[
        str, typer.Option("--from", metavar="POINT", help="The first event to handle: beginning, now, or a point.")
    ],
    dry_run: DryRun = False,
) -> None:
    """Let a reaction go on at another point; its dead letters go.

    Events that it has handled are handled again if they are behind the point, and those before it never are.
    """
    with shared.opened(write=not dry_run) as log:
        before = min(one.position for one in admin.named(log, name))
        head = log.head().position
        position = {admin.BEGINNING: 0, admin.NOW: head}.get(from_)
        if position is None:
            position, note, _ = located(log, from_, before=True)
            if note:
                console.note(note)
        record: dict[str, object] = {"reaction": name, "before": before, "position": position}
        record["letters"] = len(log.store.reactions().letters(name))
        if dry_run:
            render.acknowledge(record, shared.rendering)
            return
        again = "handles events again" if position < before else "skips events"
        shared.confirm(f"{name} goes on behind position {position} instead of {before}: it {again}")
        admin.reset(log, name, position)
    render.acknowledge(record, shared.rendering)
