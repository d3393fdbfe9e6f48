"""What links events: meta names the event that caused another, and a correlation that several share."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from esctl.events import chain
from esctl.events.cloudevents import original_id
from esctl.events.fields import members

CAUSE, CORRELATION, SOURCE = "causation_id", "correlation_id", "source"
ORIGINAL = "id"  # the original id of a CloudEvent


def value(meta: str | None, key: str) -> str | None:
    """A member of meta: a text by its value, anything else by its JSON text; None without one, and for null."""
    return _value(members(meta).get(key)) if meta is not None else None


def _value(raw: str | None) -> str | None:
    if raw is None or raw == "null":
        return None
    return str(msgspec.json.decode(raw)) if raw.startswith('"') else raw


def names(event_id: str, meta: str | None) -> list[str]:
    """The ids by which other events may name an event: the one in the log, and the original one of a CloudEvent."""
    source = value(meta, SOURCE)
    original = original_id(event_id, source) if source else None
    return [event_id] if original is None else [event_id, original]


def hash_of(key: str, of: str) -> int:
    """The 48-bit hash under which an event with this value of a key is found."""
    return int.from_bytes(chain.sha256(f"{key} {of}".encode(errors="surrogatepass")).digest()[:6])


def hashes(event_id: str, meta: str) -> Iterator[int]:
    """The hashes under which an event is found: of its cause, its correlation, and its original id."""
    found = members(meta)
    for key in (CAUSE, CORRELATION):
        if (of := _value(found.get(key))) is not None:
            yield hash_of(key, of)
    if (source := _value(found.get(SOURCE))) and (original := original_id(event_id, source)) is not None:
        yield hash_of(ORIGINAL, original)
