"""`esctl projection list`: the projections of a log."""

from __future__ import annotations

from esctl.output import render
from esctl.projections import status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl projection list                    state, tables, position, events behind"""

LISTED = ("projection", "version", "state", "inline", "tables", "position", "lag")


def command(shared: Shared) -> None:
    """List the projections and their versions: state, tables, lag."""
    with shared.opened() as log, log.store.one_state():
        render.listed(status.listed(log), shared.rendering, spare=("inline", "version"), names=LISTED)
