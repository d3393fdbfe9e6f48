"""`esctl projection show`: the rows of a projection."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from esctl.cli.commands.projection import running
from esctl.errors import UsageError, word
from esctl.log import POLL_SECONDS, EventLog
from esctl.model.declared import Projection
from esctl.output import console, render
from esctl.points.points import query_of
from esctl.projections import freshness, reading, runs, versions
from esctl.projections.reading import RowFilter, RowSelection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl projection show customer_orders --order-by "spent desc" --limit 10 --total spent
  esctl projection show daily_revenue --bars revenue --until 2026-01-31 -o table"""


def command(
    shared: Shared,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The projection.")],
    table: Annotated[str | None, typer.Option("--table", metavar="NAME", help="Of several tables, this one.")] = None,
    where: Annotated[str | None, typer.Option(metavar="SQL", help="A condition on the table's columns.")] = None,
    order_by: Annotated[str | None, typer.Option(metavar="COL", help='Columns: "a, b desc". [the primary key]')] = None,
    limit: Annotated[int | None, typer.Option(min=0, metavar="N", help="The first N rows.")] = None,
    until: Annotated[
        str | None, typer.Option(metavar="POINT", help="As it was at this point, built in memory.")
    ] = None,
    as_of: Annotated[str | None, typer.Option(metavar="POINT", help="As the log stood then (recorded time).")] = None,
    total: Annotated[Sequence[str], typer.Option(metavar="COL", help="The sum of a column, below the table.")] = (),
    bars: Annotated[
        Sequence[str], typer.Option(metavar="COL", help="Bars in the cells of a column of the table.")
    ] = (),
    fresh: Annotated[bool, typer.Option("--fresh", help="Catch up first, however far it is behind.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="On a terminal: paint it again as events come.")] = False,
) -> None:
    """Print a projection's rows, after it has caught up.

    Where 10,000 events are missing or more, it says how many.
    """
    asked, at_point = (
        RowFilter(table, where, order_by, limit, list(total), list(bars)),
        until is not None or as_of is not None,
    )
    if watch and not sys.stdout.isatty():
        raise UsageError("--watch paints on a terminal", fix=f"esctl projection run {word(name)} --follow")
    if at_point and (fresh or watch):
        raise UsageError("the past does not move", why="--fresh and --watch are for what is now")
    with _opened(shared, write=not at_point, wait=fresh or watch) as log:
        projection = versions.declared(log, name)
        if at_point:
            query = query_of(log, None, until=until, as_of=as_of)
            running.watch(reading.at(log, projection, query), "building", min(query.until, log.head().position))
            _print(reading.rows(log, projection, asked, built=True), projection, shared)
            return
        while True:
            log.store.changed()
            _freshen(log, name, always=fresh or watch, quiet=shared.quiet)
            picture = reading.rows(log, projection, asked, built=False)
            if not watch:
                break
            console.repaint(_drawn(picture, projection))
            while not log.store.changed():
                time.sleep(POLL_SECONDS)
        _print(picture, projection, shared)


def _opened(shared: Shared, *, write: bool, wait: bool) -> EventLog:
    """The log open for writing, if it can be; who only wants to see the rows does not wait long for a lock."""
    if not wait:
        shared.timeout = min(shared.timeout, freshness.LOCK_SECONDS)
    return freshness.opened(lambda for_writing: shared.opened(write=write and for_writing, bulk=write and for_writing))


def _freshen(log: EventLog, name: str, *, always: bool, quiet: bool) -> None:
    """Have a projection catch up, and say how many events it is behind."""
    found = freshness.freshen(
        log, name, always=always, advance=lambda rows: running.watch(rows, "projecting", runs.ahead(log, [name]))
    )
    for failure in found.failures:
        console.say(f"warning: {failure.what}: {failure.why}")
    if quiet:
        return
    if found.hindered is not None:
        console.say(f"note: it did not catch up: {found.hindered.what}")
    if found.behind:
        how = f"run {name}" if found.has_handlers else f"run --reducer MODULE:FUNCTION {name}"
        built = "is" if found.position else "is not built yet:"
        events = f"{found.behind:,} event{'s' * (found.behind != 1)}"
        console.say(f"note: {name} {built} {events} behind   (esctl projection {how})")


def _drawn(picture: RowSelection, projection: Projection) -> str:
    return render.read_model(picture.columns, picture.rows, projection.columns, picture.totals, picture.bars)


def _print(picture: RowSelection, projection: Projection, shared: Shared) -> None:
    """Print rows; bars and sums stand in tables, elsewhere sums go to stderr."""
    if shared.rendering == "table":
        console.text(_drawn(picture, projection))
        return
    render.answer(picture.columns, picture.rows, shared.rendering)
    for column, value in picture.totals.items():
        console.say(f"total {column}: {value}")
