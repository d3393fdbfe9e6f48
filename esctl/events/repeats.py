"""Stored events in which an object has a key twice. An append refuses them; earlier versions of esctl stored them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from esctl.errors import RefusedError
from esctl.events.event import Event
from esctl.events.lines import CHUNK_LINES, are_plain, check_unique

EVENTS_AT_ONCE = CHUNK_LINES // 2  # each has two texts


def repeats(events: Sequence[Event]) -> Iterator[tuple[int, RefusedError]]:
    """Position of each data and meta that has such a key, and the error that an append would give.

    Up to EVENTS_AT_ONCE events are looked at together, which costs half as much as one by one.
    """
    texts = [
        (event.position, what, text.encode())
        for event in events
        for what, text in (("data", event.data), ("meta", event.meta))
        if text not in (None, "{}")
    ]
    if are_plain(b"\n".join([text for _, _, text in texts])):
        return
    for position, what, text in texts:
        try:
            check_unique(text, what)
        except RefusedError as error:
            yield position, error
        except ValueError:
            pass  # it is not JSON: the store's checks report it
