"""`esctl marks`: the names that points of a log have."""

from __future__ import annotations

import msgspec
import typer

from esctl import marks, output
from esctl.cli.options import opened

EXAMPLES = """Examples:
  esctl marks                             name, position, when and by whom it was set"""


def command(ctx: typer.Context) -> None:
    """List the marks."""
    with opened(ctx) as log:
        made = sorted(marks.marks(log).values(), key=lambda mark: mark.position)
    output.listed(map(msgspec.structs.asdict, made), ctx.obj.rendering, names=marks.Mark.__struct_fields__)
