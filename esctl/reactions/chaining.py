"""Events that handlers print: appended in the transaction that notes that their event is done.

Their ids follow from the event that caused them. So what a handler printed at first is what counts: if it is run again
for the same event, whatever it prints then, the events of the first time are there.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Raw

from esctl.append.writer import Writer
from esctl.errors import EsctlError, RefusedError
from esctl.events.event import NewEvent
from esctl.events.json import Deeper
from esctl.events.lines import BOM, Defaults, deeper, parser
from esctl.log import EventLog
from esctl.reactions.definition import Definition
from esctl.reactions.items import Item

MAX_DEPTH = 100  # of causes that reactions handled, one behind the other
LOOP = "loop"  # the code of an event that reactions would cause without an end
DEPTH, CAUSATION, CORRELATION, REACTION = "depth", "causation_id", "correlation_id", "reaction"
_members = msgspec.json.Decoder(dict[str, Raw]).decode


class JudgedError(Exception):
    """The events of a handler are refused."""

    def __init__(self, item: Item, error: EsctlError) -> None:
        super().__init__(str(error))
        self.item, self.error = item, error


class Outputs:
    """Makes events of what the handlers of a reaction print, and appends them."""

    def __init__(self, log: EventLog, name: str, definition: Definition, *, allow_loop: bool) -> None:
        self._log, self._name, self._definition, self._allows_loop = log, name, definition, allow_loop
        self._writer = Writer(log)

    def events(self, item: Item, printed: bytes) -> list[NewEvent]:
        """The events that the handler of an event printed, one a line. Raises RefusedError."""
        parse = parser(Defaults(stream=item.event.stream, input="ndjson"))
        events: list[NewEvent] = []
        for number, line in enumerate(printed.removeprefix(BOM).split(b"\n"), 1):
            if line.strip():
                try:
                    _refuse_id(line)
                    event = parse(line)
                    self._refuse_loop(item, event)
                    events.append(self._caused(item, event, len(events)))
                except RefusedError as error:
                    error.what = f"line {number} of its output: {error.what}"
                    raise
        return events

    def _refuse_loop(self, item: Item, event: NewEvent) -> None:
        if not self._allows_loop and matches(self._definition, event):
            raise RefusedError(
                f"{event.type} in {event.stream} is an event that the reaction itself is for",
                why="it would cause the next one, and so on; --allow-loop allows it, up to a depth of 100",
                code=LOOP,
            )
        if depth(item) >= MAX_DEPTH:
            raise RefusedError(
                f"{item.place} has {MAX_DEPTH} causes that reactions handled",
                why="reactions seem to cause each other without an end",
                code=LOOP,
            )

    def _caused(self, item: Item, event: NewEvent, number: int) -> NewEvent:
        """An event with its id, and with what caused it in its meta."""
        meta, cause = _meta(event.meta.encode()), _meta(bytes(item.event.meta))
        added: dict[str, object] = {
            CAUSATION: item.event.id,
            CORRELATION: meta.get(CORRELATION) or cause.get(CORRELATION) or item.event.id,
            REACTION: self._name,
            DEPTH: depth(item) + 1,
        }
        text = msgspec.json.encode({**meta, **added}).decode()
        return event._replace(id=output_id(self._log.log_id, self._name, item, number), meta=text)

    def append(self, outcomes: Iterable[tuple[Item, Sequence[NewEvent]]]) -> int:
        """Append the events of several handlers in the open transaction; return how many are new.

        Raises JudgedError for the events of one of them; the transaction must then be left by raising.
        """
        events: list[NewEvent] = []
        of: list[Item] = []
        for item, printed in outcomes:
            if printed and not self._log.store.places().find(printed[0].id):
                events += printed
                of += [item] * len(printed)
        if not events:
            return 0
        try:
            self._writer.append(events)
        except EsctlError as error:
            index = error.details.pop("index", None)
            if not isinstance(index, int):
                raise
            raise JudgedError(of[index], error) from error
        return len(events)


def matches(definition: Definition, event: NewEvent) -> bool:
    """Whether an event may be one that a reaction is for; its condition is not looked at."""
    category = definition.category
    return (
        (not definition.types or event.type in definition.types)
        and definition.stream in (None, event.stream)
        and (category is None or event.stream == category or event.stream.startswith(f"{category}-"))
    )


def depth(item: Item) -> int:
    """How many reactions, one behind the other, have caused an event."""
    try:
        return max(0, int(bytes(_meta(bytes(item.event.meta)).get(DEPTH, b"0"))))
    except ValueError:  # somebody's own field
        return 0


def output_id(log_id: str, name: str, item: Item, number: int) -> str:
    """The id of the event that a handler printed as the one with this number: a UUIDv8 (RFC 9562) of its cause."""
    text = f"{log_id}\n{name}\n{item.event.id}\n{item.event.part}\n{number}"
    digest = bytearray(hashlib.sha256(text.encode()).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    return str(uuid.UUID(bytes=bytes(digest)))


def _refuse_id(line: bytes) -> None:
    """Refuse an event that names its id."""
    with deeper(line):
        try:
            fields = _members(line)
        except ValueError:
            return  # the parser says what is wrong
    if bytes(fields.get("id", b"null")) != b"null":
        raise RefusedError("the event has an id", why="the ids of the events follow from the event that caused them")


def _meta(text: bytes) -> dict[str, Raw]:
    with Deeper():
        return _members(text) if text.startswith(b"{") else {}
