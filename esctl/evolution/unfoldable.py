"""Find the stored events that aggregates cannot fold: the first of each stream, also if SQLite does not say which."""

from __future__ import annotations

from collections.abc import Iterator

from esctl.errors import HandlerError, MisfitError
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.model.declared import Aggregate
from esctl.states import folding

MAX_EXPLAINED = 100  # misfits of which the field is looked up, which folds their streams once more


def unfoldable(log: EventLog) -> Iterator[tuple[int, str]]:
    """Position and reason of the first event of each stream that its aggregate, of the model in force, cannot fold."""
    for name, aggregate in log.definitions.model.aggregates.items():
        for position, reason in _of(log, aggregate):
            yield position, f"aggregate.{name} cannot fold it: {reason}"


def _of(log: EventLog, aggregate: Aggregate) -> Iterator[tuple[int, str]]:
    try:
        found = list(folding.misfits(log, aggregate, log.definitions))
    except (MisfitError, HandlerError):  # SQLite itself failed on an event, and does not say on which
        yield from _one_by_one(log, aggregate)
        return
    seen: set[str] = set()
    for position, reason in found:
        for event, _, _ in log.read(Query(since=position, until=position, raw_schema=True)):
            if event.stream not in seen:  # what follows a misfit is folded onto no state
                seen.add(event.stream)
                error = _failure(log, aggregate, event.stream, event.version) if len(seen) <= MAX_EXPLAINED else None
                yield position, _reason(error) if error else reason


def _one_by_one(log: EventLog, aggregate: Aggregate) -> Iterator[tuple[int, str]]:
    """The same, stream by stream."""
    for stream, version in list(log.store.facts().matching(aggregate.streams)):
        try:
            if error := _failure(log, aggregate, stream, version):
                yield _first(log, aggregate, stream, version, error)
        except HandlerError as error:  # each further stream could cost the whole time limit
            yield _position(log, stream, version), f"{error.what}; the streams after {stream} were not folded"
            return


def _first(log: EventLog, aggregate: Aggregate, stream: str, version: int, error: MisfitError) -> tuple[int, str]:
    """Position and reason of the first misfit of a stream that cannot be folded up to a version."""
    if isinstance(position := error.details.get("position"), int):
        return position, _reason(error)
    sound = 0  # the fold up to this version works, up to `version` it does not
    while version - sound > 1:
        middle = (sound + version) // 2
        if failure := _failure(log, aggregate, stream, middle):
            version, error = middle, failure
        else:
            sound = middle
    return _position(log, stream, version), _reason(error)


def _failure(log: EventLog, aggregate: Aggregate, stream: str, version: int) -> MisfitError | None:
    """The error of a stream's fold up to a version; None if there is none."""
    try:
        folding.state(log, Query(stream=stream, until_version=version), aggregate.name, saved=False)
    except MisfitError as error:
        return error
    return None


def _reason(error: MisfitError) -> str:
    reason = error.details.get("reason", error.__cause__ or error.what)
    return f"{error.details['field']}: {reason}" if "field" in error.details else str(reason)


def _position(log: EventLog, stream: str, version: int) -> int:
    one = Query(stream=stream, since_version=version, until_version=version, raw_schema=True)
    return next(event.position for event, _, _ in log.read(one))
