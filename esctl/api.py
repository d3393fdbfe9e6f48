"""The Python API: `from esctl import open_log`.

    with open_log("shop.db", write=True) as log:
        log.append("order-1", "OrderPlaced", {"total": 99.9}, expect="none")
        for event in log.replay("order-1", until="v3"):
            print(event.position, event.data["total"])

It uses the same `EventLog` as the command line, with the same checks, errors (`esctl.errors`) and points.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from esctl.append import pins
from esctl.append.expectations import AppendCondition
from esctl.append.writer import Writer
from esctl.errors import EsctlError, RefusedError, UsageError
from esctl.events import chain
from esctl.events.decoded import Event as Event  # noqa: PLC0414 - part of this API
from esctl.events.decoded import decoded
from esctl.events.event import Expect
from esctl.events.lines import Defaults, deeper, parser
from esctl.events.times import utc_text
from esctl.evolution import plan
from esctl.log import EventLog
from esctl.points import marks
from esctl.points.marks import Mark
from esctl.points.points import query_of
from esctl.projections import freshness, reading, runs, versions
from esctl.projections.reading import RowFilter
from esctl.sql.conditions import check_condition
from esctl.states import folding
from esctl.upkeep import copies, verify

chain.for_many()  # a Python process usually hashes many events


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
    schemas: Mapping[str, int] | None = None,
) -> Log:
    """Open the log at `path` for reading, with `write` also for appending; `create` makes a missing log.

    `timeout` bounds the wait for another writer, in seconds. `schemas` pins types to the schema version that events
    without one get, in place of the model's newest; ESCTL_SCHEMA does so for other types. Raises NotFoundError,
    StorageVersionError or UnavailableError.
    """
    place = Path(path)
    if create and not place.exists():
        from esctl.store import migrations  # noqa: PLC0415 - sqlite-utils, only to make a log

        try:
            migrations.create(place)
        except UsageError:
            if not place.exists():  # else another process has just created it, which is as good
                raise
    chosen = pins.from_environment() if write else {}
    for type_, schema in (schemas or {}).items():
        pins.checked(type_, schema)
        chosen[type_] = schema
    log = EventLog(place, write=write, bulk=write, timeout=timeout)
    log.pins = chosen
    return Log(log)


class State(msgspec.Struct, frozen=True):
    """The state of a stream, with the aggregate that folded it (None: payloads merged) and the last event folded."""

    stream: str
    aggregate: str | None
    version: int
    position: int
    time: str | None
    state: Any


class Log:
    """An open log; use it in a `with` block, or close it. Not for several threads at once."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
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
        id: str | None = None,
        time: str | datetime | None = None,
        schema: int | None = None,
        meta: Mapping[str, Any] | None = None,
        expect: Expect | None = None,
        if_none_match: str | None = None,
        after: int = 0,
    ) -> Receipt:
        """Append one event durably; `data` is any JSON value, by default an empty object.

        `expect` is any, none, exists or the stream's current version. `if_none_match` is an SQL condition that no event
        after the position `after` may match. Raises ConflictError or RefusedError; then nothing is stored.
        """
        event = {
            "stream": stream,
            "type": type,
            "data": {} if data is None else data,
            "id": id,
            "time": utc_text(time) if isinstance(time, datetime) else time,
            "schema": schema,
            "meta": None if meta is None else dict(meta),
            "expect": expect,
        }
        condition = None
        if if_none_match is not None:
            check_condition(if_none_match)
            condition = AppendCondition(if_none_match, after)
        return self._append([event], condition)[0]

    def append_all(self, events: Iterable[Mapping[str, Any]]) -> list[Receipt]:
        """Append events in one transaction, all or none; each is a mapping with the keys of an input line."""
        return self._append(events, None)

    def _append(self, events: Iterable[Mapping[str, Any]], condition: AppendCondition | None) -> list[Receipt]:
        parsed = [self._parse(_json(event)) for event in events]
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
        return [Receipt(*receipt) for receipt in receipts]

    def replay(
        self,
        stream: str | None = None,
        *,
        category: str | None = None,
        types: Iterable[str] = (),
        where: str | None = None,
        since: str | None = None,
        until: str | None = None,
        as_of: str | None = None,
        limit: int | None = None,
        last: int | None = None,
        reverse: bool = False,
        system: bool = False,
        raw_schema: bool = False,
    ) -> Iterator[Event]:
        """The events in position order, read lazily; the filters are those of `esctl replay`."""
        filters = {"category": category, "types": tuple(types), "where": where, "limit": limit, "last": last}
        filters |= {"reverse": reverse, "system": system, "raw_schema": raw_schema}
        query = query_of(self._log, stream, since=since, until=until, as_of=as_of, **filters)
        return (decoded(event) for event, _, _ in self._log.read(query))

    def state(
        self, stream: str, *, until: str | None = None, as_of: str | None = None, aggregate: str | None = None
    ) -> State:
        """The state of a stream at a point; see `esctl state`."""
        found = folding.state(self._log, query_of(self._log, stream, until=until, as_of=as_of), aggregate)
        with deeper(b""):
            return State(*found[:5], json.loads(found.state))

    def apply_model(self, path: str | os.PathLike[str]) -> bool:
        """Apply a model file; False if it is in force already. Raises RefusedError if something is wrong with it."""
        draft = plan.sound(Path(path))
        return plan.apply(self._log, draft, self._log.definitions.position) is not None

    def project(self, *names: str) -> dict[str, int]:
        """Bring projections (all, or those named) up to the head; return their positions.

        Raises HandlerError if a handler fails.
        """
        done = runs.Run()
        for _ in runs.run(self._log, names, done):
            pass
        done.end()
        return {str(record["projection"]): int(str(record["position"])) for record in done.records}

    def rows(
        self,
        projection: str,
        *,
        table: str | None = None,
        where: str | None = None,
        order_by: str | None = None,
        limit: int | None = None,
        until: str | None = None,
        as_of: str | None = None,
    ) -> list[dict[str, Any]]:
        """The rows of a projection, now or at a point; see `esctl projection show`.

        Without a point, a projection that is only a little behind catches up first, unless the log cannot be written.
        """
        row_filter = RowFilter(table, where, order_by, limit)
        declared = versions.declared(self._log, projection)
        if until is None and as_of is None:
            with freshness.opened(self._second) as now:
                freshness.freshen(now, projection)
                found = reading.rows(now, declared, row_filter, built=False)
        else:
            with EventLog(self._log.path) as past:  # the rows are built in temporary tables of another connection
                for _ in reading.at(past, declared, query_of(past, None, until=until, as_of=as_of)):
                    pass
                found = reading.rows(past, declared, row_filter, built=True)
        return [dict(zip(found.columns, row, strict=True)) for row in found.rows]

    def _second(self, write: bool) -> EventLog:
        """Another connection to the same log."""
        return EventLog(self._log.path, write=write, timeout=min(self._timeout, freshness.LOCK_SECONDS))

    def show(self, reference: int | str) -> Event:
        """The event with a position or an id; raises NotFoundError."""
        return decoded(self._log.event(str(reference)).event)

    def version(self, stream: str) -> int:
        """The version of a stream's newest event; 0 if there is no such stream."""
        return self._log.store.stream_version(stream)

    def head(self) -> str:
        """`<position>:<hash>` of the newest event; saved elsewhere, it later proves that nothing before it changed."""
        return str(self._log.head())

    def verify(self, *, full: bool = True, expect_head: str | None = None) -> verify.Report:
        """Check the log, with `full` every event; see `esctl verify`."""
        return verify.verify(self._log, full=full, expect_head=expect_head)

    def mark(self, name: str, point: str | None = None) -> Mark:
        """Give a name to a point, by default to the newest event."""
        position = self._log.head().position if point is None else marks.position_at(self._log, point)
        return marks.set_mark(self._log, name, position)

    def _position(self, mark: str) -> int | None:
        return marks.position_named(self._log, mark)

    def marks(self) -> dict[str, Mark]:
        """All marks, by name."""
        return marks.marks(self._log)

    def info(self) -> dict[str, Any]:
        """Counts, sizes and times of the log; see `esctl info`."""
        return self._log.store.facts().info()

    def backup(self, target: str | os.PathLike[str]) -> None:
        """Copy the log into a new file, also while it is in use."""
        copies.backup(self._log, Path(target))

    def close(self) -> None:
        """Close the file."""
        self._log.close()


def _json(event: Mapping[str, Any]) -> bytes:
    """An event as an input line. Not msgspec, which would write NaN and the infinities, which JSON lacks, as null."""
    try:
        with deeper(b""):
            return json.dumps(dict(event), allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
    except (ValueError, TypeError, RecursionError) as error:  # also UnicodeEncodeError, for half a surrogate pair
        raise RefusedError("the event cannot be written as JSON", why=str(error)) from error
