"""The Python API: `from esctl import open_log`.

    with open_log("shop.db", write=True) as log:
        log.append("order-1", "OrderPlaced", {"total": 99.9}, expect="none")
        for event in log.replay("order-1", until="v3"):
            print(event.position, event.data["total"])

It uses the same `EventLog` as the command line, with the same checks, errors (`esctl.errors`) and points.

Payloads and meta may contain `Decimal`, `datetime` (with a zone), `date`, `UUID` and `Json`, a JSON text that is stored
as it is. Points are texts, positions, or `datetime` and `date` values. `open_log(":memory:")` is a log in memory. A new
type or category that looks misspelt is a warning of the logger `esctl`.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, Self, TypeVar, Unpack
from uuid import UUID

import msgspec

from esctl.append import pins
from esctl.append.expectations import AppendCondition
from esctl.append.writer import Writer
from esctl.errors import ArgumentError, EsctlError, UsageError
from esctl.events import chain
from esctl.events.decoded import Event as Event  # noqa: PLC0414 - part of this API
from esctl.events.decoded import decoded
from esctl.events.event import Expect, SealedEvent
from esctl.events.json import Deeper
from esctl.events.lines import Defaults, parser
from esctl.events.query import Query
from esctl.events.turns import Turns
from esctl.events.values import Json as Json  # noqa: PLC0414 - part of this API
from esctl.events.values import Point, encoded, point_of
from esctl.evolution import plan
from esctl.log import EventLog
from esctl.points import marks
from esctl.points.located import located
from esctl.points.marks import Mark
from esctl.points.points import query_of
from esctl.projections import freshness, reading, runs, versions
from esctl.projections.reading import RowFilter
from esctl.reactions.results import Park as Park  # noqa: PLC0414 - part of this API
from esctl.reactions.results import Retry as Retry  # noqa: PLC0414 - part of this API
from esctl.sql.conditions import check_condition
from esctl.states import folding
from esctl.store.format import MEMORY
from esctl.upkeep import copies, verify

if TYPE_CHECKING:
    from esctl.reactions import functions

chain.for_many()  # a Python process usually hashes many events

P = ParamSpec("P")
R = TypeVar("R")


class Receipt(msgspec.Struct, frozen=True):
    """The result of appending an event; for a `duplicate`, the place of the original event."""

    position: int
    stream: str
    version: int
    id: str
    duplicate: bool


def open_log(
    path: str | os.PathLike[str],
    *,
    write: bool = False,
    create: bool = False,
    timeout: float = 5.0,
    parse_float: Callable[[str], Any] | None = None,
    schemas: Mapping[str, int] | None = None,
) -> Log:
    """Open the log at `path` for reading, with `write` also for appending; `create` makes a missing log.

    ":memory:" is a new log in memory, open for appending; it ends when it is closed. `timeout` bounds the wait for
    another writer, in seconds. `parse_float` makes the numbers of data, meta and states that are not whole out of their
    text: with `parse_float=Decimal` they are exact. `schemas` pins types to the schema version that events without one
    get, in place of the model's newest; ESCTL_SCHEMA does so for other types. Raises NotFoundError,
    StorageVersionError or UnavailableError. A model's SQL is stopped after 10 seconds, but only between two steps: one
    `instr` of very long texts may take hours. The command line then ends its process; here that is yours to end.
    """
    chosen = pins.from_environment() if write or os.fspath(path) == MEMORY else {}
    for type_, schema in (schemas or {}).items():
        pins.checked(type_, schema)
        chosen[type_] = schema
    if os.fspath(path) == MEMORY:
        from esctl.store import memory  # noqa: PLC0415 - sqlite-utils, only to make a log

        with memory.new() as name:
            return Log(EventLog(name, write=True, bulk=True, timeout=timeout), parse_float, chosen)
    place = Path(path)
    if create and not place.exists():
        from esctl.store import migrations  # noqa: PLC0415 - sqlite-utils, only to make a log

        try:
            migrations.create(place)
        except UsageError:
            if not place.exists():  # else another process has just created it, which is as good
                raise
    return Log(EventLog(place, write=write, bulk=write, timeout=timeout), parse_float, chosen)


class State(msgspec.Struct, frozen=True):
    """The state of a stream, with the aggregate that folded it (None: payloads merged) and the last event folded.

    `state_json` is its JSON text.
    """

    stream: str
    aggregate: str | None
    version: int
    position: int
    time: str | None
    state: Any
    state_json: str = ""


def _in_turn(method: Callable[Concatenate[Log, P], R]) -> Callable[Concatenate[Log, P], R]:
    """A method of a log that may be called from any thread: calls wait for each other; a closed log refuses them."""

    @functools.wraps(method)
    def called(log: Log, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with log._turns:  # noqa: SLF001 - a decorator of its methods
            return method(log, *args, **kwargs)

    return called


class Log:
    """An open log; use it in a `with` block, or close it.

    Threads may share it: their calls take turns. Each append is a transaction of its own. The events of one `replay`
    may be taken by several threads; each goes to one of them.
    """

    def __init__(
        self, log: EventLog, parse_float: Callable[[str], Any] | None = None, schemas: Mapping[str, int] | None = None
    ) -> None:
        again = "a log in memory ends with it" if log.path == MEMORY else f"open {log.path} again with open_log"
        self._turns = Turns(again)
        self._read = json.JSONDecoder(parse_float=parse_float).decode
        self._log = log
        log.pins = schemas or {}
        self._timeout = log.store.timeout
        self._writer = Writer(log)
        self._parse = parser(Defaults(input="ndjson"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    @property
    def log_id(self) -> str:
        """The log's id, which never changes."""
        return self._log.log_id

    def append(
        self,
        stream: str,
        type: str,
        data: Any = None,
        *,
        id: str | UUID | None = None,
        time: str | datetime | None = None,
        schema: int | None = None,
        meta: Mapping[str, Any] | Json | None = None,
        expect: Expect | None = None,
        if_none_match: str | None = None,
        after: int = 0,
    ) -> Receipt:
        """Append one event durably; `data` is any value that JSON can hold, by default an empty object.

        `expect` is any, none, exists or the stream's current version. `if_none_match` is an SQL condition that no event
        after the position `after` may match. Raises ConflictError or RefusedError; then nothing is stored.
        """
        event = {
            "stream": stream,
            "type": type,
            "data": {} if data is None else data,
            "id": id,
            "time": time,
            "schema": schema,
            "meta": dict(meta) if isinstance(meta, Mapping) else meta,
            "expect": expect,
        }
        condition = None
        if if_none_match is not None:
            check_condition(if_none_match)
            condition = AppendCondition(if_none_match, after)
        return self._append([event], condition)[0]

    def append_all(self, events: Iterable[Mapping[str, Any]]) -> list[Receipt]:
        """Append events in one transaction, all or none; each is a mapping with the keys of an input line."""
        if isinstance(events, Mapping | str | bytes):
            raise ArgumentError(
                f"append_all takes several events, not a {type(events).__name__}",
                why="for one event, write [event]",
            )
        return self._append(events, None)

    def _append(self, events: Iterable[Mapping[str, Any]], condition: AppendCondition | None) -> list[Receipt]:
        return self._store([_line(event) for event in events], condition)

    @_in_turn
    def _store(self, lines: list[bytes], condition: AppendCondition | None) -> list[Receipt]:
        parsed = [self._parse(line) for line in lines]
        try:
            with self._log.transaction():
                before = self._log.head().position
                receipts = self._writer.append(parsed)
                if condition:
                    condition.check(self._log, receipts, before)
        except EsctlError as error:
            if len(parsed) == 1:
                error.details.pop("index", None)
            raise
        else:
            _warn(self._log.path, self._log.notes)
        finally:
            self._log.notes.clear()
        return [Receipt(*receipt) for receipt in receipts]

    @_in_turn
    def replay(
        self,
        stream: str | None = None,
        *,
        category: str | None = None,
        types: Iterable[str] = (),
        where: str | None = None,
        since: Point | None = None,
        until: Point | None = None,
        as_of: Point | None = None,
        limit: int | None = None,
        last: int | None = None,
        reverse: bool = False,
        system: bool = False,
        raw_schema: bool = False,
    ) -> Events:
        """The events in position order, read lazily; the filters are those of `esctl replay`."""
        if isinstance(types, str | bytes):
            raise ArgumentError(f"types takes several types, not the text {types!r}", why=f"write types=[{types!r}]")
        filters: dict[str, object] = {
            "category": category,
            "types": tuple(types),
            "where": where,
            "limit": limit,
            "last": last,
        }
        filters |= {"reverse": reverse, "system": system, "raw_schema": raw_schema}
        query = self._query(stream, since, until, as_of, **filters)
        return Events(self._turns, self._log.read(query), self._read)

    def _query(
        self,
        stream: str | None,
        since: Point | None,
        until: Point | None,
        as_of: Point | None,
        **filters: object,
    ) -> Query:
        """The query for these points and filters."""
        first, last, then = (None if point is None else point_of(point) for point in (since, until, as_of))
        return query_of(self._log, stream, since=first, until=last, as_of=then, **filters)

    @_in_turn
    def state(
        self, stream: str, *, until: Point | None = None, as_of: Point | None = None, aggregate: str | None = None
    ) -> State:
        """The state of a stream at a point; see `esctl state`."""
        found = folding.state(self._log, self._query(stream, None, until, as_of), aggregate)
        with Deeper():
            return State(*found[:5], self._read(found.state), found.state)

    @_in_turn
    def apply_model(self, path: str | os.PathLike[str]) -> bool:
        """Apply a model file; False if it is in force already. Raises RefusedError if something is wrong with it."""
        draft = plan.sound(Path(path))
        return plan.apply(self._log, draft, self._log.definitions.position) is not None

    @_in_turn
    def project(self, *names: str) -> dict[str, int]:
        """Bring projections (all, or those named) up to the head; return their positions.

        Raises HandlerError if a handler fails.
        """
        done = runs.Run()
        for _ in runs.run(self._log, names, done):
            pass
        done.end()
        return {str(record["projection"]): int(str(record["position"])) for record in done.records}

    def react(
        self, name: str, handler: Callable[[Event], object], **options: Unpack[functions.Options]
    ) -> dict[str, Any]:
        """Call a function for each event, in order, at least once; see `esctl help reactions`. Return what was done.

        A new reaction begins at `start`: "beginning", "now" or a point. The handler has failed if it raises; `Retry`
        and `Park` have the meaning of exit 75 and 65. With `append`, it returns events. With `follow`, it goes on until
        `stop` is set. Raises HandlerError if an event fails for the last time and is not to be parked or skipped.
        """
        from esctl.reactions import functions  # noqa: PLC0415 - not every program has reactions

        with self._turns, self._log.transaction(keep=False):
            pass  # it is open, and for writing
        with self._turns if self._log.path == MEMORY else nullcontext():  # else others may use the log meanwhile
            return functions.react(self._log, name, functions.Functions(handler, self._read), options)

    @_in_turn
    def rows(
        self,
        projection: str,
        *,
        table: str | None = None,
        where: str | None = None,
        order_by: str | None = None,
        limit: int | None = None,
        until: Point | None = None,
        as_of: Point | None = None,
    ) -> list[dict[str, Any]]:
        """The rows of a projection, now or at a point; see `esctl projection show`.

        Without a point, a projection that is only a little behind catches up first, unless the log cannot be written.
        """
        row_filter = RowFilter(table, where, order_by, limit)
        declared = versions.declared(self._log, projection)
        if until is None and as_of is None:
            with self._current() as now:
                freshness.freshen(now, projection)
                found = reading.rows(now, declared, row_filter, built=False)
        else:
            with EventLog(self._log.path) as past:  # the rows are built in temporary tables of another connection
                for _ in reading.at(past, declared, self._query(None, None, until, as_of)):
                    pass
                found = reading.rows(past, declared, row_filter, built=True)
        return [dict(zip(found.columns, row, strict=True)) for row in found.rows]

    def _current(self) -> AbstractContextManager[EventLog]:
        """A connection in which a projection can catch up. In memory a second one would wait for unfinished replays."""
        return nullcontext(self._log) if self._log.path == MEMORY else freshness.opened(self._second)

    def _second(self, write: bool) -> EventLog:
        """Another connection to the same log."""
        return EventLog(self._log.path, write=write, timeout=min(self._timeout, freshness.LOCK_SECONDS))

    @_in_turn
    def show(self, reference: int | str | UUID) -> Event:
        """The event with a position or an id; raises NotFoundError."""
        return decoded(self._log.event(str(reference)).event, self._read)

    @_in_turn
    def version(self, stream: str) -> int:
        """The version of a stream's newest event; 0 if there is no such stream."""
        return self._log.store.stream_version(stream)

    @_in_turn
    def head(self) -> str:
        """`<position>:<hash>` of the newest event; saved elsewhere, it later proves that nothing before it changed."""
        return str(self._log.head())

    @_in_turn
    def verify(self, *, full: bool = True, expect_head: str | None = None) -> verify.Report:
        """Check the log, with `full` every event; see `esctl verify`. Damage may show first as a plain ValueError."""
        return verify.verify(self._log, full=full, expect_head=expect_head)

    @_in_turn
    def mark(self, name: str, point: Point | None = None, *, by: Literal["recorded", "time"] | None = None) -> Mark:
        """Give a name to a point, by default to the newest event. A time is when events were recorded; by "time", when
        they happened.
        """
        position = self._log.head().position if point is None else located(self._log, point_of(point), by=by).position
        return marks.set_mark(self._log, name, position)

    @_in_turn
    def marks(self) -> dict[str, Mark]:
        """All marks, by name."""
        return marks.marks(self._log)

    @_in_turn
    def info(self) -> dict[str, Any]:
        """Counts, sizes and times of the log; see `esctl info`."""
        return self._log.store.facts().info()

    @_in_turn
    def backup(self, target: str | os.PathLike[str]) -> None:
        """Copy the log into a new file, also while it is in use."""
        copies.backup(self._log, Path(target))

    def close(self) -> None:
        """Close the file. May be called twice; every other method then refuses."""
        self._turns.end(self._log.close)


class Events(Iterator[Event]):
    """The events of one replay, decoded as they are asked for."""

    def __init__(self, turns: Turns, source: Iterator[SealedEvent], read: Callable[[str], Any]) -> None:
        self._turns, self._lock, self._source, self._read = turns, turns.lock, source, read

    def __next__(self) -> Event:
        with self._lock:  # as a turn, but in half the time
            if self._turns.ended:
                raise self._turns.refusal()
            sealed = next(self._source)
        return decoded(sealed.event, self._read)

    def close(self) -> None:
        """End the replay, and a statement of it that is not finished."""
        with self._lock:
            self._source = iter(())


def _warn(path: str, notes: list[str]) -> None:
    """Log the notes on events that were appended."""
    if notes:
        import logging  # noqa: PLC0415 - it takes longer to load than an append does

        for note in notes:
            logging.getLogger("esctl").warning("%s: %s", path, note)


def _line(event: Mapping[str, Any]) -> bytes:
    if not isinstance(event, Mapping):
        raise ArgumentError(
            f"an event is a mapping, not {type(event).__name__}", why='such as {"stream": …, "type": …}'
        )
    return encoded(dict(event))
