"""Archived events as a virtual SQL table, `archived`, with the columns of `events`; it unpacks frames.

It is searched by position, by stream and version, or by id, and unpacks only frames that may match.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import apsw

from esctl.store.format import ARCHIVED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from esctl.store.archive import Archive, Row, Unpacked

_COLUMNS = "position integer, stream_id integer, version integer, id text, type_id integer, schema integer, time text, "
_COLUMNS += "recorded text, data text, meta text, salt blob, hash blob"
_POSITION, _STREAM, _VERSION, _ID, _SALT, _HASH = 0, 1, 2, 3, 10, 11
ALL = 2**63 - 1


def register(connection: apsw.Connection, archive: Archive) -> None:
    """Create the table `archived` on a connection."""
    source: Any = _Source(archive)
    connection.create_module(
        ARCHIVED, source, use_bestindex_object=True, eponymous=True, eponymous_only=True, read_only=True
    )


class _Source:
    """See apsw.VTModule."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def Connect(self, connection: apsw.Connection, *_: str) -> tuple[str, _Table]:  # noqa: N802 - SQLite's names
        connection.vtab_config(apsw.SQLITE_VTAB_INNOCUOUS)  # it reads only the archive of its log
        return f"create table archived ({_COLUMNS})", _Table(self._archive)

    Create = Connect


_BOUNDS = {
    apsw.SQLITE_INDEX_CONSTRAINT_GE: ">=",
    apsw.SQLITE_INDEX_CONSTRAINT_GT: ">",
    apsw.SQLITE_INDEX_CONSTRAINT_LE: "<=",
    apsw.SQLITE_INDEX_CONSTRAINT_LT: "<",
    apsw.SQLITE_INDEX_CONSTRAINT_EQ: "=",
}


class _Table:
    """See apsw.VTTable."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def BestIndexObject(self, info: apsw.IndexInfo) -> bool:  # noqa: N802
        """Choose an access path: an id, a stream, or else positions; and use the bounds that belong to it."""
        usable = {
            n: (info.get_aConstraint_iColumn(n), _BOUNDS.get(info.get_aConstraint_op(n), ""))
            for n in range(info.nConstraint)
            if info.get_aConstraint_usable(n)
        }
        by_id = next((n for n, what in usable.items() if what == (_ID, "=")), None)
        by_stream = next((n for n, what in usable.items() if what == (_STREAM, "=")), None)
        plan: list[str] = []

        def take(n: int, what: str) -> None:
            plan.append(what)
            info.set_aConstraintUsage_argvIndex(n, len(plan))

        if by_id is not None:
            take(by_id, "id")
        else:
            if by_stream is not None:
                take(by_stream, "stream")
            for n, (column, operator) in usable.items():
                if operator and (column == _POSITION or (column == _VERSION and by_stream is not None)):
                    take(n, f"{'position' if column == _POSITION else 'version'} {operator}")
        orders = [(info.get_aOrderBy_iColumn(n), info.get_aOrderBy_desc(n)) for n in range(info.nOrderBy)]
        sorted_by = (_POSITION, _VERSION) if by_stream is not None else (_POSITION,)
        descending = bool(orders and orders[0][1])
        if orders and orders[0][0] in sorted_by:  # both are unique: further columns do not change the order
            info.orderByConsumed = len(orders) == 1
        info.idxNum = int(descending and info.orderByConsumed)
        info.idxStr = ",".join(plan)
        single = by_id is not None or "position =" in plan or "version =" in plan
        info.estimatedRows = 1 if single else 100 if by_stream is not None else 1_000_000 // (1 + 100 * len(plan))
        info.estimatedCost = 1e3 if single else 1e5 if by_stream is not None else 1e7 / (1 + len(plan))
        return True

    def Open(self) -> _Cursor:  # noqa: N802
        """A cursor."""
        return _Cursor(self._archive)

    def Disconnect(self) -> None:  # noqa: N802
        """There is nothing to close."""

    Destroy = Disconnect


class _Cursor:
    """See apsw.VTCursor."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._blocks: Iterator[tuple[Unpacked, Sequence[Row]]] = iter(())
        self._rows: Sequence[Row] = ()
        self._at = 0
        self._unpacked: Unpacked | None = None

    def Filter(self, number: int, plan: str, values: tuple[Any, ...]) -> None:  # noqa: N802
        """Start a scan."""
        bounds = {"position": (1, ALL), "version": (1, ALL)}
        event_id, stream_id = "", 0
        for what, value in zip(plan.split(",") if plan else (), values, strict=True):
            column, _, operator = what.partition(" ")
            if column == "id":
                event_id = value if isinstance(value, str) else ""
            elif column == "stream":
                stream_id = value if isinstance(value, int) else 0
            elif isinstance(value, int):
                bounds[column] = narrow(bounds[column], operator, value)
        positions, versions = bounds["position"], bounds["version"]
        if plan == "id":
            self._blocks = self._archive.by_id(event_id)
        elif plan.startswith("stream"):
            self._blocks = self._archive.by_stream(stream_id, (*versions, *positions), reverse=bool(number))
        else:
            self._blocks = self._archive.by_position(*positions, reverse=bool(number))
        self._rows, self._at = (), -1
        self.Next()

    def Next(self) -> None:  # noqa: N802
        """Move to the next row."""
        self._at += 1
        while self._at >= len(self._rows):
            block = next(self._blocks, None)
            if block is None:
                self._rows, self._at = (), 0
                return
            self._unpacked, self._rows = block
            self._at = 0

    def Eof(self) -> bool:  # noqa: N802
        """Whether the scan is at its end."""
        return self._at >= len(self._rows)

    def Rowid(self) -> int:  # noqa: N802
        """The position."""
        position: int = self._rows[self._at][_POSITION]
        return position

    def Column(self, number: int) -> Any:  # noqa: N802
        """A value of the current row."""
        if number < _SALT:
            return self._rows[self._at][number] if number >= 0 else self.Rowid()
        assert self._unpacked is not None
        salt, hash_ = self._unpacked.sealed(self.Rowid())
        return hash_ if number == _HASH else salt

    def Close(self) -> None:  # noqa: N802
        """Close the cursor."""
        self._blocks = iter(())


def narrow(bounds: tuple[int, int], operator: str, value: int) -> tuple[int, int]:
    """Apply one more bound to a range, inclusive at both ends."""
    low, high = bounds
    if operator in (">=", ">", "="):
        low = max(low, value + (operator == ">"))
    if operator in ("<=", "<", "="):
        high = min(high, value - (operator == "<"))
    return low, high
