"""`esctl reaction status`: how far reactions have come."""

from __future__ import annotations

from collections.abc import Sequence

from esctl.cli.items import seconds_of
from esctl.errors import HandlerError, word
from esctl.output import render
from esctl.reactions import status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl reaction status                    exit 9 if one stopped at a failed event
  esctl reaction status mail --max-lag 1000 --max-age 5m   for monitoring: exit 9 beyond a limit
  esctl reaction status mail -o json | jq .parked"""

STATUS = (
    "reaction", "part", "state", "position", "lag", "lag_seconds", "handled", "rate", "running", "retrying", "parked",
    "next_try", "breaker", "holder", "failed", "error", "failed_at",
)  # fmt: skip


def command(
    shared: Shared,
    *,
    names: Annotated[Sequence[str], typer.Argument(metavar="[NAME …]", help="Only these. [all]")] = (),
    max_lag: Annotated[
        int | None, typer.Option("--max-lag", min=0, metavar="N", help="Exit 9 if more events than this wait.")
    ] = None,
    max_age: Annotated[
        str | None, typer.Option("--max-age", metavar="TIME", help="Exit 9 if an event waits for longer: 90, 5m, 2h.")
    ] = None,
) -> None:
    """Print the status of each reaction: lag, rate, retries, failures.

    `lag` counts the events that are not handled; dead letters, and events that wait behind them, are not among them.
    Exit 9 if a reaction stopped at a failed event, or is beyond a limit.
    """
    age = None if max_age is None else seconds_of(max_age, "--max-age")
    with shared.opened() as log:
        records = status.status(log, names)
    if shared.rendering == "table":
        render.reactions(records)
    elif shared.rendering == "json" and len(names) == len(records) == 1:
        render.one(records[0], "json")
    else:
        render.listed(records, shared.rendering, names=STATUS)
    for record in records:
        if problem := _problem(record, max_lag, age):
            raise HandlerError(
                f"the reaction {record['reaction']} {problem}",
                why=str(record["error"] or ""),
                fix=f"esctl dead-letter list {word(record['reaction'])}",
            )


def _problem(record: dict[str, object], max_lag: int | None, age: float | None) -> str:
    lag, seconds = int(str(record["lag"])), int(str(record["lag_seconds"]))
    if record["state"] == "stopped":
        return f"stopped at position {record['failed']}"
    if max_lag is not None and lag > max_lag:
        return f"is {lag:,} events behind"
    if age is not None and seconds > age:
        return f"is {seconds:,} seconds behind"
    return ""
