"""`esctl reaction drop`: forget a reaction."""

from __future__ import annotations

from esctl.output import render
from esctl.reactions import admin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared
    from esctl.cli.options import DryRun

EXAMPLES = """Examples:
  esctl reaction drop mail --dry-run
  esctl reaction drop mail --yes"""


def command(
    shared: Shared,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The reaction.")],
    dry_run: DryRun = False,
) -> None:
    """Forget a reaction: how far it has come, and its dead letters."""
    with shared.opened(write=not dry_run) as log:
        found = admin.named(log, name)
        record: dict[str, object] = {
            "reaction": name,
            "position": min(one.position for one in found),
            "letters": len(log.store.reactions().letters(name)),
        }
        if not dry_run:
            shared.confirm(f"this forgets how far {name} has come: position {record['position']}")
            admin.drop(log, name)
    render.acknowledge(record, shared.rendering)
