"""Events for the Python API, with data and meta decoded from JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec

from esctl.events.event import Event as StoredEvent
from esctl.events.event import part_of
from esctl.events.json import Deeper

_TEXTS = ("data_json", "meta_json")


class Event(msgspec.Struct, frozen=True):
    """A stored event. Times are UTC text with microseconds, `data` and `meta` decoded JSON; `part` (1, 2 …) numbers the
    events that a split upcast makes of one stored event; `erased`: the payload was removed for good. `data_json` and
    `meta_json` are the JSON texts, with every number as it was written; None for what was erased.
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
    data_json: str | None = None
    meta_json: str | None = None

    def _decoded(self) -> dict[str, Any]:
        """The fields that tell events apart: two texts may mean the same payload."""
        return {name: getattr(self, name) for name in self.__struct_fields__ if name not in _TEXTS}

    def __eq__(self, other: object) -> bool:
        return self._decoded() == other._decoded() if isinstance(other, Event) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self._decoded().values()))

    def __repr__(self) -> str:
        return f"Event({', '.join(f'{name}={value!r}' for name, value in self._decoded().items())})"


def decoded(event: StoredEvent, read: Callable[[str], Any] = json.loads) -> Event:
    """An event with its payload decoded by `read`; Python's own reads integers of any size."""
    if event.data is None:
        return Event(*event[:8], None, {}, part_of(event), erased=True)
    with Deeper():
        payload = read(event.data), read(event.meta)
    return Event(*event[:8], *payload, part_of(event), False, event.data, event.meta)
