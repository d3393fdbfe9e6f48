"""States: what the events of a stream, or of every stream, add up to at any point."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from esctl.events.json import Json, text_of
from esctl.events.query import MAX_POSITION, NO_UPCASTS, Query
from esctl.events.record import Record
from esctl.log import EventLog
from esctl.model.applied import Definitions
from esctl.model.declared import Aggregate
from esctl.model.program import Program
from esctl.sql.conditions import STATE_COLUMNS, check_condition
from esctl.sql.tokens import words_of
from esctl.states import snapshots
from esctl.store.folds import Fold
from esctl.store.snapshots import Snapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MOST_STREAMS = 1000  # whose states are held at once when many are folded
MOST_EVENTS = 20_000  # that are fed at once when many streams are folded
MOST_STREAMS_OF_ARCHIVE = 20_000  # each portion unpacks all of it

Report = Callable[[str], None]


class StateAt(Record):
    """A stream's state: folded by which aggregate (None: all payloads merged), up to which event (version and position
    0, no time: before the first), and as JSON text; from which snapshot's version (None: from the beginning), and how
    many events were folded.
    """

    stream: str
    aggregate: str | None
    version: int
    position: int
    time: str | None
    state: str
    snapshot: int | None
    folded: int

    def record(self, *, explained: bool = False) -> dict[str, object]:
        """The state as it is printed; `explained`: with the snapshot that served and the number of events folded."""
        made: dict[str, object] = dict(zip(self._fields[:5], self[:5], strict=True))
        made["state"] = Json(self.state)
        return made | ({"snapshot": self.snapshot, "folded": self.folded} if explained else {})

    def line(self) -> bytes:
        """The state as a line of JSON."""
        names = self._fields[:5]
        pairs = [f'"{name}":{text_of(value)}' for name, value in zip(names, self[:5], strict=True)]
        return f'{{{",".join(pairs)},"state":{self.state}}}\n'.encode()


class Folding(Record):
    """A stream, how it is folded, and the fold, which has begun at a snapshot or before the first event."""

    stream: str
    aggregate: Aggregate | None
    program: Program
    fold: Fold
    snapshot: Snapshot | None
    query: Query


def state(
    log: EventLog, query: Query, aggregate: str | None = None, *, saved: bool = True, ignored: Report = lambda _: None
) -> StateAt:
    """The state of the query's stream at its end. With `saved`, start from a snapshot if one is usable.

    Unusable ones are reported to `ignored`.

    Raises NotFoundError for a stream or an aggregate that is not there, MisfitError for an event that cannot be folded.
    """
    query, version = ending(log, query)
    folding = begin(log, query, aggregate, saved=saved, ignored=ignored)
    try:
        for _ in folding.fold.feed(folding.query):
            pass
        found = _at(folding)
    finally:
        folding.fold.close()
    return found if version is None else _ended(log, found, version)


def _ended(log: EventLog, found: StateAt, version: int) -> StateAt:
    """A state as of an event that comes after the last that is folded, and that upcasts hide: it is what a writer has
    to expect.
    """
    if version == found.version:
        return found
    query = Query(stream=found.stream, since_version=version, until_version=version, raw_schema=True)
    for event, _, _ in log.store.read(query):
        return found._replace(version=version, position=event.position, time=event.time)
    return found


def ending(log: EventLog, query: Query) -> tuple[Query, int | None]:
    """A query of one stream that ends where the stream does now, and the version there: its newest events may be hidden
    by upcasts, and it is this version that a writer has to expect. None where a time bounds the query.
    """
    if query.until_time is not None or not query.stream:
        return query, None
    position = min(query.until, log.head().position)
    if query.as_of is not None:
        position = min(position, log.store.position_at(query.as_of))
    version = log.store.version_until(query.stream, position)
    if not version:
        return query, None
    query = query.replace(until=position)
    return query, version if query.until_version is None else min(version, query.until_version)


def begin(
    log: EventLog, query: Query, aggregate: str | None = None, *, saved: bool = True, ignored: Report = lambda _: None
) -> Folding:
    """Prepare the fold of a query's stream; its query reads on from the snapshot, where one serves."""
    definitions, stream = log.definitions, query.stream or ""
    log.require(query)
    found = definitions.aggregate(aggregate) if aggregate else definitions.of_stream(stream)
    program = definitions.program(found)
    snapshot = None
    if saved:
        usable = snapshots.usable(log.store, stream, program, definitions.upcasts, bounds(log, query), ignored)
        snapshot = next(usable, None)
    fold = log.store.fold(program, definitions.upcasting)
    fold.begin(stream, snapshot.values if snapshot else None)
    if snapshot:
        query = query.replace(since_version=snapshot.version + 1)
    return Folding(stream, found, program, fold, snapshot, query)


def bounds(log: EventLog, query: Query) -> snapshots.Bounds:
    """What a snapshot may hold to serve the end of a query."""
    position = query.until
    if query.as_of is not None:
        position = min(position, log.store.position_at(query.as_of))
    return snapshots.Bounds(query.until_version, position, query.until_time)


def _at(folding: Folding) -> StateAt:
    (version, position, time, _, text), folded = folding.fold.state(folding.stream)
    name = folding.aggregate.name if folding.aggregate else None
    since = folding.snapshot.version if folding.snapshot else None
    return StateAt(folding.stream, name, version, position, time or None, text, since, folded)


def each(log: EventLog, query: Query, aggregate: str | None = None) -> Iterator[StateAt]:
    """The state of a stream after each of its events."""
    folding = begin(log, query, aggregate, saved=False)
    name = folding.aggregate.name if folding.aggregate else None
    try:
        for folded, (version, position, time, text) in enumerate(folding.fold.each(folding.query), 1):
            yield StateAt(folding.stream, name, version, position, time, text, None, folded)
    finally:
        folding.fold.close()


def states(log: EventLog, aggregate: str, query: Query, where: str | None = None) -> Iterator[StateAt]:
    """The state of every stream that an aggregate covers, at the end of a query, where a condition on it holds.

    In the order of names; some of them at a time, so that memory does not follow their number.
    """
    if where is not None:
        check_condition(where, STATE_COLUMNS)
    found = log.definitions.aggregate(aggregate)
    log.require(query)
    fold = log.store.fold(log.definitions.program(found), NO_UPCASTS if query.raw_schema else log.definitions.upcasting)
    hiding, until = query.until_time is None and log.definitions.hides, bounds(log, query).position or 0
    for streams in _portions(log, found):
        fold.begin_all(streams)
        fold.feed_all(query)
        for stream, version, position, time, text in fold.states(where):
            if version:  # else it has no event by then
                state_ = StateAt(stream, aggregate, version, position, time, text, None, version)
                yield _ended(log, state_, log.store.version_until(stream, until)) if hiding else state_
        fold.clear()
    fold.close()


def question(log: EventLog, sql: str, *, raw_schema: bool = False) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
    """The columns and rows of a SELECT over the log, its projections, and, where it names them, `states`: a row a
    stream that an aggregate covers, with `stream`, `aggregate`, `version`, `position`, `time` and `state`.
    """
    named = "states" in (word.lower() for word in words_of(sql))

    def everything() -> Iterator[tuple[object, ...]]:
        for name in log.definitions.model.aggregates:
            for found in states(log, name, Query()):
                yield found[:6]

    return log.question(sql, raw_schema=raw_schema, states=everything if named else None)


def doubts(log: EventLog, aggregate: Aggregate, definitions: Definitions) -> Iterator[tuple[int, str]]:
    """Position and type of every stored event that an aggregate's rules, read by definitions, would not accept."""
    for _, doubted in _tried(log, aggregate, definitions, doubt=True):
        yield from doubted


def misfits(log: EventLog, aggregate: Aggregate, definitions: Definitions) -> Iterator[tuple[int, str]]:
    """Position and reason of the first event of each stream that an aggregate, read by definitions, could not fold."""
    for noted, _ in _tried(log, aggregate, definitions, doubt=False):
        yield from sorted(noted.items())


def _tried(
    log: EventLog, aggregate: Aggregate, definitions: Definitions, *, doubt: bool
) -> Iterator[tuple[dict[int, str], list[tuple[int, str]]]]:
    """Fold all streams of an aggregate, some at a time; what cannot be done on events, and what rules do not accept.

    A stream that cannot be folded further has no state from there on, and is asked no more.
    """
    noted: dict[int, str] = {}

    def note(position: object, reason: object) -> None:
        noted.setdefault(int(str(position)), str(reason))

    from esctl.model.operations import program  # noqa: PLC0415 - a state of a kept model does without

    fold = log.store.fold(program(aggregate), definitions.upcasting, note)
    for streams in _portions(log, aggregate):
        fold.begin_all(streams)
        doubted = fold.feed_all(Query(), doubt=doubt)
        yield noted, doubted
        noted.clear()
        fold.clear()
    fold.close()


def _portions(log: EventLog, aggregate: Aggregate) -> Iterator[list[str]]:
    """The streams of an aggregate in portions of not too many events."""
    portion: list[str] = []
    events, most = 0, (MOST_STREAMS, MOST_EVENTS)
    if log.store.archive() is not None:
        most = MOST_STREAMS_OF_ARCHIVE, MAX_POSITION
    for stream, version in list(log.store.facts().matching(aggregate.streams)):
        if portion and (len(portion) == most[0] or events + version > most[1]):
            yield portion
            portion, events = [], 0
        portion.append(stream)
        events += version
    if portion:
        yield portion
