"""`esctl query`: questions in SQL, read-only."""

from __future__ import annotations

import typer

from esctl import output
from esctl.cli.options import opened

EXAMPLES = """Examples:
  esctl query "select type, count(*) as n from log group by type order by n desc"
  esctl query "select sum(data ->> 'amount') as paid from log where type = 'PaymentReceived'" -o raw
  esctl query "select * from log where stream = 'order-1012'" -o csv > order.csv"""


def command(
    ctx: typer.Context,
    sql: str = typer.Argument(metavar="SQL", help="One SELECT."),
    raw_schema: bool = typer.Option(False, "--raw-schema", help="`log` has events as stored, without upcasts."),
) -> None:
    """Ask the log in SQL: the view `log` has a row an event, with the fields of `replay`; nothing can be changed."""
    with opened(ctx) as log:
        header, rows = log.question(sql, raw_schema=raw_schema)
        output.answer(header, rows, ctx.obj.rendering)
