"""Stored events in which an object has a key twice. An append refuses them; earlier versions of esctl stored them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from esctl.errors import RefusedError
from esctl.events.event import Event
from esctl.events.lines import CHUNK_LINES, are_plain, check_unique

Text = tuple[int, str, bytes]
"""A text of an event: its position, whether it is its `data` or its `meta`, and its JSON."""


def texts_of(events: Iterable[Event]) -> Iterator[Text]:
    """The texts of events that are not erased."""
    for event in events:
        for what, text in (("data", event.data), ("meta", event.meta)):
            if text is not None:
                yield event.position, what, text.encode()


def repeats(texts: Iterable[Text]) -> Iterator[tuple[int, RefusedError]]:
    """Position of each text that has such a key, and the error that an append would give."""
    wanted = (text for text in texts if text[2] != b"{}")
    while some := list(islice(wanted, CHUNK_LINES)):  # together, which costs half as much as one by one
        if not are_plain(b"\n".join([text for _, _, text in some])):
            yield from _repeats(some)


def _repeats(texts: Iterable[Text]) -> Iterator[tuple[int, RefusedError]]:
    for position, what, text in texts:
        try:
            check_unique(text, what)
        except RefusedError as error:
            yield position, error
        except ValueError:
            pass  # it is not JSON: the store's checks report it
