"""What links events: meta names the event that caused another, and a correlation that several share."""

from __future__ import annotations

import re
from collections.abc import Iterator
from zlib import crc32

import msgspec

from esctl.events.cloudevents import original_id
from esctl.events.fields import members

CAUSE, CORRELATION, SOURCE = "causation_id", "correlation_id", "source"
ORIGINAL = "id"  # the original id of a CloudEvent
_MEMBERS = re.compile(rf'"({CAUSE}|{CORRELATION}|{SOURCE})"\s*:\s*("[^"]*"|[^\s,}}]+)').findall


def value(meta: str | None, key: str) -> str | None:
    """A member of meta: a text by its value, anything else by its JSON text; None without one, and for null."""
    return _value(members(meta).get(key)) if meta is not None else None


def _value(raw: str | None) -> str | None:
    if raw is None or raw == "null":
        return None
    if not raw.startswith('"'):
        return raw
    return str(msgspec.json.decode(raw)) if "\\" in raw else raw[1:-1]


def names(event_id: str, meta: str | None) -> list[str]:
    """The ids by which other events may name an event: the one in the log, and the original one of a CloudEvent."""
    source = value(meta, SOURCE)
    original = original_id(event_id, source) if source else None
    return [event_id] if original is None else [event_id, original]


def hash_of(key: str, of: str) -> int:
    """The CRC-32 under which an event with this value of a key is found."""
    return crc32(f"{key} {of}".encode(errors="surrogatepass"))


def hashes(event_id: str, meta: str) -> Iterator[int]:
    """The hashes under which an event is found: of its cause, its correlation, and its original id."""
    # Most meta has one level and no escapes. To parse the others takes three times as long.
    plain = "\\" not in meta and meta.count("{") == 1 and "[" not in meta
    found = dict(_MEMBERS(meta)) if plain else members(meta)
    for key in (CAUSE, CORRELATION):
        if (of := _value(found.get(key))) is not None:
            yield hash_of(key, of)
    if (source := _value(found.get(SOURCE))) and (original := original_id(event_id, source)) is not None:
        yield hash_of(ORIGINAL, original)
