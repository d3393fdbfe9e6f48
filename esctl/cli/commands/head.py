"""`esctl head`: the newest event's position and hash."""

from __future__ import annotations

from esctl.output import render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl head > head.txt                    POSITION:HASH; store it elsewhere
  esctl verify --expect-head "$(cat head.txt)"   proves that nothing up to it changed
  esctl head -o json | jq .recorded        when the newest event was recorded"""


def command(shared: Shared) -> None:
    """Print the newest event's position and hash."""
    with shared.opened() as log:
        head = log.head()
        if shared.format in ("auto", "raw", "table"):
            render.head(head)
        else:
            position, hash_, recorded = head
            record = {"position": position, "hash": hash_.hex(), "recorded": recorded, "log_id": log.log_id}
            render.one(record, shared.format)
