"""A single event, given on the command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from esctl.cli.items import as_object, is_plain, item, items
from esctl.errors import EsctlError, NotFoundError, RefusedError, UsageError
from esctl.events.event import Expect, NewEvent, check_name, check_stream, new_ids
from esctl.events.keys import check_keys

BOM = b"\xef\xbb\xbf"


class EventOptions:
    """The options for a single event; one that was not given is None, the schema 0."""

    __slots__ = ("expect", "id", "meta", "schema", "time")

    def __init__(
        self, id_: str | None, time: str | None, schema: int, meta: dict[str, str], expect: Expect | None
    ) -> None:
        self.id, self.time, self.schema, self.meta, self.expect = id_, time, schema, meta, expect


def event(words: Sequence[str], options: EventOptions) -> NewEvent:
    """Make the event from the words STREAM TYPE [DATA | @FILE | - | key=text key:=json …] and the options.

    Raises RefusedError (the same as for a line of input), UsageError and NotFoundError.
    """
    stream, type_, *rest = words
    return _plain(stream, type_, rest, options) or _parsed(stream, type_, rest, options)


def _plain(stream: str, type_: str, rest: Sequence[str], options: EventOptions) -> NewEvent | None:
    """The event, if SQLite can check its JSON: loading msgspec alone takes longer than a whole append.

    None for everything else, valid or not: the parser of lines then checks it and has the error messages.
    """
    if options.time is not None or "ESCTL_MAX_EVENT" in os.environ:
        return None
    if not rest:
        data = "{}"
    elif len(rest) == 1 and rest[0][:1] in ("{", "[", '"') and is_plain(rest[0]):
        data = rest[0].rstrip(" ")
    elif rest[0][:1] not in ("{", "[", '"', "@") and item(rest[0]) is not None:
        data = as_object(items(rest, "an item"))
    else:
        return None
    meta = as_object(options.meta)
    if not is_plain(data) or not is_plain(meta):  # an item may have an escaped surrogate, or be very long
        return None
    event_id = options.id if options.id is not None else next(new_ids())
    try:
        check_stream(stream)
        check_name("type", type_)
        check_name("id", event_id)
    except EsctlError:
        return None
    check_keys(data.encode(), "the payload")
    return NewEvent(stream, type_, event_id, None, options.schema, data, meta, options.expect)


def _parsed(stream: str, type_: str, rest: Sequence[str], options: EventOptions) -> NewEvent:
    """The event, after the same checks as for a line of input."""
    from msgspec import Raw, json  # noqa: PLC0415

    from esctl.events.lines import Defaults, parser  # noqa: PLC0415

    defaults = Defaults(stream, type_, options.schema, {key: Raw(text.encode()) for key, text in options.meta.items()})
    fields: dict[str, object] = {"id": options.id, "time": options.time, "expect": options.expect}
    fields = {key: value for key, value in fields.items() if value is not None}
    if options.time is not None:
        from esctl.events.words import typed  # noqa: PLC0415

        fields["time"] = typed(options.time)
    try:
        if rest:
            fields["data"] = Raw(_data(rest))
        return parser(defaults)(json.encode(fields))
    except UnicodeEncodeError as error:
        raise RefusedError("an argument is not valid UTF-8") from error


def _data(words: Sequence[str]) -> bytes:
    """The JSON text of a payload: as given, from a file or stdin, or built from items."""
    from esctl.events.lines import payload_of  # noqa: PLC0415

    first = words[0]
    if len(words) == 1 and (first == "-" or first.startswith("@")):
        return bytes(payload_of(_read(first), "the payload" if first == "-" else f"the content of {first[1:]}"))
    if first[:1] in ("{", "[", '"') or item(first) is None:
        if len(words) > 1:
            why = "the shell splits words at blanks outside quotes"
            raise UsageError(f"DATA is one argument, not {len(words)}", why=why, fix="esctl append --help")
        return bytes(payload_of(first.encode(), f"the payload {first[:40]!r}"))
    return as_object(items(words, "an item")).encode()


def _read(source: str) -> bytes:
    if source == "-":
        require_stdin()
        return sys.stdin.buffer.read().removeprefix(BOM)
    try:
        with open(source[1:], "rb") as file:
            return file.read().removeprefix(BOM)
    except OSError as error:
        raise NotFoundError(f"cannot read {source[1:]}", why=error.strerror or str(error)) from error


def require_stdin() -> None:
    """Refuse to read events from a closed stdin."""
    if sys.stdin is None:
        raise UsageError("stdin is closed", why="the events have to come from it", fix="esctl append --help")
