"""`esctl project`: group and sum events from stdin."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from esctl.errors import UsageError
from esctl.output import render
from esctl.projections import grouping
from esctl.projections.grouping import Measure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl replay --type OrderPlaced | esctl project --group-by data.customer_id --count
  esctl replay --type PaymentReceived | esctl project --sum data.amount --max data.amount
  esctl replay | esctl project --group-by stream,type --count --last time -o table"""


def command(
    shared: Shared,
    *,
    group_by: Annotated[
        str | None, typer.Option("--group-by", metavar="A,B", help="Group by these fields. [one group]")
    ] = None,
    count: Annotated[bool, typer.Option("--count", help="The number of lines.")] = False,
    sum_: Annotated[Sequence[str], typer.Option("--sum", metavar="FIELD", help="The sum of a field: data.amount")] = (),
    min_: Annotated[Sequence[str], typer.Option("--min", metavar="FIELD", help="The least value of a field.")] = (),
    max_: Annotated[Sequence[str], typer.Option("--max", metavar="FIELD", help="The greatest value of a field.")] = (),
    avg: Annotated[Sequence[str], typer.Option("--avg", metavar="FIELD", help="The mean of a field.")] = (),
    first: Annotated[Sequence[str], typer.Option("--first", metavar="FIELD", help="The first value of a field.")] = (),
    last: Annotated[Sequence[str], typer.Option("--last", metavar="FIELD", help="The last value of a field.")] = (),
) -> None:
    """Group, count and sum NDJSON lines from stdin.

    For a quick look at the output of `replay`, without a model.
    """
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError(
            "esctl project reads lines from a pipe", fix="esctl replay | esctl project --group-by type --count"
        )
    options = zip(grouping.OPERATIONS, (sum_, min_, max_, avg, first, last), strict=True)
    measures = [Measure("count")] * count + [Measure(op, field) for op, fields in options for field in fields]
    by = [field.strip() for field in group_by.split(",")] if group_by else []
    if any("" in field.split(".") for field in (*by, *(measure.field for measure in measures if measure.field))):
        raise UsageError("a field is a name, or names joined by dots: data.amount")
    if not by and not measures:
        raise UsageError("nothing to group, count or sum was given", fix="esctl project --help")
    measures = measures or [Measure("count")]
    records = grouping.grouped(sys.stdin.buffer, by, measures)
    render.listed(records, shared.rendering, names=grouping.names(by, measures))
