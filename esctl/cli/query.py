"""`esctl query`: questions in SQL, read-only."""

from __future__ import annotations

import typer

from esctl import aggregates, output, standing
from esctl.cli.options import opened

EXAMPLES = """Examples:
  esctl query "select type, count(*) as n from log group by type order by n desc"
  esctl query "select sum(data ->> 'amount') as paid from log where type = 'PaymentReceived'" -o raw
  esctl query "select state ->> 'status' as status, count(*) from states where aggregate = 'order' group by 1"
  esctl query "select * from customer_orders where spent > 500"   the tables of projections, as they are
  esctl query "select * from log where stream = 'order-1012'" -o csv > order.csv"""


def command(
    ctx: typer.Context,
    sql: str = typer.Argument(metavar="SQL", help="One SELECT."),
    raw_schema: bool = typer.Option(False, "--raw-schema", help="`log` has events as stored, without upcasts."),
) -> None:
    """Ask the log in SQL: the view `log` has a row an event, with the fields of `replay`, `states` a row a stream, with
    the fields of `state`; the tables of projections are there as they were brought up to date. Nothing can be changed.
    """
    with opened(ctx) as log:
        if not ctx.obj.quiet:
            for name, behind in standing.behind(log, sql):
                output.say(
                    f"note: {name} is {behind:,} event{'s' * (behind != 1)} behind   (esctl projection run {name})"
                )
        header, rows = aggregates.question(log, sql, raw_schema=raw_schema)
        output.answer(header, rows, ctx.obj.rendering)
