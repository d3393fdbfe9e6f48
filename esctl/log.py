"""A log: its store, and what is asked of it. The one place where store, archive and upcasts meet."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType

from esctl.errors import ConflictError, NotFoundError, word
from esctl.events import MODEL_APPLIED, SYSTEM_STREAM, Event, Expect, NewEvent, new_ids, whole_number
from esctl.query import Query
from esctl.stores.sqlite import SqliteStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Any, Self

    from esctl.definitions import Definitions
    from esctl.events import Form, Head, Receipt, SealedEvent
    from esctl.rules import Rules
    from esctl.stores.base import Finding, Store

POLL_SECONDS = 0.02  # between two looks for new events: a look takes microseconds


class RunExpectation:
    """One expectation for every stream that a run touches, asked at the first new event of each.

    A number moves along with duplicates that follow it: when an append is retried, what its first try wrote is what
    the second may expect.
    """

    def __init__(self, expect: Expect) -> None:
        self._expect = 0 if expect == "none" else expect
        self._streams: dict[str, Expect | None] = {}

    def wanted(self, stream: str) -> Expect | None:
        """See Store."""
        return self._streams.get(stream, self._expect)

    def kept(self) -> dict[str, Expect | None]:
        """What is known of streams, to come back to after a transaction that did not commit."""
        return dict(self._streams)

    def restore(self, kept: dict[str, Expect | None]) -> None:
        """Come back to what was known."""
        self._streams = kept

    def met(self, stream: str) -> None:
        """See Store."""
        self._streams[stream] = None

    def seen(self, stream: str, version: int) -> None:
        """See Store."""
        wanted = self.wanted(stream)
        if isinstance(wanted, int) and version == wanted + 1:
            self._streams[stream] = version


class Guard:
    """An append condition: no event that was there before may meet `condition` after the position `after`."""

    def __init__(self, condition: str, after: int) -> None:
        self.condition, self.after = condition, after

    def check(self, log: EventLog, receipts: Sequence[Receipt], before: int) -> None:
        """Judge a batch in its transaction; `before` is the head that it began from.

        A batch of duplicates passes: it was let in when it came first.
        """
        if not all(duplicate for _, _, _, _, duplicate in receipts):
            log.none_match(self.condition, self.after, before)


class EventLog:
    """An open log. Close it, or use it in a `with` block."""

    def __init__(
        self, path: str | os.PathLike[str], *, write: bool = False, bulk: bool = False, timeout: float = 5.0
    ) -> None:
        """Open the log at `path` for reading, or for writing too; see `SqliteStore`."""
        self.path = os.fspath(path)
        self.store: Store = SqliteStore(self.path, write=write, bulk=bulk, timeout=timeout)
        self.unruled = False  # whether rules of the model are left unasked; its JSON Schemas hold all the same
        self._definitions: Definitions | None = None
        self._rules: Rules | None = None
        self._applied = False  # whether a model was applied in the open transaction
        self._stamped = 0  # the model whose schema versions the store knows

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    @property
    def log_id(self) -> str:
        """The log's id, for ever the same."""
        return self.store.log_id

    def head(self) -> Head:
        """The newest event: position, hash, recorded."""
        return self.store.head()

    def transaction(
        self, *, keep: bool = True, waiting: Callable[[], None] = lambda: None
    ) -> AbstractContextManager[None]:
        """Appends within commit as one; see `Store.transaction`."""
        return _Transaction(self, self.store.transaction(keep=keep, waiting=waiting), keep=keep)

    def append(self, events: Sequence[NewEvent], run: RunExpectation | None = None) -> list[Receipt]:
        """Append within the open transaction; see `Store.append`.

        What the log's model says of events holds: raises RefusedError for one that its JSON Schema or its stream's
        state does not accept. A duplicate is not asked again: it was accepted when it came first.
        """
        if not self.store.model():
            return self.store.append(events, run)
        definitions, before = self.definitions, self.head()[0]
        if self._stamped != definitions.position:
            self.store.stamp(definitions.newest)
            self._stamped = definitions.position
        receipts = self.store.append(events, run)
        definitions.refuse_newer(events, receipts)
        definitions.refuse_unreadable(self.store, events, receipts, before)
        if definitions.schemas:
            from esctl import schemas  # noqa: PLC0415 - only a model with JSON Schemas needs it

            schemas.check(definitions, events, receipts)
        if not self.unruled:
            if self._rules is None:
                from esctl.rules import Rules  # noqa: PLC0415 - only a model needs it

                self._rules = Rules(self.store, definitions)
            self._rules.judge(receipts, before)
        if definitions.keeps_inline and self.head()[0] > before:
            from esctl import inline  # noqa: PLC0415 - only a model with inline projections needs it

            inline.keep(self.store, receipts, before)
        return receipts

    @property
    def definitions(self) -> Definitions:
        """What the log's model says now; where there is none it says nothing."""
        position = self.store.model()
        if self._definitions is None or self._definitions.position != position:
            from esctl.definitions import load  # noqa: PLC0415 - only a model needs it

            self._definitions, self._rules = load(self.store), None
        return self._definitions

    def keep(self) -> None:
        """A transaction committed."""
        self._applied = False

    def forget(self) -> None:
        """A transaction did not commit: a model that was applied in it does not hold, nor is what was folded true."""
        if self._applied:
            self._definitions, self._rules, self._stamped, self._applied = None, None, 0, False
        if self._rules is not None:
            self._rules.forget()

    def read(self, query: Query) -> Iterator[SealedEvent]:
        """The events of a query, upcast unless it asks for the raw schema."""
        return self.store.read(self.prepared(query))

    def lines(self, query: Query, form: Form = "line") -> Iterator[bytes]:
        """The events of a query as chunks of NDJSON, upcast unless it asks for the raw schema or for hashes."""
        query.raw_schema = query.raw_schema or form == "hash"
        return self.store.lines(self.prepared(query), form)

    def prepared(self, query: Query) -> Query:
        """The same query, judged, and with the upcasts of the log's model."""
        self._known(query)
        return self._upcast(query)

    def _upcast(self, query: Query) -> Query:
        if not query.raw_schema and self.store.model():
            query.upcasting = self.definitions.upcasting
        return query

    def follow(self, query: Query, form: Form = "line") -> Iterator[bytes]:
        """The events of a query, and then those that come, for ever (or up to `query.limit` of them).

        Chunks of whole lines; an empty one says that for now there is no more.
        """
        query.raw_schema = query.raw_schema or form == "hash"
        self._known(query)
        left = query.limit
        if left == 0:
            return
        seen, new = 0, query
        while True:
            self.store.changed()
            head = self.head()[0]
            if head > seen:
                new.until, new.limit = head, left
                for chunk in self.store.lines(self._upcast(new), form):
                    yield chunk
                    if left is not None and (left := left - chunk.count(b"\n")) <= 0:
                        return
                seen, new = head, query.since_position(head + 1)
            yield b""
            while not self.store.changed():
                time.sleep(POLL_SECONDS)

    def event(self, reference: str) -> SealedEvent:
        """The event of a position (`120`, `#120`) or an id; raises NotFoundError. What could be both is a position."""
        position = whole_number(reference.removeprefix("#"))
        if position is None or position > self.head()[0]:
            position = self.store.find(reference)
        for sealed in self.store.read(Query(since=position, until=position, system=True)) if position else ():
            return sealed
        raise NotFoundError(
            f"there is no event {reference} in {self.path}",
            why=f"it is neither a position up to {self.head()[0]} nor an id",
            fix="esctl replay --last 5",
        )

    def record(self, type_: str, data: str, meta: str = "{}") -> Receipt:
        """Append an event of the log's own, about what was done to it."""
        with self.store.transaction():
            return self.say(type_, data, meta)

    def say(self, type_: str, data: str, meta: str) -> Receipt:
        """The same within the open transaction."""
        return self.store.append([(SYSTEM_STREAM, type_, next(new_ids()), None, 1, data, meta, None)])[0]

    def system_events(self, type_: str) -> Iterator[Event]:
        """The log's own events of a type."""
        for event, _, _ in self.store.read(Query(stream=SYSTEM_STREAM, types=(type_,), system=True)):
            yield event

    def none_match(self, condition: str, after: int, until: int) -> None:
        """Raise ConflictError, naming up to ten, if events after one position and up to another meet a condition."""
        query = Query(since=after + 1, until=until, where=condition, limit=10)
        if found := [event for event, _, _ in self.store.read(self._upcast(query))]:
            named = ", ".join(f"#{event[0]} {event[4]} in {event[1]}" for event in found)
            raise ConflictError(
                f"an event matches {condition!r} after position {after}",
                why=f"{named}; read again, decide again, append with --after and the head that was read",
                fix=f"esctl replay --since '#{after + 1:d}' --where {word(condition)}",
                after=after,
                positions=[event[0] for event in found],
            )

    def apply(self, record: str, meta: str) -> Receipt:
        """Have a model hold from here on: an event of the log's own, within the open transaction."""
        receipt = self.say(MODEL_APPLIED, record, meta)
        self.store.hold_model(receipt[0])
        self._applied = True
        return receipt

    def is_json(self, text: str) -> bool:
        """Whether a text is strict JSON, asked of the store."""
        return self.store.is_json(text)

    def question(
        self, sql: str, *, raw_schema: bool = False, states: Callable[[], Iterator[tuple[object, ...]]] | None = None
    ) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
        """The columns and rows of a SELECT; its view `log` has events upcast unless the raw schema is asked for.

        `states` gives the rows of the table of that name; see `esctl.aggregates.question`.
        """
        query = self._upcast(Query(system=True, raw_schema=raw_schema))
        return self.store.question(sql, query.upcasting, states)

    def check(self, *, full: bool) -> Iterator[Finding]:
        """What the store finds wrong with itself."""
        return self.store.check(full=full)

    def close(self) -> None:
        """Let go of the file."""
        self.store.close()

    def _known(self, query: Query) -> None:
        """Refuse a condition that is none, and a stream that the log does not have, naming what comes near."""
        if query.where is not None:
            from esctl.sql import check_condition  # noqa: PLC0415 - only a condition needs it

            check_condition(query.where)
        if query.stream is not None and not self.store.stream_version(query.stream):
            import difflib  # noqa: PLC0415 - only a mistake needs it

            near = difflib.get_close_matches(query.stream, self.store.names("stream"), 3, 0.75)
            raise NotFoundError(
                f"there is no stream {query.stream} in {self.path}",
                why=f"did you mean {' or '.join(near)}?" if near else "no event names it",
                fix=f"esctl replay {word(near[0])}" if near else "esctl streams",
                stream=query.stream,
            )


class _Transaction:
    """A transaction of the store, after which nothing is remembered that did not commit."""

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
                self.log.keep()
            else:
                self.log.forget()
