"""Find the event on which a read has failed."""

from __future__ import annotations

import apsw

from esctl.errors import EsctlError
from esctl.events.query import Query
from esctl.store.reads import NO_LIMIT, Scan
from esctl.store.windows import POINTS, Reading, Windows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def failing(reading: Reading, scan: Scan) -> int | None:
    """The position of the first event of a query that cannot be read; None if each can be read alone."""
    columns = "position, stream, version, type, schema, data, part"

    def read(table: str, bounds: dict[str, Any]) -> None:
        statement = scan.sql(columns, reverse=False, table=table, points=POINTS in bounds)
        with scan.patience:
            reading.connection.execute(statement, {**scan.parameters, **bounds, "most": NO_LIMIT}).fetchall()

    for window in Windows(reading, scan):
        with window as (table, bounds):
            try:
                read(table, bounds)
            except (apsw.Error, EsctlError):
                for key in range(bounds["low"], bounds["high"] + 1):
                    try:
                        read(table, {"low": key, "high": key})
                    except (apsw.Error, EsctlError):
                        return _position(reading, scan, table, key)
    return None


def position_of(reading: Reading, scan: Scan, version: int) -> int | None:
    """The position of the event with a version in a scan of one stream."""
    for window in Windows(reading, Scan(scan.key, version, version, Query())):
        with window as (table, _):
            return _position(reading, scan, table, version)
    return None


def _position(reading: Reading, scan: Scan, table: str, key: int) -> int | None:
    """The position of the event with a key."""
    raw = Scan(scan.key, key, key, Query())
    raw.conditions = scan.conditions[: 1 if scan.key == "version" else 0]
    parameters = {**scan.parameters, "low": key, "high": key, "most": 1}
    found: int | None = reading.connection.execute(raw.sql("position", reverse=False, table=table), parameters).get
    return found
