"""Find the rows of a log's tables in the pages of its file, whatever state its schema and its trees are in.

A page belongs to a table by the tree that leads to it, or else by the shape of its rows. What is found here is not yet
known to be right: events are proved by the chain, see `salvaging`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from esctl.store.pages import INDEX_INNER, INDEX_LEAF, TABLE_INNER, TABLE_LEAF, BrokenError, Cell, Pages, Value

HASH, SALT = 32, 16  # bytes


def _blob(size: int) -> Callable[[Value], bool]:
    return lambda value: isinstance(value, bytes) and len(value) == size


def _or_null(test: Callable[[Value], bool]) -> Callable[[Value], bool]:
    return lambda value: value is None or test(value)


def _int(value: Value) -> bool:
    return isinstance(value, int)


def _text(value: Value) -> bool:
    return isinstance(value, str)


def _bytes(value: Value) -> bool:
    return isinstance(value, bytes)


def _null(value: Value) -> bool:
    return value is None


_HASH = _blob(HASH)
# The columns of each table that salvage needs; the first is null, because it is the number of the row.
_SHAPES: dict[str, tuple[Callable[[Value], bool], ...]] = {
    "events": (
        _null, _int, _int, _text, _int, _int, _text, _text, _or_null(_text), _or_null(_text), _or_null(_blob(SALT)),
        _HASH,
    ),
    "frames": (_null, _int, _int, _int, _HASH, _int, _int, _int, _HASH, _int, _or_null(_bytes), _or_null(_bytes)),
    "head": (_null, _text, _text, _int, _HASH, _text, _int, _int, _int, _int, _or_null(_text), _bytes),
    "segments": (_null, _int, _HASH, _HASH, _int, _int, _HASH, _text, _text, _or_null(_text), _int),
    "streams": (_null, _text, _int),
    "types": (_null, _text),
    "erased": (_null, _HASH, _int),
}  # fmt: skip
_NAMED = {"sqlite_autoindex_streams_1": "streams", "sqlite_autoindex_types_1": "types"}
_PROVED = frozenset(("events", "frames"))  # by hashes, so a tree that leads elsewhere does not matter


class Place(NamedTuple):
    """An index entry of an event."""

    stream_id: int
    version: int


class Carved:
    """What the pages of a file contain of a log. Names and digests by number; several where pages contradict."""

    def __init__(self, pages: Pages) -> None:
        self.pages = pages
        self.events: dict[int, list[int]] = {}  # places of cells, by position
        self.frames: dict[int, list[int]] = {}  # by first position
        self.broken: list[int] = []  # pages with rows that cannot be read
        self.indexed: dict[int, Place] = {}  # by position
        self._sure: dict[str, dict[int, list[list[Value]]]] = {}
        self._possible: dict[str, dict[int, list[list[Value]]]] = {}
        self.owners: dict[int, str | None] = {}
        self._own()
        for number in range(1, pages.count + 1):
            self._take(number)

    def rows(self, table: str) -> dict[int, list[list[Value]]]:
        """The rows of a small table by their number, without doubles."""
        sure, possible = self._sure.get(table, {}), self._possible.get(table, {})
        return {**possible, **sure}

    def names(self, table: str) -> dict[int, list[str]]:
        """The names of streams or types by their number."""
        return {number: [str(row[1]) for row in rows] for number, rows in self.rows(table).items()}

    def schema(self) -> Iterator[tuple[str, str, int]]:
        """Kind, name and root page of tables and indexes."""
        waiting, seen = [1], set[int]()
        while waiting:
            number = waiting.pop()
            if number in seen or not 0 < number <= self.pages.count:
                continue
            seen.add(number)
            if self.pages.kind(number) == TABLE_INNER:
                waiting += self.pages.children(number)
            for place in self.pages.cells(number) if self.pages.kind(number) == TABLE_LEAF else ():
                try:
                    kind, name, _, root, _ = self.pages.table_cell(place).values
                except (BrokenError, ValueError):
                    continue
                if isinstance(root, int) and root > 0:
                    yield str(kind), str(name), root

    def _own(self) -> None:
        """Find which page belongs to which table or index; None: several trees lead to it."""
        for kind, name, root in self.schema():
            waiting = [root]
            while waiting:
                number = waiting.pop()
                if not 1 < number <= self.pages.count:
                    continue
                if number in self.owners:
                    self.owners[number] = self.owners[number] if self.owners[number] == name else None
                    continue
                self.owners[number] = name
                inner = TABLE_INNER if kind == "table" else INDEX_INNER
                if self.pages.kind(number) == inner:
                    waiting += self.pages.children(number)

    def _take(self, number: int) -> None:
        """Take the rows of a page. A page of an unknown kind may be a damaged leaf; the rest of a long row begins with
        the high byte of a page's number, 0.
        """
        kind = self.pages.kind(number)
        if kind in (INDEX_LEAF, INDEX_INNER):
            self._take_index(number, inner=kind == INDEX_INNER)
        elif kind not in (TABLE_INNER, 0, -1):
            whole = kind == TABLE_LEAF
            for place in self.pages.cells(number):
                try:
                    self._take_row(number, self.pages.table_cell(place))
                except (BrokenError, IndexError):
                    whole = False
            if not whole:
                self.broken.append(number)

    def _take_row(self, number: int, cell: Cell) -> None:
        owner, values = self.owners.get(number), cell.values
        assert cell.rowid is not None
        if owner == "streams" and len(values) == 2:  # of a log from before there were archives
            values = [*values, 0]
        for table, shape in _SHAPES.items():
            if len(values) != len(shape) or not all(test(value) for test, value in zip(shape, values, strict=True)):
                continue
            if table in _PROVED:
                places = self.events if table == "events" else self.frames
                places.setdefault(cell.rowid, []).append(cell.place)
            elif owner is None or owner == table:
                kept = (self._possible if owner is None else self._sure).setdefault(table, {})
                rows = kept.setdefault(cell.rowid, [])
                if values not in rows:
                    rows.append(values)
            return
        if owner in _SHAPES:
            raise BrokenError

    def _take_index(self, number: int, *, inner: bool) -> None:
        """Take the entries of the index on events by stream and version, and of those on names."""
        owner = self.owners.get(number)
        if owner not in (None, "sqlite_autoindex_events_2", *_NAMED):
            return
        for place in self.pages.cells(number):
            try:
                values = self.pages.index_cell(place, inner=inner).values
            except (BrokenError, IndexError):
                continue
            if owner in _NAMED and len(values) == 2 and _text(values[0]) and isinstance(values[1], int):
                known = self._possible.setdefault(_NAMED[owner], {}).setdefault(values[1], [])
                if all(row[1] != values[0] for row in known):
                    known.append([None, values[0], 0])
            elif len(values) == 3 and all(isinstance(value, int) for value in values):
                stream_id, version, position = (int(value) for value in values)  # type: ignore[arg-type]
                self.indexed.setdefault(position, Place(stream_id, version))
