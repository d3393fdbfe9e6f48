"""Parse lines of NDJSON into new events, and check them; `esctl help format` documents the lines."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import msgspec
from msgspec import Raw

from esctl.errors import RefusedError
from esctl.events import cloudevents
from esctl.events.event import (
    EXPECT_WORDS,
    MAX_NAME_BYTES,
    Expect,
    NewEvent,
    check_name,
    check_schema,
    check_stream,
    max_event_bytes,
    new_ids,
)
from esctl.events.formats import CUT_OFF
from esctl.events.json import MAX_DEPTH, Deeper, check_depth, nesting, one_line
from esctl.events.keys import check_keys
from esctl.events.times import canonical, is_canonical

BOM = b"\xef\xbb\xbf"
MAX_REMEMBERED = 65_536
_SHORT = 2 * MAX_DEPTH  # no valid JSON of so few characters is nested too deeply
_plain_name = re.compile(f"[!-~]{{1,{MAX_NAME_BYTES}}}").fullmatch
_ONE_BYTE_LATE = ("trailing characters", "unicode escape")  # errors that msgspec reports one byte after the wrong one
_TIME_IS_TEXT = '; a time is a text: "2026-01-31T09:30:00Z", or "@1769848200" for seconds since 1970'
_ABSENT = Raw(b"")
_ENVELOPE = ("stream", "type", "data", "id", "time", "schema", "meta", "expect")
_REPLAYED = (
    "position",
    "version",
    "recorded",
    "salt",
    "hash",
    "erased",
)  # ignored, since the log assigns its own; so `replay | append` works
# The escape of a surrogate: with enough of the second to see that the two are a pair, or alone (half of a pair).
_SURROGATE = re.compile(
    rb"(?<!\\)(?:\\\\)*(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F]|\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    """One event of the input. `Raw` keeps a value's text byte for byte; an empty `Raw` means that the key is absent."""

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
    erased: bool = False


class Defaults(msgspec.Struct, frozen=True):
    """The values for fields that a line lacks. `payload`: the whole line is the data; `extra`: unknown keys go to meta;
    `input`: the format of the lines (auto: a line with `specversion` is a CloudEvent).
    """

    stream: str | None = None
    type: str | None = None
    schema: int = 0  # the newest that the log's model knows
    meta: dict[str, Raw] = {}
    payload: bool = False
    extra: bool = False
    input: Literal["auto", "ndjson", "cloudevents"] = "auto"


_decode_line = msgspec.json.Decoder(_Line).decode
_decode_events = msgspec.json.Decoder(_Line).decode_lines
_decode_object = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_raw = msgspec.json.Decoder(Raw).decode
_decode_raws = msgspec.json.Decoder(Raw).decode_lines
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_decode_lines = msgspec.json.Decoder().decode_lines
_encode_lines = msgspec.json.Encoder().encode_lines

CHUNK_LINES = 128
CHUNK_BYTES = 256 * 1024


def are_plain(lines: bytes) -> bool:
    """Whether none of some lines has a key twice in an object; False also where that is not known.

    Up to CHUNK_LINES lines looked at together cost half as much as one by one.
    """
    if len(lines) > CHUNK_BYTES:
        return False
    try:
        once = _encode_lines(_decode_lines(lines))
    except (ValueError, OverflowError, RecursionError):
        return False
    return once[:-1] == lines or not _may_repeat(lines, once)


def _are_objects(lines: bytes) -> bool:
    """Whether each line looks like an object. No value goes on behind such an end of a line: then as many values as
    lines are one a line, though a decoder of many lines takes several on one, or one on several.
    """
    return lines[:1] == b"{" and lines[-1:] == b"}" and lines.count(b"}\n{") == lines.count(b"\n")


class Parser:
    """Parses lines (no LF, not blank) into events; those without an id get one of `ids`, by default a new one."""

    def __init__(self, defaults: Defaults, ids: Iterator[str] | None = None) -> None:
        self._limit = max_event_bytes()
        self._decode = _decoder(defaults)
        self._decode_chunk = _chunk_decoder(defaults)
        self._events = _events(defaults, ids or new_ids())

    def line(self, line: bytes) -> NewEvent:
        """The event of a line. Raises RefusedError, with `byte` if known."""
        if len(line) > self._limit:
            raise too_large(self._limit)
        try:
            if not line.isascii():
                line.decode()  # msgspec does not check the UTF-8 of what it skips as `Raw`
            try:
                return self._events((self._decode(line),))[0]
            except RecursionError:
                with deeper(line):
                    return self._events((self._decode(line),))[0]
        except ValueError as error:  # msgspec's errors and UnicodeDecodeError are ValueErrors
            raise _refusal(line, error) from error

    def chunk(self, lines: Sequence[bytes | None]) -> list[NewEvent] | None:
        """The events of up to CHUNK_LINES lines. None if a line has to be parsed by itself: it may be wrong, blank,
        too long, or just unusual.
        """
        try:
            text = b"\n".join(lines)  # type: ignore[arg-type]  # a line that is too long is None, and a TypeError
            if not _are_objects(text) or max(map(len, lines)) > self._limit or not are_plain(text):  # type: ignore[arg-type]
                return None
            if not text.isascii():
                text.decode()
            decoded = self._decode_chunk(text)
            return self._events(decoded) if len(decoded) == len(lines) else None
        except (TypeError, ValueError, RecursionError, RefusedError):
            return None


def parser(defaults: Defaults) -> Callable[[bytes], NewEvent]:
    """A function that parses a line; see `Parser.line`."""
    return Parser(defaults).line


def _plain_decoder(defaults: Defaults) -> Callable[[bytes], _Line]:
    """The function that decodes a line that has no key twice, and is no CloudEvent unless all are."""
    if defaults.payload:
        return _payload
    if defaults.input == "cloudevents":
        return lambda line: _cloudevent(line, defaults.stream)
    return _with_extra if defaults.extra else _decode_line


def _chunk_decoder(defaults: Defaults) -> Callable[[bytes], list[_Line]]:
    """The function that decodes many such lines. In doubt whether one is a CloudEvent, it raises a ValueError."""
    if defaults.payload:
        return lambda text: [_Line(data=raw) for raw in _decode_raws(text)]
    if not defaults.extra and defaults.input != "cloudevents":
        return _decode_events  # to which `specversion` is an unknown key
    plain = _plain_decoder(defaults)

    def decode(text: bytes) -> list[_Line]:
        if defaults.input == "auto" and b"specversion" in text:
            raise ValueError
        return [plain(line) for line in text.split(b"\n")]

    return decode


def _decoder(defaults: Defaults) -> Callable[[bytes], _Line]:
    """The function that checks and decodes a line of the format that the defaults name."""
    plain = _plain_decoder(defaults)
    may_be_cloudevent = defaults.input == "auto" and not defaults.payload

    def decode(line: bytes) -> _Line:
        value = _decoded(line)
        if may_be_cloudevent and isinstance(value, dict) and "specversion" in value:
            return _cloudevent(line, defaults.stream)
        return plain(line)

    return decode


def _cloudevent(line: bytes, stream: str | None) -> _Line:
    fields = _decode_object(line)
    if "specversion" not in fields:
        raise RefusedError("the line is not a CloudEvent", why="it has no specversion")
    return _decode_line(msgspec.json.encode(cloudevents.to_line(fields, stream)))


def too_large(limit: int) -> RefusedError:
    """The error for a line of more than `limit` bytes."""
    return RefusedError(
        f"the event is larger than {limit} bytes",
        why="this is the limit; ESCTL_MAX_EVENT sets it, in bytes",
        fix="esctl help environment",
    )


def deeper(text: bytes) -> Deeper:
    """A block in which JSON nested up to MAX_DEPTH can be decoded. Raises RefusedError for deeper JSON."""
    if text.count(b"[") + text.count(b"{") > MAX_DEPTH + 1 and nesting(text.decode()) > MAX_DEPTH + 1:
        raise RefusedError("the JSON is nested too deeply", why=f"{MAX_DEPTH} levels is SQLite's limit")
    return Deeper()


def payload_of(text: bytes, what: str) -> Raw:
    """Check a payload given by itself, as JSON text of one or more lines; `what` names it in the error."""
    if len(text) > (limit := max_event_bytes()):
        raise too_large(limit)
    try:
        check_unique(text, what)
        check_depth(text.decode())
        return Raw(text.strip(b" \t\r\n"))
    except ValueError as error:
        raise _refusal(text, error, what) from error


def _decoded(text: bytes, what: str = "the line") -> object:
    """Decode JSON, at least its outermost object. Refuse an object in which a key occurs twice, at any depth.

    It first compares the JSON with the same decoded and encoded again, which has each key once: whole, or by their
    colons, of which an escape could hide one.
    """
    try:
        value = _decode(text)
        once = _encode(value)
    except (ValueError, OverflowError):  # not JSON, which the next line tells, or a number that only text can hold
        raw = bytes(_decode_raw(text))
        value, once = _decode_object(raw) if raw[:1] == b"{" else None, b""
    if once != text and _may_repeat(text, once):
        check_keys(text, what)
    return value


def _may_repeat(text: bytes, once: bytes) -> bool:
    """Whether JSON may have a key twice that, decoded and encoded again, is `once`."""
    return b"\\" in text or once.count(b":") != text.count(b":")


def check_unique(text: bytes, what: str) -> None:
    """Refuse JSON in which an object has a key twice. Raises ValueError for what is not JSON."""
    try:
        _decoded(text, what)
    except RecursionError:
        with deeper(text):
            _decoded(text, what)


def _payload(line: bytes) -> _Line:
    return _Line(data=_decode_raw(line))


def _with_extra(line: bytes) -> _Line:
    """Decode a line, moving unknown keys into meta; a key that is already in meta wins."""
    fields = _decode_object(line)
    extra = {key: fields.pop(key) for key in list(fields) if key not in _ENVELOPE + _REPLAYED}
    if extra:
        fields["meta"] = Raw(msgspec.json.encode(extra | _meta(fields.get("meta", _ABSENT))))
    return _decode_line(msgspec.json.encode(fields))


def _meta(raw: Raw) -> dict[str, Raw]:
    return _decode_object(raw) if bytes(raw) not in (b"", b"null") else {}


def _events(defaults: Defaults, ids: Iterator[str]) -> Callable[[Sequence[_Line]], list[NewEvent]]:  # noqa: C901 - as the function within
    """A function that makes events of decoded lines. It runs for every line, so it avoids calls."""
    streams: set[str] = set()  # names that were checked; bounded below
    types: set[str] = set()

    def events(lines: Sequence[_Line]) -> list[NewEvent]:  # noqa: C901 - one pass over the fields
        made: list[NewEvent] = []
        add, made_of, added = made.append, NewEvent._make, bool(defaults.meta)
        for line in lines:
            stream = defaults.stream if line.stream is None else line.stream
            type_ = defaults.type if line.type is None else line.type
            event_id, time, schema, expect = line.id, line.time, line.schema, line.expect
            if stream not in streams or type_ not in types:
                stream, type_ = _check_names(stream, type_)
                for known, name in ((streams, stream), (types, type_)):
                    if len(known) > MAX_REMEMBERED:
                        known.clear()
                    known.add(name)
            if event_id is None:
                event_id = next(ids)
            elif not _plain_name(event_id):
                check_name("id", event_id)
            if schema is None:
                schema = defaults.schema
            elif schema != 1:
                check_schema(schema)
            if expect is not None and (expect not in EXPECT_WORDS if isinstance(expect, str) else expect < 0):
                raise RefusedError(
                    f"expect is {expect!r}",
                    why="it must be any, none, exists or a version such as 7",
                    fix="esctl append --help",
                )
            data = str(line.data, "utf-8") or "{}"
            if len(data) > _SHORT or "\r" in data or "\n" in data:
                check_depth(data)
                data = one_line(data)
            meta = str(line.meta, "utf-8")
            if added or meta[:1] != "{" or len(meta) > _SHORT or "\r" in meta or "\n" in meta:
                meta = _meta_text(line, defaults.meta)
            if time is not None and not is_canonical(time):
                time = canonical(time)
            add(made_of((stream, type_, event_id, time, schema, data, meta, expect)))
        return made

    return events


def _check_names(stream: str | None, type_: str | None) -> tuple[str, str]:
    if not stream or not type_:
        lacking = "type" if stream else "stream"
        raise RefusedError(
            f"the event has no {lacking}",
            why=f"add the key {lacking!r} to the line, or set one for all lines with --{lacking}",
            fix="esctl append --help",
        )
    check_stream(stream)
    check_name("type", type_)
    return stream, type_


def _meta_text(line: _Line, added: dict[str, Raw]) -> str:
    """The text of meta, a JSON object; unchanged unless there is something to add."""
    if line.erased:  # the meta of an erased event is null, so every erased line comes here
        raise RefusedError("the event's payload was erased", why="an erased event cannot be appended")
    text = str(line.meta, "utf-8")
    if added:
        text = msgspec.json.encode(added | _meta(line.meta)).decode()
    elif text in ("", "null"):
        return "{}"
    if text[0] != "{":
        raise RefusedError("meta is not a JSON object")
    check_depth(text)
    return one_line(text)


def _refusal(line: bytes, error: ValueError, what: str = "the line") -> RefusedError:
    """The error for a line that could not be decoded, in plain words and with the byte (from 1) if it is known."""
    try:
        line.decode()
    except UnicodeDecodeError as undecodable:
        return RefusedError(f"{what} is not valid UTF-8", why=undecodable.reason, byte=undecodable.start + 1)
    text = str(error)
    if not isinstance(error, msgspec.ValidationError):
        for match in _SURROGATE.finditer(line):
            if match[1].count(b"\\") == 1:
                return RefusedError(
                    f"{what} has half of a surrogate pair", why="half a pair is no character", byte=match.start(1) + 1
                )
    if unknown := re.search(r"unknown field `(.*?)`", text):
        return _unknown_key(unknown[1])
    if isinstance(error, msgspec.ValidationError):
        hint = _TIME_IS_TEXT if text.endswith("`$.time`") else ""
        return RefusedError("the line is not an event", why=text[0].lower() + text[1:] + hint)
    place = re.search(r" \(byte (\d+)\)", text)
    reason = re.sub(r" \(byte \d+\)", "", text).removeprefix("JSON is malformed: ")
    if "truncated" in reason:
        reason = "it ends in the middle of a value"
    byte = int(place[1]) + (0 if any(word in reason for word in _ONE_BYTE_LATE) else 1) if place else len(line)
    return RefusedError(f"{what} is not JSON", why=reason, byte=byte, code=CUT_OFF if "truncated" in text else "")


def _unknown_key(key: str) -> RefusedError:
    near = difflib.get_close_matches(key, _ENVELOPE, 1)
    return RefusedError(
        f"the line has the unknown key {key!r}",
        why=f"did you mean {near[0]!r}?" if near else f"the keys are {', '.join(_ENVELOPE)}",
        again=None if near else "--extra meta",
    )
