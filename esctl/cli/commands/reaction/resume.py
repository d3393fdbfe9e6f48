"""`esctl reaction resume`: let a paused reaction go on."""

from __future__ import annotations

from esctl.output import render
from esctl.reactions import admin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl reaction resume mail"""


def command(shared: Shared, *, name: Annotated[str, typer.Argument(metavar="NAME", help="The reaction.")]) -> None:
    """Let a paused reaction go on.

    A process that waits for it goes on; otherwise run esctl react NAME.
    """
    with shared.opened(write=True) as log:
        admin.set_paused(log, name, paused=False)
    render.acknowledge({"reaction": name, "paused": False}, shared.rendering)
