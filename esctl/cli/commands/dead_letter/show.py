"""`esctl dead-letter show`: one dead letter."""

from __future__ import annotations

from esctl.output import render
from esctl.reactions import dead_letters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl dead-letter show mail order-1042   by its stream
  esctl dead-letter show mail '#366' -o json | jq -r .stderr   by its position"""


def command(
    shared: Shared,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The reaction.")],
    letter: Annotated[str, typer.Argument(metavar="STREAM|POSITION", help="The stream or position of the event.")],
) -> None:
    """Print a dead letter: its error, and how many events wait."""
    with shared.opened() as log:
        record = dead_letters.show(log, name, letter)
    if shared.rendering == "table":
        record["stderr"] = str(record["stderr"] or "").rstrip()
    render.one(record, shared.rendering)
