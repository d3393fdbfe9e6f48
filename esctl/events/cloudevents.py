"""Convert events to CloudEvents 1.0 in JSON, and back. Source: the CloudEvents specification and its extensions.

The stream becomes `subject` and `partitionkey`, the position `sequence`, the recorded time `recordedtime`. Each key of
meta becomes an extension (`correlation_id` and `causation_id` under their documented names). If CloudEvents does not
allow one of the keys or values, the whole meta goes into `esctlmeta` instead, as JSON text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Raw

from esctl.errors import RefusedError
from esctl.events.event import SealedEvent, part_of, whole_number

_ATTRIBUTES = ("specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "data")
_RENAMED = {"correlation_id": "correlationid", "causation_id": "causationid"}
_OWN = ("partitionkey", "sequence", "recordedtime", "esctlmeta", "esctlschema", "esctlerased")
_MAX_EXTENSION_NAME = 20

_decode = msgspec.json.Decoder(dict[str, Raw]).decode


def lines(events: Iterable[SealedEvent], log_id: str) -> Iterator[bytes]:
    """One line of CloudEvents JSON per event."""
    for event, _, _ in events:
        position, stream, _, event_id, type_, schema, time, recorded, data, meta = event
        extensions = {"esctlerased": True} if data is None else _extensions(meta)
        attributes: dict[str, object] = {
            "specversion": "1.0",
            "id": event_id if part_of(event) is None else f"{event_id}/{part_of(event)}",
            "source": extensions.pop("source", f"urn:uuid:{log_id}"),
            "type": type_,
            "subject": stream,
            "time": time,
            "datacontenttype": "application/json",
            "partitionkey": stream,
            "sequence": f"{position:020}",  # consumers compare it as text
            "recordedtime": recorded,
            "esctlschema": schema,
            **extensions,
            "data": None if data is None else Raw(data.encode()),
        }
        yield msgspec.json.encode(attributes) + b"\n"


def _extensions(meta: str) -> dict[str, object]:
    """Meta as extensions, or all of it in `esctlmeta` if CloudEvents does not allow one of its fields."""
    extensions: dict[str, object] = {}
    for key, raw in _decode(meta).items():
        name = _RENAMED.get(key, key)
        if key in _RENAMED.values() or not _is_extension(name, bytes(raw)):
            return {"esctlmeta": meta}
        extensions[name] = raw
    return extensions


def _is_extension(name: str, value: bytes) -> bool:
    """Whether CloudEvents allows an extension of this name and JSON value (`source`, `dataschema`: non-empty text)."""
    if name in ("source", "dataschema"):
        return value[:1] == b'"' and len(value) > len('""')
    if name in _ATTRIBUTES + _OWN or not (name.isascii() and name.isalnum() and name == name.lower()):
        return False
    number = whole_number(value.removeprefix(b"-").decode())
    fits = number is not None and number < 2**31
    return len(name) <= _MAX_EXTENSION_NAME and (value[:1] == b'"' or value in (b"true", b"false") or fits)


def to_line(fields: dict[str, Raw]) -> dict[str, Raw]:
    """Convert the fields of a CloudEvent to those of an input line. Raises RefusedError if it cannot be an event."""
    fields = {name: raw for name, raw in fields.items() if name == "data" or bytes(raw) != b"null"}
    version = bytes(fields.pop("specversion", Raw(b"null")))
    if version != b'"1.0"':
        raise RefusedError(f"the CloudEvent has specversion {version.decode()[:20]}", why='esctl reads "1.0"')
    if "esctlerased" in fields:
        raise RefusedError("the event's payload was erased", why="an erased event cannot be appended")
    if "data_base64" in fields:
        raise RefusedError("the CloudEvent's data is binary", why="esctl stores JSON, not data_base64")
    line: dict[str, Raw] = {name: fields.pop(name) for name in ("id", "type", "time", "data") if name in fields}
    key, subject = fields.pop("partitionkey", None), fields.pop("subject", None)
    stream = subject if subject is not None else key
    if stream is None:
        raise RefusedError("the CloudEvent names no stream", why="give it a subject or a partitionkey")
    line["stream"] = stream
    for unused in ("sequence", "recordedtime", "datacontenttype"):
        fields.pop(unused, None)
    if "esctlschema" in fields:
        line["schema"] = fields.pop("esctlschema")
    meta_text = fields.pop("esctlmeta", None)
    original = {new: old for old, new in _RENAMED.items()}
    meta = {original.get(name, name): raw for name, raw in fields.items()}
    if meta_text is not None:
        meta |= _decode(msgspec.json.decode(meta_text, type=str))
    line["meta"] = Raw(msgspec.json.encode(meta))
    return line
