"""`esctl marks`: the names that points of a log have."""

from __future__ import annotations

from esctl.output import render
from esctl.points import marks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl marks                              name, position, when and by whom it was set"""


def command(shared: Shared) -> None:
    """List the marks: names of positions, who set them and when."""
    with shared.opened() as log:
        made = sorted(marks.marks(log).values(), key=lambda mark: mark.position)
    render.listed((mark.record() for mark in made), shared.rendering, names=marks.Mark.__slots__)
