"""`esctl model history`: every model that was applied."""

from __future__ import annotations

from esctl.output import render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl model history                      number, position, time, actor, fingerprint"""

APPLIED = ("number", "position", "time", "actor", "fingerprint")


def command(shared: Shared) -> None:
    """List every model that was applied, oldest first."""
    with shared.opened() as log:
        records = [{name: getattr(model, name) for name in APPLIED} for model in log.models()]
    render.listed(records, shared.rendering, spare=("position",), names=APPLIED)
