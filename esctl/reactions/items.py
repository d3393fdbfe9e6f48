"""The events of a reaction, as they are read from its log."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from hashlib import sha256

import msgspec
from msgspec import Raw

from esctl.events.json import Deeper
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.reactions.definition import Definition
from esctl.store.reactions import Letter, Reaction

NULL = Raw(b"null")


class Line(msgspec.Struct):
    """An event's line, with what a reaction needs of it."""

    position: int
    stream: str
    version: int
    id: str
    type: str
    schema: int
    time: str
    recorded: str
    data: Raw = NULL
    meta: Raw = NULL
    part: int = 0
    erased: bool = False


_decode = msgspec.json.Decoder(Line).decode


class Item:
    """An event that is to be handled: its `line`, without LF, and what became of it so far.

    Items with the same `key` are handled in order. `attempts` counts how often it was tried in all, `tries` those since
    its reaction was started. `letter`: it, or an event before it, was parked.
    """

    __slots__ = ("attempts", "event", "key", "letter", "line", "tries")

    def __init__(self, line: bytes, event: Line, key: str) -> None:
        self.line, self.event, self.key = line, event, key
        self.attempts = self.tries = 0
        self.letter = False

    @property
    def position(self) -> int:
        """The event's position."""
        return self.event.position

    @property
    def place(self) -> str:
        """The event in words."""
        return f"#{self.event.position} {self.event.type} in {self.event.stream}"

    def text_of(self, column: str) -> str | None:
        """The JSON text of a column; None if the event has no such column."""
        value = getattr(self.event, column, None)
        if isinstance(value, Raw):
            return bytes(value).decode()
        return None if value is None else msgspec.json.encode(value).decode()


class Source:
    """The events of a reaction, or of one part of its group."""

    def __init__(self, log: EventLog, reaction: Reaction, definition: Definition) -> None:
        self._log, self._definition = log, definition
        self._part, self._parts = reaction.part, reaction.parts

    def read(self, since: int, until: int, *, events: int, size: int) -> tuple[list[Item], int]:
        """The first events from one position to another, some more than `events`, or than `size` bytes; and the
        position up to which there are no others.
        """
        items: list[Item] = []
        query = self._definition.query().replace(since=since, until=until)
        with closing(self._items(query)) as found:
            for item in found:
                if items and (len(items) >= events or size <= 0) and items[-1].position != item.position:
                    return items, items[-1].position
                items.append(item)
                size -= len(item.line)
        return items, until

    def behind(self, letter: Letter, since: int, until: int, *, events: int) -> list[Item]:
        """The first events between two positions that wait behind a letter, itself included."""
        query = self._definition.query().replace(since=since, until=until)
        if self._definition.key is None:
            query = query.replace(stream=letter.stream, category=None)
        items: list[Item] = []
        with closing(self._items(query)) as found:
            for item in found:
                if item.key == letter.key:
                    if len(items) >= events and items[-1].position != item.position:
                        break
                    item.letter = True
                    items.append(item)
        return items

    def _items(self, query: Query) -> Generator[Item, None, None]:
        """The events of a query that are of this part, unless their payload is erased."""
        log = self._log
        if query.stream is not None and not log.store.stream_version(query.stream):
            return  # it may come
        for line, value in log.store.reactions().lines(query, self._definition.key, log.upcasting(query)):
            try:
                event = _decode(line)
            except RecursionError:
                with Deeper():
                    event = _decode(line)
            if event.erased:
                continue
            key = event.stream if value is None else digest(value)
            if self._parts == 1 or share(key, self._parts) == self._part:
                yield Item(line, event, key)


def digest(value: object) -> str:
    """What stands for the value of a key: a log that keeps it must not keep what a payload says."""
    return sha256(repr(value).encode()).hexdigest()[:32]


def share(key: str, parts: int) -> int:
    """The number of the part of a group that a key belongs to, from 1."""
    return int.from_bytes(sha256(key.encode()).digest()[:8]) % parts + 1
