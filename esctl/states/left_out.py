"""What a state at a time leaves out: versions that happened later, although later versions happened by then."""

from __future__ import annotations

from esctl.events.query import MAX_POSITION, Query
from esctl.log import EventLog
from esctl.states.folding import bounds


def note(log: EventLog, query: Query, aggregate: str | None = None) -> str:
    """How many versions the end of a query leaves out of its stream, or else of an aggregate's; empty if none."""
    if query.until_time is None:
        return ""
    bound = bounds(log, query)
    version = MAX_POSITION if query.until_version is None else query.until_version
    position = query.until if bound.position is None else bound.position
    name = query.stream or (log.definitions.aggregate(aggregate).streams if aggregate else "*")
    versions, streams = log.store.facts().left_out(name, query.until_time, position, version, glob=not query.stream)
    if not versions:
        return ""
    where = f"of {query.stream}" if query.stream else f"of {streams} stream{'s' * (streams != 1)}"
    return (
        f"{versions} version{'s' * (versions != 1)} {where} happened after {query.until_time} and"
        f" {'is' if versions == 1 else 'are'} left out, but later versions are not"
    )
