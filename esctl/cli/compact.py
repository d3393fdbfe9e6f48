"""`esctl compact`: free space given back."""

from __future__ import annotations

import typer

from esctl import output
from esctl.cli.options import opened
from esctl.errors import UnavailableError

EXAMPLES = """Examples:
  esctl compact                           after snapshots were pruned or payloads erased
  esctl compact -o json | jq .freed"""


def command(
    ctx: typer.Context,
    full: bool = typer.Option(False, "--full", help="Write all of the file anew; nothing is left of what was removed."),
) -> None:
    """Give the space that the log does not need any more back to the file system.

    Others read and write on meanwhile; a reader that is in the middle of something keeps the file from shrinking at
    once, which is said (exit 8), and nothing is lost.
    """
    with opened(ctx, write=True) as log:
        if log.store.archiving().leftovers():
            from esctl import archive, erasure  # noqa: PLC0415 - zstandard and msgspec, for logs that need them

            full = full or erasure.unfinished(log)
            archive.tidy(log)
        before, after, finished = log.store.compact(full=full)
        if full and finished:
            with log.transaction():
                log.store.archiving().removed("")
    output.records([{"before": before, "after": after, "freed": before - after}], ctx.obj.rendering)
    if not finished:
        raise UnavailableError("the file shrinks later", why="somebody reads the log just now", fix="run it again")
