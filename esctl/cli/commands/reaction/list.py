"""`esctl reaction list`: the reactions of a log."""

from __future__ import annotations

from esctl.output import render
from esctl.reactions import status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl reaction list                      state, position, filter, command"""

LISTED = ("reaction", "part", "state", "position", "handled", "filter", "command")


def command(shared: Shared) -> None:
    """List the reactions: state, position, filter, command."""
    with shared.opened() as log:
        records = status.listed(log)
    if shared.rendering == "table" and not any(record["part"] for record in records):
        records = [{name: record[name] for name in LISTED if name != "part"} for record in records]
    render.listed(records, shared.rendering, spare=("part", "handled"), names=LISTED)
