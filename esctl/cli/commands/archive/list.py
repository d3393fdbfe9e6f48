"""`esctl archive list`: the segments of a log."""

from __future__ import annotations

from esctl.output import render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl archive list                       positions, times, sizes, places
  esctl archive list -o ndjson | jq -r .segment"""

COLUMNS = ("segment", "first_recorded", "last_recorded", "events", "bytes", "raw_bytes", "ratio", "where")
SPARE = ("raw_bytes", "last_recorded")


def command(shared: Shared) -> None:
    """List the segments, oldest first: positions, times, sizes, places."""
    with shared.opened() as log:
        records: list[dict[str, object]] = []
        if log.store.archive() is not None:
            from esctl.archive import listing  # noqa: PLC0415 - loads zstandard and msgspec, for logs with an archive

            records = [listing.record(segment) for segment in listing.archived(log)]
    if shared.rendering == "table":
        records = [{name: record[name] for name in COLUMNS} for record in records]
    render.listed(records, shared.rendering, SPARE, COLUMNS)
