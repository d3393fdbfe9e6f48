"""`esctl head`: the newest event's position and hash."""

from __future__ import annotations

import typer

from esctl import output
from esctl.cli.options import opened

EXAMPLES = """Examples:
  esctl head                              prints POSITION:HASH, to be written down elsewhere
  esctl verify --expect-head "$(cat head.txt)"   proves later that nothing before it changed
  esctl head -o json                      with the log's id and when the newest event was recorded"""


def command(ctx: typer.Context) -> None:
    """Print the newest event's position and hash."""
    with opened(ctx) as log:
        head = log.head()
        if ctx.obj.format in ("auto", "raw", "table"):
            output.head(head)
        else:
            position, hash_, recorded = head
            record = {"position": position, "hash": hash_.hex(), "recorded": recorded, "log_id": log.log_id}
            output.records([record], ctx.obj.format)
