"""Compare two states of a projection's rows, cell by cell."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from esctl.errors import ConflictError, NotFoundError, UsageError, word
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.model import projections
from esctl.model.applied import Definitions
from esctl.model.declared import Projection
from esctl.projections import partial
from esctl.projections.reading import at, feed_some, feed_streams, scratch
from esctl.projections.versions import live, needs_reducer
from esctl.store.projection_rows import TableRows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.store.imagined import Imagined


class Cell(NamedTuple):
    """A cell that differs between two states of a projection: its row was added, is gone, or changed.

    `key` identifies the row. `column` is None if the row has only its key.
    """

    table: str
    change: str
    key: dict[str, Any]
    column: str | None
    before: Any
    after: Any


def between(log: EventLog, projection: Projection, since: Query, until: Query) -> Iterator[int | Cell]:
    """Compare a projection's rows at the ends of two queries: numbers of positions for progress, then cells."""
    with log.store.one_state(large=True):
        yield from at(log, projection, since)
        before = _copied(log, projection)
        yield from at(log, projection, until)
        yield from _cells(before, _present(log, projection))


def against(log: EventLog, name: str, drafted: Definitions) -> Iterator[int | Cell]:
    """Compare a projection's rows, after all events, with those under another model."""
    with log.store.one_state(large=True):
        yield from _against(log, name, drafted)


def _against(log: EventLog, name: str, drafted: Definitions) -> Iterator[int | Cell]:
    current, query = log.definitions.model.projections.get(name), Query(until=log.head().position)
    draft = drafted.model.projections.get(name)
    if current is None and draft is None:
        raise NotFoundError(f"neither model has a projection {name}", fix="esctl projection list")
    before: dict[str, TableRows] = {}
    if current is not None:
        yield from at(log, current, query)
        before = _copied(log, current)
    after: dict[str, TableRows] = {}
    if draft is not None:
        yield from at(log, draft, query, drafted)
        after = _present(log, draft)
    yield from _cells(before, after)


def without(
    log: EventLog, projection: Projection, imagined: Imagined, streams: Collection[str]
) -> Iterator[int | Cell]:
    """Compare a projection's rows, after all events, with those it will have once some payloads in these streams are
    erased. Where each row depends on one stream, only the rows of these are built.
    """
    with log.store.one_state(large=True):
        head, version = log.head().position, scratch(projection, log.definitions)
        alone = partial.columns(version.compiled, streams) is not None
        if alone:
            log.store.projections().scratch(version, None, 0)
            yield from feed_streams(log, version, streams, head)
        else:
            yield from at(log, projection, Query(until=head))
        before = _copied(log, projection)
        version = scratch(projection, log.definitions)
        log.store.projections().scratch(version, None, 0)  # stored rows may contain what will be erased
        with imagined.erased():
            yield from (
                feed_streams(log, version, streams, head) if alone else feed_some(log, version, range(1, head + 1))
            )
        yield from _cells(before, _present(log, projection))


def checked(log: EventLog, name: str) -> Iterator[int | Cell]:
    """Compare the rows of a live version with a rebuild of the same definition: they should be equal."""
    with log.store.one_state(large=True):
        yield from _checked(log, name)


def _checked(log: EventLog, name: str) -> Iterator[int | Cell]:
    version, projection = live(log, name), log.definitions.model.projections[name]
    if not version.compiled.on:
        raise needs_reducer(name, version.reducer)
    if not version.fingerprint:
        raise ConflictError(
            f"the rows of {name} are from before an erasure",
            why="the erasure rebuilds them at its end, or was stopped before it",
            fix=f"esctl projection rebuild {word(name)}",
        )
    if version.fingerprint != projections.mark(projection, log.definitions.upcasting):
        raise UsageError(
            f"{name} is not what the model says by now",
            why="it has to be rebuilt",
            fix=f"esctl projection rebuild {word(name)}",
        )
    position, before = log.store.projections().copy_rows(version)
    # The rebuild starts from nothing: stored rows are what is checked.
    version = scratch(projection, log.definitions)
    log.store.projections().scratch(version, None, 0)
    yield from feed_some(log, version, range(1, position + 1))
    yield from _cells(before, _present(log, projection))


def _present(log: EventLog, projection: Projection) -> dict[str, TableRows]:
    return {table: log.store.projections().rows_of(table, built=True) for table in projection.tables}


def _copied(log: EventLog, projection: Projection) -> dict[str, TableRows]:
    """Copy the rows just built, and drop the tables, whose names are needed again."""
    return log.store.projections().copy_rows(scratch(projection, log.definitions))[1]


def _cells(before: Mapping[str, TableRows], after: Mapping[str, TableRows]) -> Iterator[Cell]:
    for table in dict.fromkeys((*before, *after)):
        old, new = before.get(table), after.get(table)
        if old is None or new is None:
            yield from _whole(table, old or new, "gone" if new is None else "added")
        elif new.key and set(new.key) <= set(old.columns):
            yield from _by_key(table, old, new)
        else:
            yield from _as_bags(table, old, new)


def _whole(table: str, rows: TableRows | None, change: str) -> Iterator[Cell]:
    """Every row of a table that only one of the two states has."""
    if rows is not None:
        for row in rows.all():
            yield from _row(table, change, rows.key or rows.columns, rows.columns, row)


def _by_key(table: str, old: TableRows, new: TableRows) -> Iterator[Cell]:
    """Match rows by their keys."""
    key = new.key
    for one, other, change in ((old, new, "gone"), (new, old, "added")):
        for row in one.missing_from(other, key):
            yield from _row(table, change, key, one.columns, row)
    columns = [c for c in dict.fromkeys((*old.columns, *new.columns)) if c not in key]
    for row in old.changed(new, key, columns) if columns else ():
        names = dict(zip(key, row, strict=False))
        values = row[len(key) :]
        for column, was, is_ in zip(columns, values, values[len(columns) :], strict=False):
            if (type(was), was) != (type(is_), is_):
                yield Cell(table, "changed", names, column, was, is_)


def _as_bags(table: str, old: TableRows, new: TableRows) -> Iterator[Cell]:
    """Without a key a row is identified by its values, and may occur several times."""
    columns = [column for column in new.columns if column in old.columns]
    for one, other, change in ((old, new, "gone"), (new, old, "added")):
        for row in one.surplus(other, columns) if columns else ():
            yield from _row(table, change, columns, columns, row)


def _row(table: str, change: str, key: Sequence[str], columns: Sequence[str], row: Sequence[Any]) -> Iterator[Cell]:
    """The cells of a row that only one state has."""
    values = dict(zip(columns, row, strict=False))
    names = {name: values[name] for name in key}
    others: list[str | None] = [name for name in columns if name not in key]
    for name in others or [None]:
        value = None if name is None else values[name]
        yield Cell(
            table, change, names, name, value if change == "gone" else None, value if change == "added" else None
        )
