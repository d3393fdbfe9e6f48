"""`esctl reaction pause`: pause a reaction."""

from __future__ import annotations

from esctl.output import render
from esctl.reactions import admin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl reaction pause mail"""


def command(shared: Shared, *, name: Annotated[str, typer.Argument(metavar="NAME", help="The reaction.")]) -> None:
    """Pause a reaction: it starts no handler until it is resumed.

    A process that runs it finishes what runs, and waits. The pause is kept in the log.
    """
    with shared.opened(write=True) as log:
        admin.set_paused(log, name, paused=True)
    render.acknowledge({"reaction": name, "paused": True}, shared.rendering)
