"""`esctl project`: events on stdin, grouped and added up."""

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
        str | None, typer.Option("--group-by", metavar="A,B", help="The fields that make a group. [one]")
    ] = None,
    count: Annotated[bool, typer.Option("--count", help="How many lines a group has.")] = False,
    sum_: Annotated[Sequence[str], typer.Option("--sum", metavar="FIELD", help="The sum of a field: data.amount")] = (),
    min_: Annotated[Sequence[str], typer.Option("--min", metavar="FIELD", help="The least value of a field.")] = (),
    max_: Annotated[Sequence[str], typer.Option("--max", metavar="FIELD", help="The greatest value of a field.")] = (),
    avg: Annotated[Sequence[str], typer.Option("--avg", metavar="FIELD", help="The mean of a field.")] = (),
    first: Annotated[Sequence[str], typer.Option("--first", metavar="FIELD", help="The first value of a field.")] = (),
    last: Annotated[Sequence[str], typer.Option("--last", metavar="FIELD", help="The last value of a field.")] = (),
) -> None:
    """Group lines of NDJSON from stdin, count them and add them up.

    A quick look without a model, at what `replay` prints.
    """
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("it reads lines from a pipe", fix="esctl replay | esctl project --group-by type --count")
    given = zip(grouping.OPERATIONS, (sum_, min_, max_, avg, first, last), strict=True)
    measures = [Measure("count")] * count + [Measure(op, field) for op, fields in given for field in fields]
    by = [field.strip() for field in group_by.split(",")] if group_by else []
    if any("" in field.split(".") for field in (*by, *(measure.field for measure in measures if measure.field))):
        raise UsageError("a field is a name, or names with dots: data.amount")
    if not by and not measures:
        raise UsageError("it is not said what to count or add up", fix="esctl project --help")
    measures = measures or [Measure("count")]
    records = grouping.grouped(sys.stdin.buffer, by, measures)
    render.listed(records, shared.rendering, names=grouping.names(by, measures))
