"""The status of projections: their versions, how far they are behind, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from esctl.errors import VerificationError
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.model.compiled import BUILDING, DROPPED, LIVE, Compiled, Version
from esctl.projections.versions import Record, declared, is_as_compiled
from esctl.sql.tokens import words_of


def listed(log: EventLog) -> list[Record]:
    """A record per version; a projection without one is `new`."""
    return [_brief(log, version) for version in _all(log)]


def _all(log: EventLog) -> list[Version]:
    versions = log.store.projections().versions()
    known = {version.name for version in versions}
    return versions + [
        Version(
            0, name, "new", projection.inline, 0, 0, "", Compiled(dict(projection.tables), {}, {}, {}, {}), None, 0, ""
        )
        for name, projection in log.definitions.model.projections.items()
        if name not in known
    ]


def _brief(log: EventLog, version: Version) -> Record:
    has_tables = version.state not in (DROPPED, "new")
    return {
        "projection": version.name,
        "version": version.version or None,
        "state": version.state,
        "inline": version.inline,
        "tables": ",".join(version.actual(table) if has_tables else table for table in version.compiled.tables),
        "position": version.position,
        "lag": lag(log, version),
    }


def lag(log: EventLog, version: Version) -> int:
    """How many events a version's rows lack, not counting the log's own."""
    return max(0, log.head().position - version.position - log.store.projections().count_own_after(version.position))


def behind(log: EventLog, sql: str) -> Iterator[tuple[str, int]]:
    """The live projections that lack events and whose tables an SQL text names; how many they lack."""
    words = {word.lower() for word in words_of(sql)}
    for version in log.store.projections().versions():
        if version.state == LIVE and words & {table.lower() for table in version.compiled.tables}:
            lacking = lag(log, version)
            if lacking:
                yield version.name, lacking


def status(log: EventLog, names: Sequence[str] = ()) -> list[Record]:
    """A record per version: rows, checkpoint, lag, size, fingerprint, and the failure that stopped it."""
    for name in names:
        declared(log, name)
    projections, found = log.store.projections(), list[Record]()
    for version in _all(log):
        if names and version.name not in names:
            continue
        behind = lag(log, version)
        found.append(
            {
                "projection": version.name,
                "version": version.version or None,
                "state": version.state,
                "rows": projections.count(version) if version.version else None,
                "position": version.position,
                "lag": behind,
                "lag_seconds": _age(log, version.position + 1) if behind else 0,
                "bytes": projections.size(version) if version.version else None,
                "fingerprint": version.fingerprint,
                "reducer": version.reducer,
                "failed": version.failed,
                "handler": version.handler,
                "error": version.error,
                "failed_at": version.failed_at,
            }
        )
    return found


def _age(log: EventLog, position: int) -> int | None:
    """How many seconds ago the event at a position, or the next one, was recorded."""
    for event, _, _ in log.store.read(Query(since=position, limit=1, raw_schema=True)):
        from esctl.events.times import age  # noqa: PLC0415 - only a projection that is behind needs it

        return age(event.recorded)
    return None


def problems(log: EventLog, *, full: bool) -> Iterator[tuple[str, str]]:
    """What is inconsistent in the records of projections, each with the projection's name ("": it cannot be read); with
    `full`, also compiled forms that are not what the model compiles to. `differences.checked` checks the rows.
    """
    projections, head = log.store.projections(), log.head().position
    try:
        versions = projections.versions()
    except VerificationError as error:
        yield "", error.why
        return
    for version in versions:
        for table in projections.missing_tables(version):
            yield version.name, f"the table {table} of the projection {version.name} is not there"
        if version.version < 1:
            yield version.name, f"a version of the projection {version.name} has the number {version.version}"
        if not 0 <= version.position <= head:
            yield version.name, f"the projection {version.name} is at position {version.position}, the head at {head}"
        if full and version.state in (LIVE, BUILDING) and not is_as_compiled(log, version):
            yield version.name, f"the compiled form of the projection {version.name} is not what the model compiles to"


def waiting(log: EventLog) -> bool:
    """Whether any projection lacks events."""
    versions = log.store.projections().versions()
    return any(lag(log, version) for version in versions if version.state in (LIVE, BUILDING))
