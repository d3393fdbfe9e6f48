"""Read the rows of projections: the present ones, and those as of any point."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple

from esctl.errors import HandlerError, NotFoundError, UsageError, word
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.model import projections
from esctl.model.applied import Definitions
from esctl.model.compiled import SCRATCH, HandlerFailed, Version
from esctl.model.declared import Projection
from esctl.projections.runs import POSITIONS_PER_TRANSACTION
from esctl.projections.versions import live, needs_reducer
from esctl.sql.conditions import check_condition


class RowSelection(NamedTuple):
    """Selected rows of a projection's table: its columns, the rows, the requested sums, and the columns with bars."""

    table: str
    columns: list[str]
    rows: list[tuple[Any, ...]]
    totals: Mapping[str, Any]
    bars: list[str]


class RowFilter(NamedTuple):
    """Which rows, in which order (`column`, `column desc`, with commas), how many; columns with sums and bars."""

    table: str | None = None
    where: str | None = None
    order_by: str | None = None
    limit: int | None = None
    totals: Sequence[str] = ()
    bars: Sequence[str] = ()


def at(log: EventLog, projection: Projection, query: Query, definitions: Definitions | None = None) -> Iterator[int]:
    """Build a projection as of the end of a query, in temporary tables of this connection; numbers of positions.

    It starts from the rows of the nearest version with the same definition that does not go beyond that point. All of
    it is of one state of the log. Raises HandlerError if a handler fails.
    """
    with log.store.one_state(large=True):
        yield from _built(log, projection, query, definitions or log.definitions)


def _built(log: EventLog, projection: Projection, query: Query, definitions: Definitions) -> Iterator[int]:
    version = scratch(projection, definitions)
    if not version.compiled.on:
        raise needs_reducer(projection.name)
    until = min(query.until, log.store.newest())
    if query.as_of is not None:
        until = min(until, log.store.places().position_at(query.as_of))
    start = log.store.projections().scratch(version, _nearest(log, version, query, until), until)
    yield from feed_some(log, version, range(start + 1, until + 1), query.until_time)


def feed_some(log: EventLog, version: Version, positions: range, until_time: str | None = None) -> Iterator[int]:
    """Feed a version the events at some positions, in batches; yields the size of each."""
    positions = range(positions.start, min(positions.stop, log.store.newest() + 1))
    starts = range(0, len(positions), POSITIONS_PER_TRANSACTION)
    for some in (positions[start : start + POSITIONS_PER_TRANSACTION] for start in starts):
        query = Query(since=some[0], until=some[-1], until_time=until_time)
        try:
            log.store.projections().attempt(version, query, record=False)
        except HandlerFailed as failed:
            raise _stopped(log, version, query, failed) from failed
        yield len(some)


def feed_streams(log: EventLog, version: Version, streams: Iterable[str], until: int) -> Iterator[int]:
    """Feed a version the events of some streams up to a position; yields the number of positions for each."""
    for stream in streams:
        query = Query(stream=stream, until=until)
        try:
            log.store.projections().attempt(version, query, record=False)
        except HandlerFailed as failed:
            raise _stopped(log, version, query, failed) from failed
        yield until


def _stopped(log: EventLog, version: Version, query: Query, failed: HandlerFailed) -> HandlerError:
    """The error of a version that cannot be built, with the event on which a handler failed."""
    from esctl.projections.inline import field_of, handler_of, seen_at  # noqa: PLC0415 - only a failure needs it

    if failed.position is None:
        try:
            log.store.projections().attempt(version, query)  # recording each event
        except HandlerFailed as again:
            failed = again
    what = f"the projection {version.name} cannot be built up to that point"
    if failed.position is None:  # a handler that ran too long, this time
        why = f"a handler fails between positions {query.since} and {query.until}: {failed.reason}"
        return HandlerError(what, why=why, fix=f"esctl projection run {word(version.name)}", projection=version.name)
    stream, type_ = seen_at(log.store, version, failed.position)
    handler = handler_of(version, failed.type or type_)
    return HandlerError(
        what,
        why=f"{handler} fails on the event at position {failed.position}, {type_} in {stream}: {failed.reason}",
        fix=f"esctl show {failed.position:d}",
        projection=version.name,
        position=failed.position,
        type=type_,
        handler=handler,
        reason=failed.reason,
        field=field_of(version, handler),
    )


_numbers = count(10**15)  # no log has so many versions


def scratch(projection: Projection, definitions: Definitions) -> Version:
    """A version that exists only in temporary tables; its number is unique on the connection."""
    compiled = projections.compiled(projection, definitions.upcasting)
    mark = projections.mark(projection, definitions.upcasting)
    return Version(next(_numbers), projection.name, SCRATCH, False, 0, 0, mark, compiled, None, 0, "")


def _nearest(log: EventLog, version: Version, query: Query, until: int) -> Version | None:
    """The most advanced version in the log from which this one can be built. A time is not a prefix of the log."""
    if query.until_time is not None:
        return None
    same = (
        v for v in log.store.projections().versions() if v.fingerprint == version.fingerprint and v.name == version.name
    )
    return max((v for v in same if 0 < v.position <= until), key=lambda v: v.position, default=None)


def rows(log: EventLog, projection: Projection, selection: RowFilter, *, built: bool) -> RowSelection:
    """Select rows of a projection: of its live version, or those `built` by `at` on this connection.

    Raises UsageError for an unknown column or a wrong condition, NotFoundError if there are no tables yet.
    """
    names = list(projection.tables)
    main = projection.name if projection.name in projection.tables else names[0]
    table = selection.table or main
    if table not in projection.tables:
        raise NotFoundError(f"{projection.name} has no table {table}", why=f"it has {', '.join(names)}")
    if not built and table not in live(log, projection.name).compiled.tables:
        raise NotFoundError(
            f"the table {table} is not built yet",
            why="a run builds it",
            fix=f"esctl projection run {word(projection.name)}",
        )
    stored = log.store.projections().rows_of(table, built=built)
    columns = stored.columns
    if selection.where is not None:
        check_condition(selection.where, tuple(columns))
    order = _order(selection.order_by, columns) if selection.order_by else []
    totals = [_column(name, columns, "--total") for name in selection.totals]
    bars = [_column(name, columns, "--bars") for name in selection.bars]
    try:
        selected, sums = stored.read(selection.where, order, selection.limit, totals)
    except HandlerFailed as failed:
        raise UsageError(f"--where {str(selection.where)[:80]!r} fails on a row: {failed.reason}") from failed
    for name, total in sums.items():
        if total is None:
            raise UsageError(f"--total: {name} is not a column of numbers", why="it has other values")
    return RowSelection(table, columns, selected, sums, bars)


def _column(name: str, columns: Sequence[str], option: str) -> str:
    """Find a column by its name, ignoring case; raises UsageError."""
    for column in columns:
        if column.lower() == name.lower():
            return column
    import difflib  # noqa: PLC0415 - only a mistake needs it

    near = difflib.get_close_matches(name, columns, 1, 0.5)
    raise UsageError(
        f"{option}: there is no column {name!r}",
        why=f"did you mean {near[0]}?" if near else f"it has {', '.join(columns)}",
    )


def _order(text: str, columns: Sequence[str]) -> list[tuple[str, str]]:
    """Parse `column desc, column` to columns and directions; raises UsageError."""
    parts = []
    for part in text.split(","):
        name, _, direction = part.strip().rpartition(" ")
        if direction.lower() not in ("asc", "desc") or not name:
            name, direction = part.strip(), "asc"
        parts.append((_column(name.strip(), columns, "--order-by"), direction.lower()))
    return parts
