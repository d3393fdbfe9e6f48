"""`esctl compact`: shrink a log's file."""

from __future__ import annotations

from esctl.errors import UnavailableError
from esctl.output import render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl compact                            after pruning snapshots or erasing payloads
  esctl compact -o json | jq .freed"""


def command(
    shared: Shared,
    *,
    full: Annotated[
        bool, typer.Option("--full", help="Rebuild indexes and the whole file; no deleted bytes remain.")
    ] = False,
) -> None:
    """Return free space in the log's file to the file system.

    Others can read and write meanwhile. While another process is reading, the file may not shrink at once: then exit 8,
    and nothing is lost.
    """
    clean = True
    with shared.opened(write=True) as log:
        if log.store.archiving().leftovers():
            from esctl.archive import tidying  # noqa: PLC0415 - zstandard and msgspec, for logs that need them
            from esctl.upkeep import erasure, traces  # noqa: PLC0415 - as above

            tidying.tidy(log)
            if traces.unfinished(log):
                clean = erasure.scrub(log)
        before, after, finished = log.store.compact(full=full)
    render.acknowledge({"before": before, "after": after, "freed": before - after}, shared.rendering)
    if not (finished and clean):
        raise UnavailableError("the file did not shrink yet", why="another process is reading the log", again="")
