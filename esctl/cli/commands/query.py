"""`esctl query`: read-only SQL."""

from __future__ import annotations

from esctl.output import console, render
from esctl.projections import status
from esctl.states import folding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl query "select type, count(*) n from log group by type order by n desc"
  esctl query "select decimal_sum(data ->> 'amount') from log where type = 'PaymentReceived'" -o raw
  esctl query "select state ->> 'status' as status, count(*) from states where aggregate = 'order' group by 1"
  esctl query "select * from customer_orders where spent > 500"   a projection's table
  esctl query "select * from log where stream = 'order-1012'" -o csv > order.csv"""


def command(
    shared: Shared,
    *,
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One SELECT.")],
    raw_schema: Annotated[
        bool, typer.Option("--raw-schema", help="`log` has the events as stored, without upcasts.")
    ] = False,
) -> None:
    """Run one SQL SELECT over events, states and projections.

    The view `log` has one row per event, with the fields of `replay`; `states` has one row per stream, with the fields
    of `state`. The tables of projections are as the last run left them. A query cannot change anything.
    """
    with shared.opened() as log:
        if not shared.quiet:
            for name, behind in status.behind(log, sql):
                console.note(f"{name} is {behind:,} event{'s' * (behind != 1)} behind: esctl projection run {name}")
        header, rows = folding.question(log, sql, raw_schema=raw_schema)
        held = folding.Held(rows)
        render.query_result(header, held, shared.rendering)
        held.end()
