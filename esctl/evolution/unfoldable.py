"""Find the stored events that aggregates cannot fold: the first one of each stream, whoever reports it."""

from __future__ import annotations

from collections.abc import Iterator

from esctl.errors import MisfitError
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.model.applied import Definitions
from esctl.model.declared import Aggregate
from esctl.states import folding


def unfoldable(log: EventLog, definitions: Definitions) -> Iterator[tuple[int, str]]:
    """Position and reason of the first event of each stream that its aggregate cannot fold."""
    for name, aggregate in definitions.model.aggregates.items():
        try:
            found = list(_firsts(log, folding.misfits(log, aggregate, definitions)))
        except MisfitError:  # SQLite itself failed on an event, and does not say on which
            found = list(_one_by_one(log, aggregate, definitions))
        for position, reason in found:
            yield position, f"aggregate.{name} cannot fold it: {reason}"


def _firsts(log: EventLog, misfits: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """The first misfit of each stream: what follows it is folded onto no state."""
    seen: set[str] = set()
    for position, reason in misfits:
        for event, _, _ in log.read(Query(since=position, until=position, raw_schema=True)):
            if event.stream not in seen:
                seen.add(event.stream)
                yield position, reason


def _one_by_one(log: EventLog, aggregate: Aggregate, definitions: Definitions) -> Iterator[tuple[int, str]]:
    """The same for one aggregate, stream by stream."""
    for stream, version in list(log.store.facts().matching(aggregate.streams)):
        reason = _reason(log, aggregate, definitions, stream, version)
        if reason is None:
            continue
        sound, unsound = 0, version  # the fold up to the one version works, up to the other it does not
        while unsound - sound > 1:
            middle = (sound + unsound) // 2
            failure = _reason(log, aggregate, definitions, stream, middle)
            if failure is None:
                sound = middle
            else:
                unsound, reason = middle, failure
        one = Query(stream=stream, since_version=unsound, until_version=unsound, raw_schema=True)
        for event, _, _ in log.read(one):
            yield event.position, reason


def _reason(log: EventLog, aggregate: Aggregate, definitions: Definitions, stream: str, version: int) -> str | None:
    """Why a stream cannot be folded up to a version; None if it can."""
    noted: list[str] = []
    fold = log.store.fold(
        definitions.program(aggregate), definitions.upcasting, lambda _, reason: noted.append(str(reason))
    )
    try:
        fold.begin(stream)
        for _ in fold.feed(Query(stream=stream, until_version=version)):
            pass
    except MisfitError as error:
        return str(error.__cause__ or error.what)
    finally:
        fold.close()
    return noted[0] if noted else None
