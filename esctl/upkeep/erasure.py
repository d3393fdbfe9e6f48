"""Erase payloads for good: data, meta and salt, wherever the log stores them; the proof that they existed stays.

Each transaction erases some payloads, records the digests that replace them in the chain, and appends the event that
says which, why and by whom. So a killed run has erased exactly what its events say, and can be run again.
"""

from __future__ import annotations

import functools
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from esctl.archive import erasing, listing, tidying
from esctl.archive.erasing import Kind
from esctl.errors import (
    ConflictError,
    HandlerError,
    NotFoundError,
    RefusedError,
    UnavailableError,
    UsageError,
    VerificationError,
)
from esctl.events import chain, system
from esctl.events.event import Event, ranges
from esctl.events.paths import HINT, PathError, parts
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.model.applied import Definitions
from esctl.model.compiled import BUILDING, DROPPED, LIVE, Version
from esctl.projections import partial, runs, versions
from esctl.sql import quoting
from esctl.sql.paths import sql_path
from esctl.store.errors import BUSY
from esctl.store.segments import Segment
from esctl.upkeep import traces as traces_
from esctl.upkeep.traces import Traces

FILE_STAYS = "file-stays"  # the code of the error for a file with erased payloads that could not be removed
PAYLOADS_PER_TRANSACTION = 10_000
ROUNDS = 20  # of a rebuild of projections that other processes spoil by further erasures
MOVES = 100  # of events between hot table and segments, after which an erasure gives up


class Plan(NamedTuple):
    """The positions whose payloads will be erased, their number by type, the number by type of those that will not
    (`left`), because the model does not allow it, and the streams, types and schema versions affected.
    """

    positions: list[int]
    types: Counter[str]
    left: Counter[str]
    kinds: set[Kind]

    @property
    def streams(self) -> list[str]:
        """The streams affected, by name."""
        return sorted({stream for stream, _, _ in self.kinds})


def named(log: EventLog, references: Sequence[str], *, force: bool) -> Plan:
    """Plan the erasure of events by position or id. Raises NotFoundError, or RefusedError if one may not be erased."""
    found = [log.event(reference).event for reference in references]
    plan = _plan(log.definitions, found, force=force)
    if plan.left:
        types = ", ".join(plan.left)
        raise RefusedError(
            f"events of the type {types} are not erased",
            why="the log's model does not declare it erasable (erasable = true); --force erases them anyway",
            again="--force",
        )
    return plan


def of_stream(log: EventLog, stream: str, types: Sequence[str], *, force: bool) -> Plan:
    """Plan the erasure of a stream's events, or of those of some types in it."""
    return _plan(log.definitions, _both(log, Query(stream=stream, types=tuple(types))), force=force)


def of_subject(log: EventLog, subject: str, *, force: bool) -> Plan:
    """Plan the erasure of events whose payload, as stored or as upcast, has a value in a field (`customer_id=C-7`,
    `lines[0].email=a@b.se`).
    """
    field, equals, value = subject.partition("=")
    try:
        path = sql_path(parts(field))
    except PathError as error:
        raise UsageError(f"--subject {subject[:80]!r}: {error}", why=f"a field is {HINT}") from error
    if not equals or "\0" in subject:
        raise UsageError(
            f"--subject {subject[:80]!r}", why="write FIELD=VALUE, such as customer_id=C-7", fix="esctl erase --help"
        )
    # Compare texts by value; numbers, true and false also by their JSON text.
    matches = f"(cast(data ->> {path} as text) = {quoting.text(value)} or data -> {path} = {quoting.text(value)})"
    where = f"data is not null and {matches}"
    return _plan(log.definitions, _both(log, Query(where=where)), force=force)


def _both(log: EventLog, query: Query) -> Iterator[Event]:
    """The events that a query finds in their stored form or in their upcast form, since both show the data."""
    seen: set[int] = set()
    for raw in (True, False):
        search = Query(stream=query.stream, types=query.types, where=query.where, raw_schema=raw)
        if not raw and not search.types and search.where is None:
            continue  # the stored form has found all of them
        log.require(search)
        # An event that cannot be upcast is only found in its stored form.
        for event, _, _ in log.store.read(search, log.upcasting(search), _nothing):
            if event.position not in seen:
                seen.add(event.position)
                yield event


def _nothing(*_: object) -> None:
    """Ignore an event that cannot be upcast."""


def _plan(definitions: Definitions, events: Iterator[Event] | list[Event], *, force: bool) -> Plan:
    positions, kinds = set[int](), set[Kind]()
    types, left = Counter[str](), Counter[str]()
    for event in events:
        if event.stream.startswith(system.PREFIX):
            raise RefusedError(
                f"the event at position {event.position} is the log's own", why="such events are never erased"
            )
        if event.data is None or event.position in positions:
            continue
        if not force and not erasable(definitions, event.type, event.schema):
            left[event.type] += 1
            continue
        positions.add(event.position)
        kinds.add((event.stream, event.type, event.schema))
        types[event.type] += 1
    return Plan(sorted(positions), types, left, kinds)


def erasable(definitions: Definitions, type_: str, schema: int) -> bool:
    """Whether the model declares events of a stored type erasable, under their stored or their upcast type."""
    names = {type_} | {shape.type for shape in definitions.upcasting.get(type_, {}).get(schema, ())}
    return any(name in definitions.model.events and definitions.model.events[name].erasable for name in names)


def erase(log: EventLog, positions: Sequence[int], reason: str, traces: Traces | None = None) -> Iterator[int]:
    """Erase payloads; yield numbers of events, for progress. Afterwards, `scrub` removes what remains in the file;
    `traces` gets what it searches for.

    Another process may archive events meanwhile, or bring them back. So each transaction takes the positions of one
    place, hot or a segment, checks that they are still there, and if they are not, looks for them again.
    """
    tidying.tidy(log)
    traces = traces if traces is not None else Traces()
    positions = sorted(positions)
    done = moved = 0
    while done < len(positions):
        generation, archived = _generation(log), listing.archived(log)
        segment, portion = _portion(archived, positions, done)
        try:
            if segment is None:
                _hot(log, portion, reason, traces)
            else:
                _archived(log, segment, portion, reason, traces)
        except (ConflictError, NotFoundError, VerificationError, UnavailableError) as error:
            moved += 1
            if moved > MOVES or error.code in (BUSY, FILE_STAYS) or _generation(log) == generation:
                raise
        else:
            done += len(portion)
            yield len(portion)


def _generation(log: EventLog) -> int:
    """How often the archive has changed."""
    archive = log.store.archive()
    return archive.generation if archive is not None else 0


def _portion(archived: Sequence[Segment], positions: Sequence[int], start: int) -> tuple[Segment | None, Sequence[int]]:
    """The segment of the position at index `start` (None: it is hot), and the positions from there on that are in the
    same place and can be erased in one transaction.
    """
    at = bisect_right(archived, positions[start], key=lambda segment: segment.first)
    segment = archived[at - 1] if at and positions[start] <= archived[at - 1].last else None
    if segment is not None:
        return segment, positions[start : bisect_right(positions, segment.last)]
    end = bisect_left(positions, archived[at].first) if at < len(archived) else len(positions)
    return None, positions[start : min(end, start + PAYLOADS_PER_TRANSACTION)]


def scrub(log: EventLog, traces: Traces | None = None) -> bool:
    """Remove the last traces: unneeded files, projections (which are rebuilt), copies of rows in pages, and the WAL.

    Return whether the traces are gone; if not, another process still reads them. `traces`: those of this process's own
    erasure.
    """
    for _ in range(ROUNDS):
        tidying.tidy(log)
        _rebuild(log, traces)
        finished = traces_.remove(log, traces)
        if finished is not None:
            return finished
    return False


def _hot(log: EventLog, positions: Sequence[int], reason: str, traces: Traces) -> None:
    """Erase payloads of hot events. Raises ConflictError if some of them are archived by now.

    Their rows do not tell: those of archived events stay in the hot table until the end of the run that archives them.
    """
    with log.transaction():
        if any(s.first <= positions[-1] and s.last >= positions[0] for s in listing.archived(log)):
            raise ConflictError("some of the events were archived just now", again="")
        found: list[int] = []
        digests: list[bytes] = []
        kinds: set[Kind] = set()
        for event, salt, _ in _each(log, positions):
            if event.data is not None:  # else another process has just erased it
                found.append(event.position)
                digests.append(chain.payload_digest(salt, event.data.encode(), event.meta.encode()))
                kinds.add((event.stream, event.type, event.schema))
                traces.add(event.data, event.meta, salt)
        said = _record(log, found, digests, kinds, reason, traces) if found else None
    traces.committed(said)


def _each(log: EventLog, positions: Sequence[int]) -> Iterator[tuple[Event, bytes, bytes]]:
    """The events at positions, as stored."""
    for low, high in ranges(positions):
        yield from log.store.read(Query(since=low, until=high, system=True, raw_schema=True))


def _record(
    log: EventLog, positions: Sequence[int], digests: Sequence[bytes], kinds: set[Kind], reason: str, traces: Traces
) -> int:
    """Append the event that records the erasure, and erase what is hot or left of archived rows.

    Returns the event's position.
    """
    event = log.say(system.PAYLOAD_ERASED, {"positions": ranges(positions), "reason": reason}).position
    archiving = log.store.archiving()
    traces.begin(log)
    streams = {stream for stream, _, _ in kinds}
    traces.streams |= streams
    for stream in streams:
        for state in archiving.drop_snapshots(stream):
            traces.add(state)
    _invalidate(log, set(positions), {(type_, schema) for _, type_, schema in kinds}, traces)
    log.store.reactions().forget(positions)
    archiving.erase(positions, digests, event)
    return event


# Projections


def _invalidate(log: EventLog, positions: Collection[int], kinds: set[tuple[str, int]], traces: Traces) -> None:
    """In the erasing transaction: invalidate the projection versions that may contain data of payloads at positions, of
    these stored types and schema versions. A version that is not live is dropped at once, and so is one that only a
    Python function can rebuild; `_rebuild` does the rest. Error messages that may quote a payload are deleted.
    """
    store, position = log.store.projections(), min(positions)
    for version in store.versions():
        if version.failed in positions:
            traces.add(version.error)
            version.failed = version.handler = version.error = version.failed_at = None
            store.save(version)
        if version.state == DROPPED or version.position < position or not sees(version, kinds):
            continue
        if version.state != LIVE or not version.compiled.on:
            store.drop(version, keep=version.state == LIVE)
        else:
            version.fingerprint, version.model, version.held = "", 0, 0
            store.save(version)


def sees(version: Version, kinds: set[tuple[str, int]]) -> bool:
    """Whether a handler or function of the version got events of any of these types and schema versions."""
    types = version.compiled.types
    return not types or any(
        type_ in types
        or any(shape.type in types for shape in version.compiled.upcasting.get(type_, {}).get(schema, ()))
        for type_, schema in kinds
    )


def _rebuild(log: EventLog, traces: Traces | None) -> None:
    """Rebuild the live versions that were invalidated, only for the erased streams if these are known and rows depend
    on one stream each; readers see the old rows until then.

    If a handler fails meanwhile, the unfinished version becomes live, since the old rows must not stay.
    """
    store = log.store.projections()
    invalid = {
        version.name: version for version in store.versions() if version.state == LIVE and not version.fingerprint
    }
    if not invalid:
        return
    for version in versions.synced(log):
        if version.name in invalid and version.state == BUILDING:
            if traces is not None:
                fits = functools.partial(traces.are_all, log)
                partial.begin(log, invalid[version.name], version, traces.streams, fits)
            try:
                for _ in runs.catch_up(log, version.version):
                    pass
            except HandlerError:
                with log.transaction():
                    stopped = store.version(version.version)
                    if stopped is not None:
                        store.switch(stopped)


# Archived payloads


def _archived(log: EventLog, segment: Segment, positions: Sequence[int], reason: str, traces: Traces) -> None:
    """Erase payloads of a segment: make one without them, check it, and replace the old one."""
    with log.store.one_state():
        found = log.store.archive()
        assert found is not None
        made = erasing.without(log, found, segment, positions)
        path = found.place(segment)
    if not made.digests:  # another process has just erased them
        return
    for removed in made.removed:  # copies of hot rows may be left from before they were archived
        traces.add(removed)
    made = erasing.written(log, segment, made)
    with log.transaction():
        gone = sorted(made.digests)
        digests = [made.digests[position] for position in gone]
        event = _record(log, gone, digests, set(made.sizes), reason, traces)
        erasing.place(log, segment, made)
    traces.committed(event)
    tidying.tidy(log)
    if path is not None and not segment.shared and path.exists():
        raise UnavailableError(
            f"the payloads are erased, but {path} still has them",
            why="it was not removed, since the log has no record that it made this file; remove it yourself",
            code=FILE_STAYS,
            path=str(path),
        )
