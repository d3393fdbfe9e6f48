"""Events as CloudEvents 1.0 in JSON, and back. Source: the CloudEvents specification and its documented extensions.

Stream, position and recorded time travel as `subject` and `partitionkey`, `sequence` and `recordedtime`. Meta travels
as extensions where its keys and values can be such (`correlation_id` and `causation_id` under their documented names),
and whole in `esctlmeta` where they cannot.
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
    """A line of JSON for each event."""
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
            "sequence": f"{position:020}",  # compared as text
            "recordedtime": recorded,
            "esctlschema": schema,
            **extensions,
            "data": None if data is None else Raw(data.encode()),
        }
        yield msgspec.json.encode(attributes) + b"\n"


def _extensions(meta: str) -> dict[str, object]:
    """Meta as extensions, or whole in `esctlmeta` if one of its fields cannot be one."""
    extensions: dict[str, object] = {}
    for key, raw in _decode(meta).items():
        name = _RENAMED.get(key, key)
        if key in _RENAMED.values() or not _is_extension(name, bytes(raw)):
            return {"esctlmeta": meta}
        extensions[name] = raw
    return extensions


def _is_extension(name: str, value: bytes) -> bool:
    """Whether CloudEvents allows an extension of this name and JSON value (`source` and `dataschema`: text)."""
    if name in ("source", "dataschema"):
        return value[:1] == b'"' and len(value) > len('""')
    if name in _ATTRIBUTES + _OWN or not (name.isascii() and name.isalnum() and name == name.lower()):
        return False
    whole = whole_number(value.removeprefix(b"-").decode())
    fits = whole is not None and whole < 2**31
    return len(name) <= _MAX_EXTENSION_NAME and (value[:1] == b'"' or value in (b"true", b"false") or fits)


def to_line(fields: dict[str, Raw]) -> dict[str, Raw]:
    """The fields of an event's line from those of a CloudEvent; raises RefusedError for one that has no stream."""
    fields = {name: raw for name, raw in fields.items() if name == "data" or bytes(raw) != b"null"}
    version = bytes(fields.pop("specversion", Raw(b"null")))
    if version != b'"1.0"':
        raise RefusedError(f"the CloudEvent has specversion {version.decode()[:20]}", why='it is "1.0"')
    if "esctlerased" in fields:
        raise RefusedError("the event's payload was erased", why="there is nothing left of it to append")
    if "data_base64" in fields:
        raise RefusedError("the CloudEvent's data is binary", why="data_base64 is no JSON value")
    line: dict[str, Raw] = {name: fields.pop(name) for name in ("id", "type", "time", "data") if name in fields}
    key, subject = fields.pop("partitionkey", None), fields.pop("subject", None)
    stream = subject if subject is not None else key
    if stream is None:
        raise RefusedError("the CloudEvent names no stream", why="its subject or its partitionkey is the stream")
    line["stream"] = stream
    for ours in ("sequence", "recordedtime", "datacontenttype"):
        fields.pop(ours, None)
    if "esctlschema" in fields:
        line["schema"] = fields.pop("esctlschema")
    whole = fields.pop("esctlmeta", None)
    back = {new: old for old, new in _RENAMED.items()}
    meta = {back.get(name, name): raw for name, raw in fields.items()}
    if whole is not None:
        meta |= _decode(msgspec.json.decode(whole, type=str))
    line["meta"] = Raw(msgspec.json.encode(meta))
    return line
