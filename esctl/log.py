"""An open log: reads and appends through its store, with the upcasts of its model."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from esctl.errors import MisfitError, NotFoundError, word
from esctl.events import system
from esctl.events.event import Event, NewEvent, has_control, new_ids, whole_number
from esctl.events.json import Json, text_of
from esctl.events.query import NO_UPCASTS, Query
from esctl.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from types import TracebackType
    from typing import Any, Self, TypeVar

    from esctl.events.event import Form, Head, Receipt, SealedEvent
    from esctl.events.fields import Field
    from esctl.events.query import Upcasting
    from esctl.model.applied import Applied, Definitions
    from esctl.store.checks import Finding

    Item = TypeVar("Item")

POLL_SECONDS = 0.02  # between two checks for new events; a check takes microseconds


class EventLog:
    """An open log. Close it, or use it in a `with` block."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        write: bool = False,
        bulk: bool = False,
        timeout: float = 5.0,
        cache: str = "",
    ) -> None:
        """Open the log at `path`; see `Store`. `cache` is a folder for compiled models."""
        self.path = os.fspath(path)
        self.store = Store(self.path, write=write, bulk=bulk, timeout=timeout, cache=cache)
        self.pins: Mapping[str, int] = {}  # the schema version of this writer's events without one, by type
        self.notes: list[str] = []  # on events that this writer has appended, to be printed
        self.undone = 0  # the number of transactions rolled back
        self._definitions: Definitions | None = None
        self._applied = False  # whether a model was applied in the open transaction

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    @property
    def log_id(self) -> str:
        """The log's id, which never changes."""
        return self.store.log_id

    def head(self) -> Head:
        """The newest event: position, hash, recorded."""
        return self.store.head()

    def transaction(
        self, *, keep: bool = True, waiting: Callable[[], None] = lambda: None, interned: int | None = None
    ) -> AbstractContextManager[None]:
        """A block whose appends commit together; see `Store.transaction`."""
        inner = self.store.transaction(keep=keep, waiting=waiting, interned=interned)
        return _Transaction(self, inner, keep=keep)

    @property
    def definitions(self) -> Definitions:
        """The log's current model, compiled; an empty one if it has none."""
        position = self.store.model()
        if self._definitions is None or self._definitions.position != position:
            from esctl.model.applied import load  # noqa: PLC0415 - only a model needs it

            self._definitions = load(position, self.store.model_event(), self.store.cache())
        return self._definitions

    def models(self) -> Iterator[Applied]:
        """All models that were ever applied, oldest first."""
        from esctl.model.applied import history  # noqa: PLC0415 - only a model needs it

        return history(self.system_events(system.MODEL_APPLIED))

    def committed(self) -> None:
        """Called after a transaction committed."""
        self._applied = False

    def rolled_back(self) -> None:
        """Called after a transaction was rolled back: forget a model that was applied in it."""
        self.undone += 1
        if self._applied:
            self._definitions, self._applied = None, False

    def read(self, query: Query) -> Iterator[SealedEvent]:
        """The events of a query, upcast unless it is for the raw schema."""
        self.require(query)
        upcasting = self.upcasting(query)
        events = self._plain(self.store.read(query, upcasting))
        return self._located(events) if upcasting else events

    def _plain(self, events: Iterator[SealedEvent]) -> Iterator[SealedEvent]:
        """The events. Raises VerificationError at one whose names or times have a control character, or whose payload
        has an escape: it was altered.
        """
        for sealed in events:
            _, stream, _, id_, type_, _, time_, recorded, data, meta = event = sealed.event
            names = f"{stream}{id_}{type_}{time_}{recorded}"
            if (not names.isprintable() and has_control(names)) or "\x1b" in f"{data}{meta}":
                from esctl.store.errors import altered  # noqa: PLC0415 - only an altered log needs it

                raise altered(self.path, f"the event at position {event.position}")
            yield sealed

    def lines(self, query: Query, form: Form | Sequence[Field] = "line") -> Iterator[bytes]:
        """The events of a query, or a choice of their fields, as chunks of NDJSON; upcast as in `read`, but not with
        hashes.
        """
        query = query.replace(raw_schema=True) if form == "hash" else query
        self.require(query)
        upcasting = self.upcasting(query)
        chunks = self.store.lines(query, form, upcasting)
        return self._located(chunks) if upcasting else chunks

    def values(self, query: Query, fields: Sequence[Field]) -> Iterator[tuple[str, ...]]:
        """The JSON texts of some fields of the events of a query; `null` for what an event has not."""
        self.require(query)
        upcasting = self.upcasting(query)
        values = self.store.values(query, fields, upcasting)
        return self._located(values) if upcasting else values

    def _located(self, items: Iterator[Item]) -> Iterator[Item]:
        """The items; if an event does not fit, the error has the field of the model at which it failed."""
        try:
            yield from items
        except MisfitError as error:
            from esctl.store.misfits import in_upcasts  # noqa: PLC0415 - only a failure needs it

            raise in_upcasts(self.store, self.definitions.model, error) from error

    def upcasting(self, query: Query) -> Upcasting:
        """The upcasts for a query: those of the log's model, or none if the query is for the raw schema."""
        return NO_UPCASTS if query.raw_schema or not self.store.model() else self.definitions.upcasting

    def follow(self, query: Query, form: Form | Sequence[Field] = "line") -> Iterator[bytes]:
        """The events of a query, then new ones as they are appended, endlessly (or up to `query.limit` events).

        Yields chunks of whole lines; an empty chunk means that there are no more events for now.
        """
        query = query.replace(raw_schema=True) if form == "hash" else query
        self.require(query)
        remaining = query.limit
        if remaining == 0:
            return
        seen, new = 0, query
        while True:
            self.store.changed()
            head = self.head().position
            if head > seen:
                new = new.replace(until=head, limit=remaining)
                for chunk in self.store.lines(new, form, self.upcasting(new)):
                    yield chunk
                    if remaining is not None and (remaining := remaining - chunk.count(b"\n")) <= 0:
                        return
                seen, new = head, query.since_position(head + 1)
            yield b""
            while not self.store.changed():
                time.sleep(POLL_SECONDS)

    def event(self, reference: str) -> SealedEvent:
        """The event with a position (`120`, `#120`) or else an id; raises NotFoundError."""
        position = whole_number(reference.removeprefix("#"))
        if position is None or position > self.head().position:
            position = self.store.places().find(reference)
        for sealed in self.store.read(Query(since=position, until=position, system=True)) if position else ():
            return sealed
        raise NotFoundError(
            f"there is no event {reference} in {self.path}",
            why=f"it is neither a position up to {self.head().position} nor an id",
            fix="esctl replay --last 5",
        )

    def record(self, type_: str, data: Mapping[str, object]) -> Receipt:
        """Append one of the log's own events, which records what was done to it."""
        with self.store.transaction():
            return self.say(type_, data)

    def say(self, type_: str, data: Mapping[str, object] | Json, meta: str = "") -> Receipt:
        """`record` within the open transaction; `meta` (JSON text) is by default this process's, see `system.meta`."""
        event = NewEvent(system.STREAM, type_, next(new_ids()), None, 1, text_of(data), meta or system.meta(), None)
        return self.store.append([event])[0]

    def system_events(self, type_: str) -> Iterator[Event]:
        """The log's own events of a type."""
        for event, _, _ in self.store.read(Query(stream=system.STREAM, types=(type_,), system=True)):
            yield event

    def apply(self, record: Json) -> Receipt:
        """Put a model in force: append its event within the open transaction."""
        receipt = self.say(system.MODEL_APPLIED, record)
        self.store.set_model(receipt.position)
        self._applied = True
        return receipt

    def is_json(self, text: str) -> bool:
        """Whether a text is strict JSON, as SQLite checks it."""
        return self.store.is_json(text)

    def question(
        self, sql: str, *, raw_schema: bool = False, states: Callable[[], Iterator[tuple[object, ...]]] | None = None
    ) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
        """The columns and rows of a user's SELECT; its view `log` contains upcast events, or else those as stored.

        `states` yields the rows of the table `states`; see `esctl.states.folding.question`.
        """
        return self.store.questions().ask(sql, self.upcasting(Query(system=True, raw_schema=raw_schema)), states)

    def check(self, *, full: bool) -> Iterator[Finding]:
        """Check the store; yield what is wrong."""
        return self.store.check(full=full)

    def close(self) -> None:
        """Close the file."""
        self.store.close()

    def require(self, query: Query) -> None:
        """Raise UsageError for an invalid condition, and NotFoundError, with similar names, for an unknown stream."""
        if query.where is not None:
            from esctl.sql.conditions import check_condition  # noqa: PLC0415 - only a condition needs it

            check_condition(query.where)
        if query.stream is not None and not self.store.stream_version(query.stream):
            if not {"*", "?"}.isdisjoint(query.stream):
                raise NotFoundError(
                    f"there is no stream {query.stream} in {self.path}",
                    why="a stream is named in full; only esctl streams takes a pattern",
                    fix=f"esctl streams {word(query.stream)}",
                    stream=query.stream,
                )
            import difflib  # noqa: PLC0415 - only a mistake needs it

            near = difflib.get_close_matches(query.stream, self.store.facts().names("stream"), 3, 0.75)
            raise NotFoundError(
                f"there is no stream {query.stream} in {self.path}",
                why=f"did you mean {' or '.join(near)}?" if near else "no event names it",
                fix=f"esctl replay {word(near[0])}" if near else "esctl streams",
                stream=query.stream,
            )


class _Transaction:
    """A transaction of the store that tells the log how it ended, so that the log forgets what did not commit."""

    def __init__(self, log: EventLog, inner: AbstractContextManager[None], *, keep: bool) -> None:
        self.log, self.inner, self.keep = log, inner, keep

    def __enter__(self) -> None:
        self.inner.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        committed = False
        try:
            self.inner.__exit__(kind, error, where)
            committed = self.keep and kind is None
        finally:
            if committed:
                self.log.committed()
            else:
                self.log.rolled_back()
