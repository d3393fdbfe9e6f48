"""Events for the Python API, with data and meta decoded from JSON."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from esctl.events.event import Event as StoredEvent
from esctl.events.event import part_of
from esctl.events.lines import deeper


class Event(msgspec.Struct, frozen=True):
    """A stored event. Times are UTC text with microseconds, `data` and `meta` decoded JSON; `part` (1, 2 …) numbers the
    events that a split upcast makes of one stored event; `erased`: the payload was removed for good.
    """

    position: int
    stream: str
    version: int
    id: str
    type: str
    schema: int
    time: str
    recorded: str
    data: Any
    meta: dict[str, Any]
    part: int | None = None
    erased: bool = False


def decoded(event: StoredEvent) -> Event:
    """An event with its payload decoded."""
    if event.data is None:
        return Event(*event[:8], None, {}, part_of(event), erased=True)
    with deeper(b""):
        payload = json.loads(event.data), json.loads(event.meta)  # whose integers have any size
    return Event(*event[:8], *payload, part_of(event))
