"""Convert events to CloudEvents 1.0 in JSON, and back. Source: the CloudEvents specification and its extensions.

**Identity.** Source and id together identify a CloudEvent. It is stored with the id `SOURCE/ID` (`/` and `%` in ID are
`%2F` and `%25`, so that different pairs never meet) and with `source` in meta. On the way out, source and id are the
original ones. All other events have their own id and the log's source, `urn:uuid:<log id>`. Where neither rule gives
back the id that is stored, it is in `esctlid`.

**Attributes.** The stream becomes `subject` and `partitionkey`, the position `sequence`, the recorded time
`recordedtime`. Each key of meta becomes an extension (`correlation_id` and `causation_id` under their documented
names). An attribute that a log has no place for, such as another producer's `sequence`, is kept in meta and replaces
esctl's own. Where the way back would not give exactly the same meta, all of it is in `esctlmeta` too, as JSON text.

**Data.** A CloudEvent without data has the payload `{}` and `data_absent` in meta; one with `data_base64` has that text
as payload and `data_base64` in meta.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Iterator, Mapping

import msgspec
from msgspec import Raw

from esctl.errors import RefusedError
from esctl.events.event import SealedEvent, part_of, whole_number
from esctl.events.json import Deeper
from esctl.events.keys import check_keys

_ATTRIBUTES = ("specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "data")
_RENAMED = {"correlation_id": "correlationid", "causation_id": "causationid"}
_ORIGINAL = {new: old for old, new in _RENAMED.items()}
_REPLACED = ("partitionkey", "sequence", "recordedtime")  # esctl writes them itself if meta does not have them
_OWN = (*_REPLACED, "esctlmeta", "esctlschema", "esctlerased", "esctlid")
_ABSENT, _BASE64 = "data_absent", "data_base64"  # keys of meta that no extension can have
_LOG_SOURCE = "urn:uuid:"  # the source of events that had none begins with it
_MAX_EXTENSION_NAME = 20
_RANKS = {"source": 0, "datacontenttype": 1, _ABSENT: 3, _BASE64: 3}  # of all other keys: 2
_TRUE = Raw(b"true")

_decode_object = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode


def stored_id(source: str, id_: str) -> str:
    """The id in the log of the CloudEvent with this source and id."""
    return f"{source}/{id_.replace('%', '%25').replace('/', '%2F')}"


def original_id(stored: str, source: str) -> str | None:
    """The id of the CloudEvent that is stored with this id, if it is one of this source."""
    if not stored.startswith(f"{source}/"):
        return None
    found = stored[len(source) + 1 :].replace("%2F", "/").replace("%25", "%")
    return found if found and stored_id(source, found) == stored else None


def lines(events: Iterable[SealedEvent], log_id: str) -> Iterator[bytes]:
    """One line of CloudEvents JSON per event."""
    for event, _, _ in events:
        position, stream, _, event_id, type_, schema, time, recorded, data, meta = event
        attributes: dict[str, object] = {
            "specversion": "1.0",
            "id": event_id,
            "source": f"{_LOG_SOURCE}{log_id}",
            "type": type_,
            "subject": stream,
            "time": time,
            "datacontenttype": "application/json",
            "partitionkey": stream,
            "sequence": f"{position:020}",  # consumers compare it as text
            "recordedtime": recorded,
            "esctlschema": schema,
        }
        name = "data"
        if data is None:
            attributes["esctlerased"] = True
        elif meta != "{}":
            name = _add_meta(attributes, event_id, meta, data)
        if (part := part_of(event)) is not None:
            attributes |= {name: f"{attributes[name]}/{part}" for name in ("id", "esctlid") if name in attributes}
        if name:
            attributes[name] = None if data is None else Raw(data.encode())
        yield msgspec.json.encode(attributes) + b"\n"


def _add_meta(attributes: dict[str, object], event_id: str, meta: str, data: str) -> str:
    """Add meta to the attributes of a CloudEvent; return the name under which its data goes, empty if it has none."""
    fields = _decode(meta)
    has_source = "source" in fields and _is_text(fields["source"])
    if has_source:
        _add_source(attributes, event_id, fields["source"])
        if not _is_text(fields.get("datacontenttype", Raw(b""))):
            del attributes["datacontenttype"]
    name, same = "data", [*fields] == sorted(fields, key=_rank)
    for key, raw in fields.items():
        extension = _RENAMED.get(key, key)
        if key == "source":
            same = same and has_source
        elif key == "datacontenttype" and _is_text(raw):
            attributes[key], same = raw, same and has_source
        elif key in _REPLACED and _is_text(raw):
            attributes[key], same = raw, False
        elif key == _ABSENT and data == "{}" and bytes(raw) == b"true":
            name = ""
        elif key == _BASE64 and bytes(raw) == b"true" and _is_base64(data.encode()):
            name = _BASE64
        elif key not in _ORIGINAL and _is_extension(extension, bytes(raw), long_names=has_source):
            attributes[extension] = raw
        else:
            same = False
    if not same:
        attributes["esctlmeta"] = meta
    return name


def _decode(meta: str) -> dict[str, Raw]:
    with Deeper():
        return _decode_object(meta)


def _add_source(attributes: dict[str, object], event_id: str, raw: Raw) -> None:
    """Add an event's own source, the id that it has there, and the id in the log if it does not follow from the two."""
    source = _decode_text(raw)
    found = original_id(event_id, source)
    attributes |= {"source": raw, "id": found or event_id}
    if found is None or source.startswith(_LOG_SOURCE):
        attributes["esctlid"] = event_id


def _rank(key: str) -> int:
    """The place of a key in meta as `_meta` makes it."""
    return _RANKS.get(key, 2)


def _is_text(raw: Raw) -> bool:
    """Whether a JSON value is a text that is not empty."""
    return bytes(raw)[:1] == b'"' and bytes(raw) != b'""'


def _is_base64(value: bytes) -> bool:
    """Whether a JSON value is a text in base64."""
    try:
        binascii.a2b_base64(_decode_text(value), strict_mode=True)
    except ValueError:  # msgspec's errors are ValueErrors
        return False
    return True


def _is_extension(name: str, value: bytes, *, long_names: bool) -> bool:
    """Whether CloudEvents allows an extension of this name and JSON value (`dataschema`: non-empty text).

    It advises against names of more than 20 characters: those of other producers only, with `long_names`, are kept.
    """
    if name == "dataschema":
        return value[:1] == b'"' and value != b'""'
    if name in _ATTRIBUTES + _OWN or not (name.isascii() and name.isalnum() and name == name.lower()):
        return False
    number = whole_number(value.removeprefix(b"-").decode())
    fits = number is not None and number < 2**31
    is_value = value[:1] == b'"' or value in (b"true", b"false") or fits
    return is_value and (long_names or len(name) <= _MAX_EXTENSION_NAME)


def to_line(fields: Mapping[str, Raw], stream: str | None = None) -> dict[str, Raw]:
    """Convert the fields of a CloudEvent to those of an input line; `stream`: for a CloudEvent that names none.

    Raises RefusedError if it cannot be an event.
    """
    fields = {name: raw for name, raw in fields.items() if name == "data" or bytes(raw) != b"null"}
    version = bytes(fields.pop("specversion", Raw(b"null")))
    if version != b'"1.0"':
        raise RefusedError(f"the CloudEvent has specversion {version.decode()[:20]}", why='esctl reads "1.0"')
    if "esctlerased" in fields:
        raise RefusedError("the event's payload was erased", why="an erased event cannot be appended")
    line: dict[str, Raw] = {name: fields.pop(name) for name in ("type", "time", "data") if name in fields}
    line |= {"stream": found} if (found := _stream(fields, stream)) is not None else {}
    has_own_source = "esctlid" not in fields and "esctlschema" in fields
    has_own_source = has_own_source and bytes(fields.get("source", b"")).startswith(f'"{_LOG_SOURCE}'.encode())
    line |= {"id": found} if (found := _id(fields, has_own_source=has_own_source)) is not None else {}
    if has_own_source:
        del fields["source"]
        fields.pop("datacontenttype", None)
    if "esctlschema" in fields:
        line["schema"] = fields.pop("esctlschema")
        fields = {name: raw for name, raw in fields.items() if name not in _REPLACED}
    marker = _data(line, fields)
    line["meta"] = _meta(fields, marker)
    return line


def _stream(fields: dict[str, Raw], default: str | None) -> Raw | None:
    """The stream of a CloudEvent, None for the default; a partition key of its own stays in the fields."""
    subject, key = fields.pop("subject", None), fields.get("partitionkey")
    if subject is None and key is None and default is None:
        raise RefusedError(
            "the CloudEvent names no stream",
            why="give it a subject or a partitionkey, or name the stream of all such events with --stream",
            fix="esctl append --help",
        )
    if subject is None or subject == key:
        fields.pop("partitionkey", None)
    return key if subject is None else subject


def _id(fields: dict[str, Raw], *, has_own_source: bool) -> Raw | None:
    """The id that a CloudEvent gets in the log; None if it has none."""
    id_, stored, source = fields.pop("id", None), fields.pop("esctlid", None), fields.get("source")
    if stored is not None:
        return stored
    if id_ is None or source is None or has_own_source or not (_is_text(id_) and _is_text(source)):
        return id_
    return Raw(msgspec.json.encode(stored_id(_decode_text(source), _decode_text(id_))))


def _data(line: dict[str, Raw], fields: dict[str, Raw]) -> str:
    """Set the payload of a line, if `data` did not; return the key of meta that says how it was given, or nothing."""
    encoded = fields.pop(_BASE64, None)
    if encoded is None:
        return "" if "data" in line else _ABSENT
    if "data" in line:
        raise RefusedError("the CloudEvent has both data and data_base64", why="it may have one of them")
    if not _is_base64(bytes(encoded)):
        raise RefusedError("the CloudEvent's data_base64 is not base64", why="it is a text in the alphabet of RFC 4648")
    line["data"] = encoded
    return _BASE64


def _meta(fields: dict[str, Raw], marker: str) -> Raw:
    """The meta of a line: what `esctlmeta` says and what somebody added since, or all that is left of the fields."""
    text = fields.pop("esctlmeta", None)
    extensions = {_ORIGINAL.get(name, name): raw for name, raw in fields.items()}
    if text is None:
        extensions |= {marker: _TRUE} if marker else {}
        return Raw(msgspec.json.encode({key: extensions[key] for key in sorted(extensions, key=_rank)}))
    meta_text = _decode_text(text)
    meta = _decode(meta_text)
    check_keys(meta_text.encode(), "esctlmeta")
    own = ("source", "datacontenttype", *_REPLACED, *meta)
    added = {key: raw for key, raw in extensions.items() if key not in own}
    return Raw(msgspec.json.encode(meta | added) if added else meta_text.encode())
