"""Stored events in which an object has a key twice: upcasts and states may read another value than other programs."""

from __future__ import annotations

from collections.abc import Iterator

from esctl.events.query import Query
from esctl.events.repeats import repeats, texts_of
from esctl.log import EventLog


def repeated(log: EventLog, step: int) -> Iterator[tuple[int, str]]:
    """Position and reason of such events, among those whose position is a multiple of `step`."""
    where = f"position % {step} = 0" if step > 1 else None
    events = (event for event, _, _ in log.read(Query(where=where, raw_schema=True)))
    yield from ((position, error.what) for position, error in repeats(texts_of(events)))
