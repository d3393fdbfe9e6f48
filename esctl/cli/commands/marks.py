"""`esctl marks`: the marks of a log."""

from __future__ import annotations

from esctl.output import render
from esctl.points import marks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl marks                              name, position, time, actor"""


def command(shared: Shared) -> None:
    """List the marks: name, position, who set it and when."""
    with shared.opened() as log:
        found = sorted(marks.marks(log).values(), key=lambda mark: mark.position)
    render.listed((mark.record() for mark in found), shared.rendering, names=marks.Mark.__slots__)
