"""`esctl project`: group and sum events from stdin."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from esctl.errors import UsageError
from esctl.events.paths import HINT, PathError, listed, parts
from esctl.output import console, render
from esctl.projections import grouping
from esctl.projections.grouping import Measure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl replay --type OrderPlaced | esctl project --group-by data.customer_id --count
  esctl replay --type PaymentReceived | esctl project --sum data.amount --max data.amount,time
  esctl replay | esctl project --group-by stream,type --count --last time -o table"""


def command(
    shared: Shared,
    *,
    group_by: Annotated[
        str | None, typer.Option("--group-by", metavar="A,B", help="Group by these fields. [one group]")
    ] = None,
    count: Annotated[bool, typer.Option("--count", help="The number of lines.")] = False,
    sum_: Annotated[
        Sequence[str], typer.Option("--sum", metavar="A,B", help="The sum of each of these fields: data.amount")
    ] = (),
    min_: Annotated[Sequence[str], typer.Option("--min", metavar="A,B", help="The least value of each.")] = (),
    max_: Annotated[Sequence[str], typer.Option("--max", metavar="A,B", help="The greatest value of each.")] = (),
    avg: Annotated[Sequence[str], typer.Option("--avg", metavar="A,B", help="The mean of each.")] = (),
    first: Annotated[Sequence[str], typer.Option("--first", metavar="A,B", help="The first value of each.")] = (),
    last: Annotated[Sequence[str], typer.Option("--last", metavar="A,B", help="The last value of each.")] = (),
) -> None:
    """Group, count and sum NDJSON lines from stdin.

    For a quick look at the output of `replay`, without a model. A field that no line has is null, with a note.
    """
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError(
            "esctl project reads lines from a pipe", fix="esctl replay | esctl project --group-by type --count"
        )
    options = zip(grouping.OPERATIONS, (sum_, min_, max_, avg, first, last), strict=True)
    measures = [Measure("count")] * count + [Measure(op, field) for op, fields in options for field in _split(fields)]
    by = _split([group_by] if group_by else [])
    named = [measure.field for measure in measures if measure.operation != "count"]
    for field in (*by, *named):
        _check(field)
    if not by and not measures:
        raise UsageError("nothing to group, count or sum was given", fix="esctl project --help")
    measures = measures or [Measure("count")]
    records = grouping.grouped(sys.stdin.buffer, by, measures, _unknown)
    render.listed(records, shared.rendering, names=grouping.names(by, measures))


def _split(lists: Sequence[str]) -> list[str]:
    return [field for fields in lists for field in listed(fields)]


def _check(field: str) -> None:
    try:
        parts(field)
    except PathError as error:
        raise UsageError(f"{field!r} is not a field: {error}", why=f"a field is {HINT}") from error


def _unknown(field: str, known: Sequence[str]) -> None:
    """Print a note for a field that no line has, with fields of a similar name."""
    import difflib  # noqa: PLC0415 - only a mistake needs it

    last = {name: grouping.last_name(name) for name in known}
    found = difflib.get_close_matches(grouping.last_name(field), last.values(), 3, 0.75)
    near = [name for name in known if last[name] in found][:3]
    console.note(f"no line has the field {field}" + (f"; did you mean {' or '.join(near)}?" if near else ""))
