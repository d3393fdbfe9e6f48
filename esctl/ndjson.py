"""Lines of NDJSON -> new events, checked; `esctl help format` says what a line may hold."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Callable, Iterator

import msgspec
from msgspec import Raw

from esctl.errors import RefusedError
from esctl.events import (
    EXPECT_WORDS,
    MAX_DEPTH,
    Expect,
    NewEvent,
    check_depth,
    check_name,
    check_schema,
    check_stream,
    max_event_bytes,
    nesting,
    new_ids,
    one_line,
)
from esctl.times import canonical

_PAIR_BYTES = 9  # of _SURROGATE's first branch, up to where the pair is recognised
_ABSENT = Raw(b"")
_ENVELOPE = ("stream", "type", "data", "id", "time", "schema", "meta", "expect")
_REPLAYED = ("position", "version", "recorded", "salt", "hash")  # a log gives its own; so `replay | append` works
_SURROGATE = re.compile(rb"(?<!\\)(?:\\\\)*(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F]|\\u[dD][89a-fA-F])")


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    """One event of the input. `Raw` keeps a value's text byte for byte; an empty one stands for an absent key."""

    stream: str | None = None
    type: str | None = None
    data: Raw = _ABSENT
    id: str | None = None
    time: str | None = None
    schema: int | None = None
    meta: Raw = _ABSENT
    expect: Expect | None = None
    position: Raw = _ABSENT
    version: Raw = _ABSENT
    recorded: Raw = _ABSENT
    salt: Raw = _ABSENT
    hash: Raw = _ABSENT


class Defaults(msgspec.Struct, frozen=True):
    """What lines that lack a field get; `payload`: the whole line is the data; `extra`: unknown keys go to meta."""

    stream: str | None = None
    type: str | None = None
    schema: int = 1
    meta: dict[str, Raw] = {}
    payload: bool = False
    extra: bool = False


_decode_line = msgspec.json.Decoder(_Line).decode
_decode_object = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_raw = msgspec.json.Decoder(Raw).decode


def parser(defaults: Defaults) -> Callable[[bytes], NewEvent]:
    """A function from a line (no LF, not blank) to its event; it raises RefusedError with `byte` where it knows it."""
    limit = max_event_bytes()
    ids = new_ids()
    decode = _payload if defaults.payload else _with_extra if defaults.extra else _decode_line

    def parse(line: bytes) -> NewEvent:
        if len(line) > limit:
            raise too_large(limit)
        try:
            try:
                decoded = decode(line)
            except RecursionError:
                decoded = _deeply(decode, line)
            return _event(decoded, defaults, ids)
        except ValueError as error:  # msgspec's errors and UnicodeDecodeError are ValueErrors
            raise _refusal(line, error) from error

    return parse


def too_large(limit: int) -> RefusedError:
    """The refusal of a line of more than `limit` bytes."""
    return RefusedError(f"the event is larger than {limit} bytes", fix="ESCTL_MAX_EVENT=67108864 esctl append …")


def _deeply(decode: Callable[[bytes], _Line], line: bytes) -> _Line:
    """Decode what is nested up to MAX_DEPTH: Python's own limit is about that, less the frames that are in use."""
    if line.count(b"[") + line.count(b"{") > MAX_DEPTH + 1 and nesting(line.decode()) > MAX_DEPTH + 1:
        raise RefusedError("the JSON is nested too deeply", why=f"{MAX_DEPTH} levels is SQLite's limit")
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(before + 2 * MAX_DEPTH)
    try:
        return decode(line)
    finally:
        sys.setrecursionlimit(before)


def _payload(line: bytes) -> _Line:
    return _Line(data=_decode_raw(line))


def _with_extra(line: bytes) -> _Line:
    """Move the keys that no envelope has into meta; a key that meta has already wins."""
    fields = _decode_object(line)
    extra = {key: fields.pop(key) for key in list(fields) if key not in _ENVELOPE + _REPLAYED}
    if extra:
        fields["meta"] = Raw(msgspec.json.encode(extra | _meta(fields.get("meta", _ABSENT))))
    return _decode_line(msgspec.json.encode(fields))


def _meta(raw: Raw) -> dict[str, Raw]:
    return _decode_object(raw) if bytes(raw) not in (b"", b"null") else {}


def _event(line: _Line, defaults: Defaults, ids: Iterator[str]) -> NewEvent:
    stream = line.stream or defaults.stream
    type_ = line.type or defaults.type
    if not stream or not type_:
        lacking = "type" if stream else "stream"
        raise RefusedError(
            f"the event has no {lacking}", fix=f"give the line a {lacking!r}, or all lines one with --{lacking}"
        )
    check_stream(stream)
    check_name("type", type_)
    event_id = line.id
    if event_id is None:
        event_id = next(ids)
    else:
        check_name("id", event_id)
    schema = defaults.schema if line.schema is None else line.schema
    if schema != 1:
        check_schema(schema)
    if isinstance(line.expect, str) and line.expect not in EXPECT_WORDS:
        raise RefusedError(f"expect is {line.expect!r}", why="it is any, none, exists or a version")
    data = str(line.data, "utf-8") or "{}"
    if "\r" in data or "\n" in data:
        data = one_line(data)
    check_depth(data)
    time = None if line.time is None else canonical(line.time)
    return stream, type_, event_id, time, schema, data, _meta_text(line.meta, defaults.meta), line.expect


def _meta_text(raw: Raw, added: dict[str, Raw]) -> str:
    """The text of meta, a JSON object; kept as it came unless there is something to add."""
    text = str(raw, "utf-8")
    if added or text in ("", "null"):
        return msgspec.json.encode(added | _meta(raw)).decode() if added else "{}"
    if text[0] != "{":
        raise RefusedError("meta is not a JSON object")
    check_depth(text)
    return one_line(text) if "\r" in text or "\n" in text else text


def _refusal(line: bytes, error: ValueError) -> RefusedError:
    """Say in the reader's words, with the byte (from 1) where it is known, why a line could not be decoded."""
    try:
        line.decode()
    except UnicodeDecodeError as undecodable:
        return RefusedError("the line is not valid UTF-8", why=undecodable.reason, byte=undecodable.start + 1)
    text = str(error)
    if "surrogate" in text or "truncated" in text:
        for match in _SURROGATE.finditer(line):
            if len(match[1]) < _PAIR_BYTES:
                return RefusedError(
                    "the line has half of a surrogate pair", why="such text is not Unicode", byte=match.start(1) + 1
                )
    if unknown := re.search(r"unknown field `(.*?)`", text):
        return _unknown_key(unknown[1])
    if isinstance(error, msgspec.ValidationError):
        return RefusedError("the line is not an event", why=text[0].lower() + text[1:])
    place = re.search(r" \(byte (\d+)\)", text)
    reason = re.sub(r" \(byte \d+\)", "", text).removeprefix("JSON is malformed: ")
    return RefusedError("the line is not JSON", why=reason, byte=int(place[1]) + 1 if place else len(line))


def _unknown_key(key: str) -> RefusedError:
    near = difflib.get_close_matches(key, _ENVELOPE, 1)
    return RefusedError(
        f"the line has the unknown key {key!r}",
        why=f"did you mean {near[0]!r}?" if near else f"the keys are {', '.join(_ENVELOPE)}",
        fix="--extra meta   (keeps unknown keys in meta)",
    )
