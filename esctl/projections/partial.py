"""Build a projection anew for some streams only, where its rows depend on the events of one stream each."""

from __future__ import annotations

from collections.abc import Callable, Collection

from esctl.events.query import Query
from esctl.log import EventLog
from esctl.model.compiled import BUILDING, LIVE, Compiled, HandlerFailed, Version
from esctl.projections.versions import serialized
from esctl.store.partitions import by_stream

MAX_STREAMS = 1000  # for more of them, a build from the first event is as fast


def columns(compiled: Compiled, streams: Collection[str]) -> dict[str, str] | None:
    """The column of each table by which its rows can be told apart, so that those of some streams can be built alone;
    None if they cannot, or if this would not be faster.
    """
    return by_stream(compiled) if 0 < len(streams) <= MAX_STREAMS else None


def begin(log: EventLog, live: Version, building: Version, streams: Collection[str], fits: Callable[[], bool]) -> bool:
    """Begin a new version with the rows of the live one, except those of some streams, which are built from their
    events. Return whether it was done: not if rows may depend on more than one stream, nor, within the transaction,
    unless it still `fits`.

    The new tables get only what their rows have now: what SQLite may have left in the old ones stays behind.
    """
    apart = columns(building.compiled, streams)
    if apart is None or serialized(live.compiled) != serialized(building.compiled):
        return False
    projections = log.store.projections()
    try:
        with log.transaction():
            now, new = projections.version(live.version), projections.version(building.version)
            if now is None or new is None or (now.state, new.state, new.position) != (LIVE, BUILDING, 0) or not fits():
                return False
            for table, column in apart.items():
                rows = projections.rows_of(new.actual(table))
                rows.fill(projections.rows_of(now.actual(table)), without=(column, tuple(streams)))
            for stream in sorted(streams):
                projections.feed(new, Query(stream=stream, until=now.position))
            new.position = now.position
            projections.save(new)
    except HandlerFailed:  # the build from the first event says at which event
        return False
    return True
