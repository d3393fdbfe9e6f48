"""`esctl projection status`: the status of projections."""

from __future__ import annotations

from collections.abc import Sequence

from esctl.errors import HandlerError, word
from esctl.output import render
from esctl.projections import status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl projection status                  exit 9 if one is stopped
  esctl projection status customer_orders -o ndjson | jq .lag"""

STATUS = (
    "projection", "version", "state", "rows", "position", "lag", "lag_seconds", "bytes", "fingerprint", "reducer",
    "failed", "handler", "error", "failed_at"
)  # fmt: skip
SPARE = ("failed_at", "reducer", "fingerprint", "version", "lag_seconds", "bytes")


def command(
    shared: Shared,
    *,
    names: Annotated[Sequence[str], typer.Argument(metavar="[NAME …]", help="Only these. [all]")] = (),
) -> None:
    """Print the status of each projection: rows, lag, size, last error.

    Exit 9 if one is stopped.
    """
    with shared.opened() as log, log.store.one_state():
        records = status.status(log, names)
    stopped = [record for record in records if record["failed"] is not None]
    if shared.rendering == "table":
        wanted = [n for n in STATUS if stopped or n not in ("failed", "handler", "error", "failed_at")]
        records = [{name: record[name] for name in wanted} for record in records]
        records = [{**record, "fingerprint": str(record["fingerprint"])[:12]} for record in records]
    render.listed(records, shared.rendering, spare=SPARE, names=STATUS)
    if stopped:
        first = stopped[0]
        raise HandlerError(
            f"the projection {first['projection']} is stopped at position {first['failed']}",
            why=f"{first['handler']}: {first['error']}; correct the handler or its data; the next run continues there",
            fix=f"esctl projection run {word(first['projection'])}",
        )
