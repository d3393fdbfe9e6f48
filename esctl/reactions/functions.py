"""Handlers that are Python functions, one event at a time."""

from __future__ import annotations

import json
import logging
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from typing import Any, Literal, TypedDict

from esctl.errors import ArgumentError, UsageError
from esctl.events.decoded import Event, decoded
from esctl.events.event import Event as StoredEvent
from esctl.events.event import Part
from esctl.events.values import Point, encoded, point_of
from esctl.log import EventLog
from esctl.reactions import admin
from esctl.reactions.definition import FUNCTION, Definition
from esctl.reactions.items import Item
from esctl.reactions.results import AGAIN, PARK, TAIL_BYTES, Park, Result, Retry
from esctl.reactions.runner import Runner, Settings, Stop
from esctl.store.format import MEMORY

LOCK_SECONDS = 30.0  # for another process that runs the reaction, or a handler that one has left

Handler = Callable[[Event], object]
"""Gets an event. With `append`, it returns events as mappings with the keys of an input line, or None."""


class Options(TypedDict, total=False):
    """The options of `Log.react`; `start` is "beginning", "now" or a point."""

    start: Point
    stream: str
    category: str
    types: Iterable[str]
    where: str
    key: str
    append: bool
    independent: bool
    changed: bool
    follow: bool
    stop: threading.Event
    retries: int
    backoff: float
    on_error: Literal["stop", "park", "skip"]
    breaker: int
    allow_loop: bool


class _Stop(Stop):
    """A stop by an event of another thread."""

    def __init__(self, event: threading.Event | None) -> None:
        self._event, self.signum = event, 0

    @property
    def asked(self) -> int:  # type: ignore[override]  # a number that follows from the event
        """Whether it is set."""
        return int(self._event is not None and self._event.is_set())


class Functions:
    """A function that handles events in this thread."""

    def __init__(self, handler: Handler, read: Callable[[str], Any] = json.loads) -> None:
        self._handler, self._read = handler, read
        self.outputs = False  # whether it returns events
        self._item: Item | None = None

    @property
    def running(self) -> int:
        """How many events are being handled."""
        return int(self._item is not None)

    @property
    def has_room(self) -> bool:
        """Whether an event may be started."""
        return self._item is None

    def fits(self, _: str) -> bool:
        """Whether an event may be started, of whatever key."""
        return self.has_room

    def start(self, item: Item) -> None:
        """Have an event handled."""
        self._item = item

    def wait(self, _: float) -> list[Result]:
        """Call the function; its result."""
        if self._item is None:
            return []
        item, self._item = self._item, None
        return [self._result(item)]

    def _result(self, item: Item) -> Result:
        try:
            answer = self._handler(decoded(stored(item), self._read))
            return Result(item, 0, output=printed(answer) if self.outputs else b"")
        except Retry as error:
            return Result(item, AGAIN, "asks for a retry", str(error))
        except Park as error:
            return Result(item, PARK, "asks to be parked", str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, the handler has failed
            text = traceback.format_exc()[-TAIL_BYTES:]
            return Result(item, 1, f"raised {type(error).__name__}: {error}", text)

    def end(self) -> None:
        """Nothing runs on."""


def stored(item: Item) -> StoredEvent:
    """An event as the API decodes it."""
    event = item.event
    kind = Part if event.part else StoredEvent
    found = kind._make(
        (
            event.position, event.stream, event.version, event.id, event.type, event.schema, event.time,
            event.recorded, bytes(event.data).decode(), bytes(event.meta).decode(),
        )
    )  # fmt: skip
    if isinstance(found, Part):
        found.part = event.part
    return found


def printed(answer: object) -> bytes:
    """What a handler returned, as lines of events."""
    if answer is None:
        return b""
    events = [answer] if isinstance(answer, Mapping) else answer
    if isinstance(events, str | bytes) or not isinstance(events, Iterable):
        raise TypeError(f"the handler returned a {type(answer).__name__}, not events")
    return b"\n".join(encoded(dict(event)) for event in events)


def react(log: EventLog, name: str, handlers: Functions, options: Options) -> dict[str, Any]:
    """Run a reaction whose handler is a function, through a connection of its own; return what was done."""
    if isinstance(options.get("types"), str):
        raise ArgumentError(
            f"types takes several types, not the text {options['types']!r}", why=f"write types=[{options['types']!r}]"
        )
    if log.path == MEMORY and options.get("follow"):
        raise UsageError("a log in memory cannot be followed", why="no other process writes to it")
    definition = Definition(FUNCTION, types=tuple(options.get("types", ())), **_chosen(options, Definition))
    settings = Settings(**_chosen(options, Settings))
    handlers.outputs = definition.append
    start = None if "start" not in options else point_of(options["start"])
    with nullcontext(log) if log.path == MEMORY else EventLog(log.path, write=True, timeout=log.store.timeout) as own:
        own.pins = log.pins
        one, _ = admin.declare(
            own,
            name,
            definition,
            start=start,
            changed=options.get("changed", False),
            allow_loop=settings.allow_loop,
        )
        with admin.held(own, one, LOCK_SECONDS) as reaction:
            runner = Runner(own, reaction, definition, handlers, settings, tell=_tell)
            return runner.run(_Stop(options.get("stop"))).record()


def _chosen(options: Options, kind: type[Definition | Settings]) -> dict[str, Any]:
    """The options that a definition, or the settings, have."""
    names = Definition.__struct_fields__ if kind is Definition else Settings._fields
    return {name: value for name, value in options.items() if name in names and name != "types"}


def _tell(text: str) -> None:
    logging.getLogger("esctl").warning("%s", text)
