"""`esctl compact`: free space given back."""

from __future__ import annotations

from esctl.errors import UnavailableError
from esctl.output import render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl compact                            after snapshots were pruned or payloads erased
  esctl compact -o json | jq .freed"""


def command(
    shared: Shared,
    *,
    full: Annotated[
        bool, typer.Option("--full", help="Write all of the file anew; nothing is left of what was removed.")
    ] = False,
) -> None:
    """Give free space in the log's file back to the file system.

    Others read and write on meanwhile; a reader that is in the middle of something keeps the file from shrinking at
    once, which is said (exit 8), and nothing is lost.
    """
    with shared.opened(write=True) as log:
        if log.store.archiving().leftovers():
            from esctl.archive import tidying  # noqa: PLC0415 - zstandard and msgspec, for logs that need them
            from esctl.upkeep import erasure  # noqa: PLC0415 - zstandard and msgspec, for logs that need them

            full = full or erasure.unfinished(log)
            tidying.tidy(log)
        before, after, finished = log.store.compact(full=full)
        if full and finished:
            with log.transaction():
                log.store.archiving().removed("")
    render.acknowledge({"before": before, "after": after, "freed": before - after}, shared.rendering)
    if not finished:
        raise UnavailableError("the file shrinks later", why="somebody reads the log just now", again="")
