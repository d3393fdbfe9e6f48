"""Stored events in which an object has a key twice: upcasts and states may read another value than other programs."""

from __future__ import annotations

from collections.abc import Iterator

from esctl.errors import RefusedError
from esctl.events.lines import check_unique
from esctl.events.query import Query
from esctl.log import EventLog


def repeated(log: EventLog, step: int) -> Iterator[tuple[int, str]]:
    """Position and reason of such events, among those whose position is a multiple of `step`.

    An append refuses them; earlier versions of esctl stored them.
    """
    where = f"position % {step} = 0" if step > 1 else None
    for event, _, _ in log.read(Query(where=where, raw_schema=True)):
        for what, text in (("data", event.data), ("meta", event.meta)):
            if text not in (None, "{}"):
                try:
                    check_unique(text.encode(), what)
                except RefusedError as error:
                    yield event.position, error.what
                    break
