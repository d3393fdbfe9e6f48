"""Events as Python sees them: payloads decoded."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from esctl.events.event import Event as StoredEvent
from esctl.events.event import part_of
from esctl.events.lines import deeper


class Event(msgspec.Struct, frozen=True):
    """A stored event; times are UTC text with microseconds, `data` and `meta` decoded JSON; `part` is its number among
    those that a split event is read as; `erased`: the payload is gone for good.
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
