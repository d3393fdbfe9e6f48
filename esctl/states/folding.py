"""Fold events into states: of one stream or of every stream, at any point."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from esctl.errors import EsctlError, MisfitError, UsageError
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

MAX_STREAMS = 1000  # folded at once when many streams are folded, which bounds the states in memory
MAX_EVENTS = 20_000  # fed at once when many streams are folded
NAMED = 10  # streams that cannot be folded, in the text of an error
MAX_FAILURES = 100  # of them in its details
MAX_STREAMS_WITH_ARCHIVE = 20_000  # more, since each portion decompresses the whole archive

Report = Callable[[str], None]


class StateAt(Record):
    """A stream's state (JSON text), with the aggregate that folded it (None: all payloads merged) and the last event's
    version, position and time (0, 0, None: before the first event). `snapshot` is the version of the snapshot that the
    fold began from (None: from the beginning), `folded` the number of events folded.
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
        """The state as a record; `explained`: with `snapshot` and `folded`."""
        fields: dict[str, object] = dict(zip(self._fields[:5], self[:5], strict=True))
        fields["state"] = Json(self.state)
        return fields | ({"snapshot": self.snapshot, "folded": self.folded} if explained else {})

    def line(self) -> bytes:
        """The state as a line of JSON."""
        names = self._fields[:5]
        pairs = [f'"{name}":{text_of(value)}' for name, value in zip(names, self[:5], strict=True)]
        return f'{{{",".join(pairs)},"state":{self.state}}}\n'.encode()


class Folding(Record):
    """A stream's fold, begun at a snapshot or before the first event, and the query for the events still to fold."""

    stream: str
    aggregate: Aggregate | None
    program: Program
    fold: Fold
    snapshot: Snapshot | None
    query: Query


def state(
    log: EventLog, query: Query, aggregate: str | None = None, *, saved: bool = True, ignored: Report = lambda _: None
) -> StateAt:
    """The state of the query's stream at the query's end. With `saved`, start from a snapshot if one is usable;
    unusable ones are reported to `ignored`.

    Raises NotFoundError for an unknown stream or aggregate, MisfitError for an event that cannot be folded.
    """
    query, version = ending(log, query)
    folding = begin(log, query, aggregate, saved=saved, ignored=ignored)
    try:
        for _ in folding.fold.feed(folding.query):
            pass
        found = _at(folding)
    except MisfitError as error:
        raise named(log, folding, error) from error
    finally:
        folding.fold.close()
    return found if version is None else _ended(log, found, version)


def _ended(log: EventLog, found: StateAt, version: int) -> StateAt:
    """A state with the version, position and time of a later event that upcasts hide: a writer has to expect that
    version.
    """
    if version == found.version:
        return found
    query = Query(stream=found.stream, since_version=version, until_version=version, raw_schema=True)
    for event, _, _ in log.store.read(query):
        return found._replace(version=version, position=event.position, time=event.time)
    return found


def ending(log: EventLog, query: Query) -> tuple[Query, int | None]:
    """A query of one stream, bounded by the present head, and the stream's version there (None if a time bounds the
    query). Upcasts may hide the newest events, but a writer has to expect their version.
    """
    if query.until_time is not None or not query.stream:
        return query, None
    position = min(query.until, log.head().position)
    if query.as_of is not None:
        position = min(position, log.store.places().position_at(query.as_of))
    version = log.store.places().version_until(query.stream, position)
    if not version:
        return query, None
    query = query.replace(until=position)
    return query, version if query.until_version is None else min(version, query.until_version)


def begin(
    log: EventLog, query: Query, aggregate: str | None = None, *, saved: bool = True, ignored: Report = lambda _: None
) -> Folding:
    """Prepare the fold of a query's stream; the query in the result starts after the snapshot, if one is usable."""
    definitions, stream = log.definitions, query.stream or ""
    log.require(query)
    chosen = definitions.aggregate(aggregate) if aggregate else definitions.of_stream(stream)
    program = definitions.program(chosen)
    snapshot = None
    if saved:
        usable = snapshots.usable(log.store, stream, program, definitions.upcasts, bounds(log, query), ignored)
        snapshot = next(usable, None)
    fold = log.store.fold(program, definitions.upcasting)
    fold.begin(stream, snapshot.values if snapshot else None)
    if snapshot:
        query = query.replace(since_version=snapshot.version + 1)
    return Folding(stream, chosen, program, fold, snapshot, query)


def bounds(log: EventLog, query: Query) -> snapshots.Bounds:
    """The bounds within which a snapshot is usable for the end of a query."""
    position = query.until
    if query.as_of is not None:
        position = min(position, log.store.places().position_at(query.as_of))
    return snapshots.Bounds(query.until_version, position, query.until_time)


def named(log: EventLog, folding: Folding, error: MisfitError) -> MisfitError:
    """The error of a fold, with the field of the model at which it failed."""
    from esctl.store import misfits as places  # noqa: PLC0415 - only a failure needs it

    stream, raw = folding.stream, folding.query.raw_schema
    return places.in_fold(log.store, log.definitions.model, folding.aggregate, folding.fold, stream, error, raw=raw)


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
    except MisfitError as error:
        raise named(log, folding, error) from error
    finally:
        folding.fold.close()


def states(log: EventLog, aggregate: str, query: Query, where: str | None = None) -> Iterator[StateAt]:
    """The state of every stream of an aggregate at the end of a query, if it matches the condition `where`.

    In the order of stream names; folded in portions, so that memory use does not grow with the number of streams.
    Streams that cannot be folded are left out; at the end, MisfitError names them.
    """
    unfit: list[MisfitError] = []
    yield from _states(log, aggregate, query, where, unfit)
    if unfit:
        raise several(unfit)


def _states(
    log: EventLog, aggregate: str, query: Query, where: str | None, unfit: list[MisfitError]
) -> Iterator[StateAt]:
    """The same; the errors of streams that cannot be folded are added to `unfit`."""
    if where is not None:
        check_condition(where, STATE_COLUMNS)
    found = log.definitions.aggregate(aggregate)
    log.require(query)
    query = query.replace(until=min(query.until, log.head().position))  # of one head, however many portions
    fold = log.store.fold(log.definitions.program(found), NO_UPCASTS if query.raw_schema else log.definitions.upcasting)
    hiding, until = query.until_time is None and log.definitions.hides, bounds(log, query).position or 0
    for streams in _portions(log, found):
        for stream, version, position, time, text in _fitting(log, found, fold, streams, query, where, unfit):
            if version:  # else the stream has no event by then
                state_ = StateAt(stream, aggregate, version, position, time, text, None, version)
                yield _ended(log, state_, log.store.places().version_until(stream, until)) if hiding else state_
    fold.close()


def _fitting(
    log: EventLog,
    aggregate: Aggregate,
    fold: Fold,
    streams: list[str],
    query: Query,
    where: str | None,
    unfit: list[MisfitError],
) -> Iterator[tuple[str, int, int, str, str]]:
    """The states of streams, but for those that cannot be folded, whose errors are added to `unfit`.

    A failure undoes what was fed with it, so the streams are halved until it is known whose it is.
    """
    try:
        fold.begin_all(streams)
        if len(streams) > 1:
            fold.feed_all(query)
        else:
            for _ in fold.feed(query.replace(stream=streams[0])):
                pass
    except MisfitError as error:
        if len(streams) == 1:
            one = Folding(streams[0], aggregate, log.definitions.program(aggregate), fold, None, query)
            unfit.append(named(log, one, error))
        fold.clear()
    else:
        yield from fold.states(where)
        fold.clear()
        return
    if len(streams) > 1:
        half = len(streams) // 2
        for some in (streams[:half], streams[half:]):
            yield from _fitting(log, aggregate, fold, some, query, where, unfit)


def several(unfit: list[MisfitError]) -> MisfitError:
    """One error for all streams that cannot be folded."""
    first = unfit[0]
    first.details["failures"] = [
        {key: error.details[key] for key in ("stream", "position", "field", "reason") if key in error.details}
        for error in unfit[:MAX_FAILURES]
    ]
    if len(unfit) > 1:
        others = [f"{error.details.get('stream')} (position {error.details.get('position')})" for error in unfit[1:]]
        more = f", and {len(others) - NAMED} more" if len(others) > NAMED else ""
        first.why = f"{first.why}; nor can these be folded: {', '.join(others[:NAMED])}{more}".removeprefix("; ")
    return first


def question(log: EventLog, sql: str, *, raw_schema: bool = False) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
    """The columns and rows of a SELECT over the log, its projections, and `states`, which has a row per stream of an
    aggregate: `stream`, `aggregate`, `version`, `position`, `time`, `state`. It is only folded if the SQL names it.

    Streams that cannot be folded are left out; after the last row, MisfitError names them.
    """
    named = "states" in (word.lower() for word in words_of(sql))

    unfit: list[MisfitError] = []

    def all_states() -> Iterator[tuple[object, ...]]:
        unfit.clear()
        for name in log.definitions.model.aggregates:
            for found in _states(log, name, Query(), None, unfit):
                yield found[:6]

    def answers(rows: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        try:
            yield from rows
        except UsageError as error:
            raise _of_upcast(log, error, raw_schema) from error
        if unfit:
            raise several(unfit)

    try:
        names, rows = log.question(sql, raw_schema=raw_schema, states=all_states if named else None)
    except UsageError as error:
        raise _of_upcast(log, error, raw_schema) from error
    return names, answers(rows)


def _of_upcast(log: EventLog, error: UsageError, raw_schema: bool) -> EsctlError:
    """The error of an event that cannot be upcast, if that is why a question failed; otherwise the same error."""
    from esctl.store.questions import FAILED_ON_A_ROW  # noqa: PLC0415 - only a question needs it

    if raw_schema or error.code != FAILED_ON_A_ROW or not log.upcasting(Query()):
        return error
    with EventLog(log.path) as other:  # after a question, a connection can do nothing else
        try:
            for _ in other.read(Query()):
                pass
        except MisfitError as misfit:
            return misfit if misfit.details.get("reason") == str(error.__cause__) else error
    return error


def doubts(log: EventLog, aggregate: Aggregate, definitions: Definitions) -> Iterator[tuple[int, str]]:
    """Position and type of every stored event that an aggregate's rules would refuse, read with these definitions."""
    for _, doubted in _trial(log, aggregate, definitions, None, doubt=True):
        yield from doubted


def misfits(
    log: EventLog, aggregate: Aggregate, definitions: Definitions, only: Collection[str] | None = None
) -> Iterator[tuple[int, str]]:
    """Position and reason of the first event of each stream, or of some, that an aggregate cannot fold, with these
    definitions.
    """
    for found, _ in _trial(log, aggregate, definitions, only, doubt=False):
        yield from sorted(found.items())


def _trial(
    log: EventLog, aggregate: Aggregate, definitions: Definitions, only: Collection[str] | None, *, doubt: bool
) -> Iterator[tuple[dict[int, str], list[tuple[int, str]]]]:
    """Fold all streams of an aggregate, in portions; yield the misfits by position, and the events that rules refuse.

    A stream has no state after its first misfit, so its later events are not checked.
    """
    misfits: dict[int, str] = {}

    def note(position: object, reason: object) -> None:
        misfits.setdefault(int(str(position)), str(reason))

    from esctl.model.operations import program  # noqa: PLC0415 - a cached model does not need it

    fold = log.store.fold(program(aggregate), definitions.upcasting, note)
    for streams in _portions(log, aggregate, only):
        fold.begin_all(streams)
        doubted = fold.feed_all(Query(), doubt=doubt)
        yield misfits, doubted
        misfits.clear()
        fold.clear()
    fold.close()


def _portions(log: EventLog, aggregate: Aggregate, only: Collection[str] | None = None) -> Iterator[list[str]]:
    """The streams of an aggregate, in portions bounded by streams and events."""
    portion: list[str] = []
    events, limits = 0, (MAX_STREAMS, MAX_EVENTS)
    if log.store.archive() is not None:
        limits = MAX_STREAMS_WITH_ARCHIVE, MAX_POSITION
    for stream, version in list(log.store.facts().matching(aggregate.streams)):
        if only is not None and stream not in only:
            continue
        if portion and (len(portion) == limits[0] or events + version > limits[1]):
            yield portion
            portion, events = [], 0
        portion.append(stream)
        events += version
    if portion:
        yield portion


class Held:
    """Rows up to a MisfitError, which `end` raises: what came before it is printed first."""

    def __init__(self, rows: Iterator[Any]) -> None:
        self._rows = rows
        self._error: MisfitError | None = None

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from self._rows
        except MisfitError as error:
            self._error = error

    def end(self) -> None:
        """Raise the error that the rows ended with, if any."""
        if self._error is not None:
            raise self._error
