"""The rows of projections: as they are, as they were at any point, and how two of them differ, cell by cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple

from esctl.errors import HandlerError, NotFoundError, UsageError, word
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.model import projections
from esctl.model.compiled import SCRATCH, HandlerFailed, Version
from esctl.model.declared import Projection
from esctl.model.definitions import Definitions
from esctl.projections.runs import AT_ONCE, live, needs_reducer
from esctl.sql.judge import check_condition, quoted
from esctl.store.base import Projections

BEFORE = "esctl_before_"  # how the store calls what it has put aside, with a number a table


class Picture(NamedTuple):
    """Some rows of a table of a projection: its columns, the rows, the sum of each column that was asked for, and the
    columns that are to have bars.
    """

    table: str
    columns: list[str]
    rows: list[tuple[Any, ...]]
    totals: Mapping[str, Any]
    bars: list[str]


class Asked(NamedTuple):
    """Which rows, in which order (`column`, `column desc`, with commas), how many; and the columns that are to have
    sums and bars.
    """

    table: str | None = None
    where: str | None = None
    order_by: str | None = None
    limit: int | None = None
    totals: Sequence[str] = ()
    bars: Sequence[str] = ()


def at(log: EventLog, projection: Projection, query: Query, definitions: Definitions | None = None) -> Iterator[int]:
    """Build a projection as of the end of a query in temporary tables of this log's connection; numbers of positions.

    It begins at the nearest state that serves: a version of the same definition that holds nothing beyond. Raises
    HandlerError where a handler fails on the way.
    """
    definitions = definitions or log.definitions
    version = _scratch(projection, definitions)
    if not version.compiled.on:
        raise needs_reducer(projection.name)
    until = min(query.until, log.head()[0])
    if query.as_of is not None:
        until = min(until, log.store.position_at(query.as_of))
    done = log.store.projections().scratch(version, _nearest(log, version, query, until), until)
    yield from _built(log, version, range(done + 1, until + 1), query.until_time)


def _built(log: EventLog, version: Version, positions: range, until_time: str | None = None) -> Iterator[int]:
    """Feed a version the events at positions, some at a time; how many."""
    for some in (positions[start : start + AT_ONCE] for start in range(0, len(positions), AT_ONCE)):
        try:
            log.store.projections().feed(version, Query(since=some[0], until=some[-1], until_time=until_time))
        except HandlerFailed as failed:
            raise HandlerError(
                f"the projection {version.name} cannot be built up to there",
                why=f"a handler fails between positions {some[0]} and {some[-1]}: {failed.reason};"
                " a run names the event",
                fix=f"esctl projection run {word(version.name)}",
                projection=version.name,
            ) from failed
        yield len(some)


_numbers = count(10**15)  # no log has so many versions


def _scratch(projection: Projection, definitions: Definitions) -> Version:
    """A version that is nowhere but in temporary tables; its number tells it from others on the connection."""
    compiled = projections.compiled(projection, definitions.upcasting)
    mark = projections.mark(projection, definitions.upcasting)
    return Version(next(_numbers), projection.name, SCRATCH, False, 0, 0, mark, compiled, None, 0, "")


def _nearest(log: EventLog, version: Version, query: Query, until: int) -> Version | None:
    """The version in the log with the most rows of those that this one is to have; a time is no prefix of the log."""
    if query.until_time is not None:
        return None
    same = (
        v for v in log.store.projections().versions() if v.fingerprint == version.fingerprint and v.name == version.name
    )
    return max((v for v in same if 0 < v.position <= until), key=lambda v: v.position, default=None)


def rows(log: EventLog, projection: Projection, asked: Asked, *, built: bool) -> Picture:
    """Rows of a projection: of its live version, or `built` by `at` on this connection.

    Raises UsageError for what is no column or condition, NotFoundError where there are no tables yet.
    """
    names = list(projection.tables)
    main = projection.name if projection.name in projection.tables else names[0]
    table = asked.table or main
    if table not in projection.tables:
        raise NotFoundError(f"{projection.name} has no table {table}", why=f"it has {', '.join(names)}")
    if not built and table not in live(log, projection.name).compiled.tables:
        raise NotFoundError(
            f"the table {table} is not built yet",
            why="a run builds it",
            fix=f"esctl projection run {word(projection.name)}",
        )
    store = log.store.projections()
    columns = store.columns(table)
    chosen = f"select * from {'temp' if built else 'main'}.{quoted(table)}"
    if asked.where is not None:
        check_condition(asked.where, tuple(columns))
        chosen += f" where ({asked.where}\n)"
    order = _order(asked.order_by, columns) if asked.order_by else ", ".join(map(quoted, store.key(table)))
    chosen += f" order by {order}" * bool(order)
    chosen += f" limit {asked.limit}" if asked.limit is not None else ""
    sums = [_column(name, columns, "--total") for name in asked.totals]
    bars = [_column(name, columns, "--bars") for name in asked.bars]
    try:
        found = list(store.select(chosen))
        made = {name: _sum(store, name, chosen) for name in sums}
    except HandlerFailed as failed:
        raise UsageError(f"--where {str(asked.where)[:80]!r} fails on a row: {failed.reason}") from failed
    return Picture(table, columns, found, made, bars)


def _sum(store: Projections, name: str, chosen: str) -> Any:
    """The sum of a column of numbers over some rows."""
    column = quoted(name)
    odd = f"count(*) filter (where typeof({column}) not in ('integer', 'real', 'null'))"
    total, others = next(store.select(f"select ifnull(sum({column}), 0), {odd} from ({chosen})"))
    if others:
        raise UsageError(f"--total: {name} is no column of numbers", why="it has texts")
    return total


def _column(name: str, columns: Sequence[str], option: str) -> str:
    """A column by its name, in whatever case; raises UsageError."""
    for column in columns:
        if column.lower() == name.lower():
            return column
    import difflib  # noqa: PLC0415 - only a mistake needs it

    near = difflib.get_close_matches(name, columns, 1, 0.5)
    raise UsageError(
        f"{option}: there is no column {name!r}",
        why=f"did you mean {near[0]}?" if near else f"it has {', '.join(columns)}",
    )


def _order(text: str, columns: Sequence[str]) -> str:
    parts = []
    for part in text.split(","):
        name, _, direction = part.strip().rpartition(" ")
        if direction.lower() not in ("asc", "desc") or not name:
            name, direction = part.strip(), "asc"
        parts.append(f"{quoted(_column(name.strip(), columns, '--order-by'))} {direction}")
    return ", ".join(parts)


# Differences


class Cell(NamedTuple):
    """A cell in which two states of a projection differ: in a row that was added, is gone, or changed, told by its key.

    `column` is None for a row that is nothing but its key.
    """

    table: str
    change: str
    key: dict[str, Any]
    column: str | None
    before: Any
    after: Any


class Side(NamedTuple):
    """A table of one of two states that are compared: where it stands, its columns, its key."""

    source: str
    columns: list[str]
    key: list[str]


def between(log: EventLog, projection: Projection, since: Query, until: Query) -> Iterator[int | Cell]:
    """How a projection's rows differ between the ends of two queries: numbers of positions, and then cells."""
    yield from at(log, projection, since)
    before = _put_aside(log, projection)
    yield from at(log, projection, until)
    yield from _cells(log, before, _present(log, projection))


def against(log: EventLog, name: str, drafted: Definitions) -> Iterator[int | Cell]:
    """How a projection's rows would differ, all events taken, if another model held."""
    held, query = log.definitions.model.projections.get(name), Query(until=log.head()[0])
    draft = drafted.model.projections.get(name)
    if held is None and draft is None:
        raise NotFoundError(f"neither model has a projection {name}", fix="esctl projection list")
    before: dict[str, Side] = {}
    if held is not None:
        yield from at(log, held, query)
        before = _put_aside(log, held)
    after: dict[str, Side] = {}
    if draft is not None:
        yield from at(log, draft, query, drafted)
        after = _present(log, draft)
    yield from _cells(log, before, after)


def checked(log: EventLog, name: str) -> Iterator[int | Cell]:
    """How the rows of a live version differ from those of the same definition built anew: none may."""
    version, projection = live(log, name), log.definitions.model.projections[name]
    if not version.compiled.on:
        raise needs_reducer(name, version.reducer)
    if version.fingerprint != projections.mark(projection, log.definitions.upcasting):
        raise UsageError(
            f"{name} is not what the model says by now",
            why="it waits to be built anew",
            fix=f"esctl projection run {word(name)}",
        )
    sides = _sides(log, projection, "main")
    position = log.store.projections().put_aside(version)
    before = {table: side._replace(source=f"{BEFORE}{n}") for n, (table, side) in enumerate(sides.items())}
    # Nothing that is kept may serve: it is what is checked.
    version = _scratch(projection, log.definitions)
    log.store.projections().scratch(version, None, 0)
    yield from _built(log, version, range(1, position + 1))
    yield from _cells(log, before, _present(log, projection))


def _sides(log: EventLog, projection: Projection, place: str) -> dict[str, Side]:
    store = log.store.projections()
    return {t: Side(f"{place}.{quoted(t)}", store.columns(t), store.key(t)) for t in projection.tables}


def _present(log: EventLog, projection: Projection) -> dict[str, Side]:
    return _sides(log, projection, "temp")


def _put_aside(log: EventLog, projection: Projection) -> dict[str, Side]:
    """What was just built, out of the way of what is to be built."""
    sides = _sides(log, projection, "temp")
    log.store.projections().put_aside(_scratch(projection, log.definitions))
    return {table: side._replace(source=f"{BEFORE}{n}") for n, (table, side) in enumerate(sides.items())}


def _cells(log: EventLog, before: Mapping[str, Side], after: Mapping[str, Side]) -> Iterator[Cell]:
    for table in dict.fromkeys((*before, *after)):
        old, new = before.get(table), after.get(table)
        if old is None or new is None:
            yield from _whole(log, table, old or new, "gone" if new is None else "added")
        elif new.key and set(new.key) <= set(old.columns):
            yield from _by_key(log, table, old, new)
        else:
            yield from _as_bags(log, table, old, new)


def _whole(log: EventLog, table: str, side: Side | None, change: str) -> Iterator[Cell]:
    """Every row of a table that only one of two states has."""
    if side is not None:
        for row in log.store.projections().select(f"select {_listed(side.columns)} from {side.source}"):
            yield from _row(table, change, side.key or side.columns, side.columns, row)


def _by_key(log: EventLog, table: str, old: Side, new: Side) -> Iterator[Cell]:
    """Rows are the same where their keys are."""
    select, key = log.store.projections().select, new.key
    same = " and ".join(f"b.{quoted(column)} is a.{quoted(column)}" for column in key)
    order = ", ".join(f"{quoted(column)}" for column in key)
    for one, other, change in ((old, new, "gone"), (new, old, "added")):
        x, y = ("b", "a") if change == "gone" else ("a", "b")
        for row in select(
            f"select {_listed(one.columns, x)} from {one.source} {x}"
            f" where not exists (select 1 from {other.source} {y} where {same}) order by {order}"
        ):
            yield from _row(table, change, key, one.columns, row)
    columns = [c for c in dict.fromkeys((*old.columns, *new.columns)) if c not in key]
    if not columns:
        return
    b, a = (
        [f"{x}.{quoted(c)}" if c in side.columns else "null" for c in columns] for x, side in (("b", old), ("a", new))
    )
    differs = " or ".join(f"{x} is not {y}" for x, y in zip(b, a, strict=True))
    for row in select(
        f"select {_listed(key, 'a')}, {', '.join(b)}, {', '.join(a)} from {old.source} b join {new.source} a on {same}"
        f" where {differs} order by {', '.join(f'a.{quoted(column)}' for column in key)}"
    ):
        names = dict(zip(key, row, strict=False))
        values = row[len(key) :]
        for column, was, is_ in zip(columns, values, values[len(columns) :], strict=False):
            if (type(was), was) != (type(is_), is_):
                yield Cell(table, "changed", names, column, was, is_)


def _as_bags(log: EventLog, table: str, old: Side, new: Side) -> Iterator[Cell]:
    """Without a key a row is its values, and there may be several of it."""
    columns = [column for column in new.columns if column in old.columns]

    def numbered(side: Side) -> str:
        names = _listed(columns)
        return f"select {names}, row_number() over (partition by {names}) from {side.source}"

    for one, other, change in ((old, new, "gone"), (new, old, "added")):
        for row in log.store.projections().select(f"{numbered(one)} except {numbered(other)}") if columns else ():
            yield from _row(table, change, columns, columns, row)


def _row(table: str, change: str, key: Sequence[str], columns: Sequence[str], row: Sequence[Any]) -> Iterator[Cell]:
    """A row that is there on one side only, cell by cell."""
    values = dict(zip(columns, row, strict=False))
    names = {name: values[name] for name in key}
    others: list[str | None] = [name for name in columns if name not in key]
    for name in others or [None]:
        value = None if name is None else values[name]
        yield Cell(
            table, change, names, name, value if change == "gone" else None, value if change == "added" else None
        )


def _listed(columns: Sequence[str], of: str = "") -> str:
    return ", ".join(f"{of}{'.' * bool(of)}{quoted(column)}" for column in columns)
