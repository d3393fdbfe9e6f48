"""`esctl compact`: free space given back."""

from __future__ import annotations

import typer

from esctl import output
from esctl.cli.options import opened
from esctl.errors import UnavailableError

EXAMPLES = """Examples:
  esctl compact                           after snapshots were pruned or payloads erased
  esctl compact -o json | jq .freed"""


def command(ctx: typer.Context) -> None:
    """Give the space that the log does not need any more back to the file system.

    Others read and write on meanwhile; a reader that is in the middle of something keeps the file from shrinking at
    once, which is said (exit 8), and nothing is lost.
    """
    with opened(ctx, write=True) as log:
        before, after, finished = log.store.compact()
    output.records([{"before": before, "after": after, "freed": before - after}], ctx.obj.rendering)
    if not finished:
        raise UnavailableError("the file shrinks later", why="somebody reads the log just now", fix="run it again")
