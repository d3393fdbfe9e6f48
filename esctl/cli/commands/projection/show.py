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
    table: Annotated[
        str | None, typer.Option("--table", metavar="NAME", help="The table, if the projection has several.")
    ] = None,
    where: Annotated[str | None, typer.Option(metavar="SQL", help="A condition on the table's columns.")] = None,
    order_by: Annotated[
        str | None, typer.Option(metavar="COL", help='Columns, such as "a, b desc". [the primary key]')
    ] = None,
    limit: Annotated[int | None, typer.Option(min=0, metavar="N", help="The first N rows.")] = None,
    until: Annotated[
        str | None, typer.Option(metavar="POINT", help="As it was at this point; built in temporary tables.")
    ] = None,
    as_of: Annotated[
        str | None, typer.Option(metavar="POINT", help="As the log stood then (by recorded time).")
    ] = None,
    total: Annotated[
        Sequence[str], typer.Option(metavar="A,B", help="Print the sums of columns below the table.")
    ] = (),
    bars: Annotated[Sequence[str], typer.Option(metavar="A,B", help="Draw bars in columns of the table.")] = (),
    fresh: Annotated[bool, typer.Option("--fresh", help="Catch up first, however many events are missing.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="On a terminal: redraw the table as events arrive.")] = False,
) -> None:
    """Print a projection's rows, after catching up.

    If 10,000 events or more are missing, it does not catch up, and says how many are missing.
    """
    row_filter, at_point = (
        RowFilter(table, where, order_by, limit, _names(total), _names(bars)),
        until is not None or as_of is not None,
    )
    if watch and not sys.stdout.isatty():
        raise UsageError("--watch needs a terminal", fix=f"esctl projection run {word(name)} --follow")
    if at_point and (fresh or watch):
        raise UsageError("--until and --as-of exclude --fresh and --watch", why="a past state does not change")
    with _opened(shared, write=not at_point, wait=fresh or watch) as log:
        projection = versions.declared(log, name)
        if at_point:
            query = query_of(log, None, until=until, as_of=as_of)
            running.watch(reading.at(log, projection, query), "building", min(query.until, log.head().position))
            _print(reading.rows(log, projection, row_filter, built=True), projection, shared)
            return
        while True:
            log.store.changed()
            _catch_up(log, name, always=fresh or watch)
            selection = reading.rows(log, projection, row_filter, built=False)
            if not watch:
                break
            console.repaint(_as_table(selection, projection))
            while not log.store.changed():
                time.sleep(POLL_SECONDS)
        _print(selection, projection, shared)


def _names(lists: Sequence[str]) -> list[str]:
    """The names in lists such as `a,b`."""
    return [name.strip() for each in lists for name in each.split(",")]


def _opened(shared: Shared, *, write: bool, wait: bool) -> EventLog:
    """Open the log, for writing if possible; unless `wait`, do not wait long for a lock."""
    if not wait:
        shared.timeout = min(shared.timeout, freshness.LOCK_SECONDS)
    return freshness.opened(lambda for_writing: shared.opened(write=write and for_writing, bulk=write and for_writing))


def _catch_up(log: EventLog, name: str, *, always: bool) -> None:
    """Let a projection catch up, and say how many events it is behind."""
    result = freshness.freshen(
        log, name, always=always, advance=lambda rows: running.watch(rows, "projecting", runs.ahead(log, [name]))
    )
    for failure in result.failures:
        console.say(f"warning: {failure.what}: {failure.why}")
    if result.hindered is not None:
        console.note(f"{name} did not catch up: {result.hindered.what}")
    if result.behind:
        arguments = f"run {name}" if result.has_handlers else f"run --reducer MODULE:FUNCTION {name}"
        built = "is" if result.position else "is not built yet:"
        events = f"{result.behind:,} event{'s' * (result.behind != 1)}"
        console.note(f"{name} {built} {events} behind: esctl projection {arguments}")


def _as_table(selection: RowSelection, projection: Projection) -> str:
    return render.read_model(selection.columns, selection.rows, projection.columns, selection.totals, selection.bars)


def _print(selection: RowSelection, projection: Projection, shared: Shared) -> None:
    """Print rows. A table has bars and sums; in other formats the sums go to stderr."""
    if shared.rendering == "table":
        console.text(_as_table(selection, projection))
        return
    render.query_result(selection.columns, selection.rows, shared.rendering)
    for column, value in selection.totals.items():
        console.say(f"total {column}: {value}")
