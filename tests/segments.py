"""A log of twelve events, and the segments that tests make of it."""

from __future__ import annotations

from pathlib import Path

import apsw

from esctl.archive import creation, listing
from esctl.events.event import NewEvent
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.store.archive import Archive
from esctl.store.segments import Segment
from tests.conftest import writer_of

EVENTS = 12


def fill(path: Path, count: int = EVENTS) -> None:
    with EventLog(path, write=True) as log, log.transaction():
        events = [
            NewEvent(f"s-{n % 3}", "T", f"id {n}", None, 1, f'{{"n":{n}}}', "{}", None) for n in range(1, count + 1)
        ]
        writer_of(log).append(events)


def make(log: EventLog, to: Path | None = None, *, until: int = EVENTS, most: int = 4) -> list[Segment]:
    return list(creation.create(log, listing.hot(log, until), most=most, to=to))


def altered(path: Path, sql: str, *values: object) -> None:
    """Change a log by another program."""
    connection = apsw.Connection(str(path))
    connection.execute(sql, values)
    connection.close()


def replayed(log: EventLog, *, hot_only: bool = False) -> list[int]:
    return [event[0] for event, _, _ in log.read(Query(system=True, hot_only=hot_only))]


def place(log: EventLog, segment: Segment) -> Path:
    held = log.store.archive()
    assert held is not None
    path = held.place(segment)
    assert path is not None
    return path


def folder_of(log: EventLog, folder: str | None) -> Path | None:
    return None if folder is None else Path(log.path).parent / folder


def archive_of(log: EventLog) -> Archive:
    archive = log.store.archive()
    assert archive is not None
    return archive
