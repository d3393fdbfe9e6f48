"""What a state leaves out: at a time, versions that happened later, although later versions happened by then; in a
salvaged log, events that were lost.
"""

from __future__ import annotations

from collections.abc import Iterator

from esctl.events import system
from esctl.events.query import MAX_POSITION, Query
from esctl.log import EventLog
from esctl.states.folding import bounds


def notes(log: EventLog, query: Query, aggregate: str | None = None) -> Iterator[str]:
    """What a state at the end of a query leaves out of its stream, or else of an aggregate's streams."""
    has_lost = log.store.has_type(system.EVENT_LOST)
    if query.until_time is None and not has_lost:
        return
    bound, facts = bounds(log, query), log.store.facts()
    version = MAX_POSITION if query.until_version is None else query.until_version
    position = query.until if bound.position is None else bound.position
    name = query.stream or (log.definitions.aggregate(aggregate).streams if aggregate else "*")

    def of(streams: int) -> str:
        return f"of {query.stream}" if query.stream else f"of {streams} stream{'s' * (streams != 1)}"

    if query.until_time is not None:
        versions, streams = facts.left_out(name, query.until_time, position, version, glob=not query.stream)
        if versions:
            yield (
                f"{versions} version{'s' * (versions != 1)} {of(streams)} happened after {query.until_time} and"
                f" {'is' if versions == 1 else 'are'} left out, but later versions are not"
            )
    if has_lost:
        lost, streams = facts.lost(name, position, version, glob=not query.stream)
        if lost:
            yield f"{lost} event{'s' * (lost != 1)} {of(streams)} {'was' if lost == 1 else 'were'} lost by damage"
