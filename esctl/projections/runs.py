"""Bring projections up to date from their checkpoints, one batch per transaction."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from esctl.errors import HandlerError, VerificationError, word
from esctl.events.event import now
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.model.compiled import BUILDING, DROPPED, LIVE, PREVIOUS, HandlerFailed, Version
from esctl.projections.versions import Record, current, declared, named, needs_reducer, revive, synced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from esctl.store.projections import Projections

POSITIONS_PER_TRANSACTION = 20_000  # about a twentieth of a second
TIMES_SMALLER = 8  # each batch of the search: the event is found in a few steps
GAP_SECONDS = 0.005  # between two batches, so that other writers can get the lock


class Run:
    """The result of a run: a record per projection, and the failures that stopped some."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.failures: list[HandlerError] = []
        self.skipped: list[str] = []  # these need a Python function, and none was named

    def end(self) -> None:
        """Raise HandlerError if a projection was stopped."""
        if self.failures:
            first, more = self.failures[0], len(self.failures) - 1
            if more:
                first.what += f"   (and {more} more: esctl projection status)"
                first.args = (first.what,)
            raise first


def run(log: EventLog, names: Sequence[str], done: Run) -> Iterator[int]:
    """Bring all or the named projections to the head of the log; numbers of positions, for progress.

    A failed handler stops its own projection only. Results go to `done`.
    """
    for name in names:
        declared(log, name)
    versions = synced(log)
    for name in names:
        if any(version.name == name and version.state == DROPPED for version in versions):
            revive(log, name)
    by_function = {v.name: v.reducer for v in versions if v.state != DROPPED and not v.compiled.on}
    chosen = dict.fromkeys(names or (version.name for version in versions if version.state != DROPPED))
    for name in chosen:
        if name not in by_function:
            yield from _run(log, name, done)
        elif names:
            done.failures.append(needs_reducer(name, by_function[name]))
        else:
            done.skipped.append(name)


def quick(log: EventLog, names: Sequence[str]) -> list[Record] | None:
    """The same for the simple case, without loading the model: none is out of date with it, building, stopped, or far
    behind.

    Returns None, with nothing done, in any other case.
    """
    versions, head = current(log), log.head().position
    chosen = [v for v in versions or () if v.state != DROPPED and (not names or v.name in names)]
    if not chosen or set(names) - {version.name for version in chosen}:
        return None
    lives = [version for version in chosen if version.state != PREVIOUS]
    far = head - POSITIONS_PER_TRANSACTION
    if any(v.state != LIVE or v.failed or not v.compiled.on or v.position < far for v in lives):
        return None
    try:
        for version in lives:
            for _ in catch_up(log, version.version, find=False):
                pass
    except HandlerFailed:
        return None
    after = {version.version: version for version in log.store.projections().versions()}
    order = {name: number for number, name in enumerate(names)}
    lives.sort(key=lambda version: order.get(version.name, 0))
    return [record_of(version, after.get(version.version, version)) for version in lives]


def ahead(log: EventLog, names: Sequence[str] = ()) -> int:
    """About how many positions a run will process: for progress."""
    head, versions = log.head().position, log.store.projections().versions()
    running = (v for v in versions if v.state in (LIVE, BUILDING) and (not names or v.name in names))
    return sum(head - version.position for version in running)


def _run(log: EventLog, name: str, done: Run) -> Iterator[int]:
    """Bring the versions of a projection to the head: first the live one, for its readers, then the one being built."""
    versions = named(log, name)
    building = any(version.state == BUILDING for version in versions)
    before = {version.version: version for version in versions}
    for version in versions:
        waiting = version.state == LIVE and building and version.failed is not None  # the next version repairs it
        if version.state not in (LIVE, BUILDING) or waiting:
            continue
        try:
            yield from catch_up(log, version.version)
        except HandlerError as error:
            done.failures.append(error)
    for version in named(log, name):
        if version.state == LIVE:
            done.records.append(record_of(before.get(version.version, version), version))


def record_of(before: Version, after: Version) -> Record:
    """The record of what a run did to a version."""
    return {
        "projection": after.name,
        "version": after.version,
        "position": after.position,
        "read": after.position - before.position,
        "switched": before.state == BUILDING and after.state == LIVE,
    }


def catch_up(
    log: EventLog, number: int, feed: Callable[[Projections, Version, Query], None] | None = None, *, find: bool = True
) -> Iterator[int]:
    """Bring a version to the head, one batch per transaction; a version that was being built then becomes live.

    Raises HandlerError if a handler fails; the failure is saved with its event, and earlier batches stay. Without
    `find`, the event is not searched for, and HandlerFailed is raised. `feed` replaces the version's own handlers.
    """
    projections, search, began = log.store.projections(), _Search(), 0.0
    while True:
        try:
            with log.transaction():
                version, head = projections.version(number), log.store.newest()
                if version is None or version.state not in (LIVE, BUILDING):
                    return
                _require_place(version, log.head().position)
                if feed is None and not version.compiled.on:
                    raise needs_reducer(version.name, version.reducer)
                search.recording = search.recording or version.failed is not None
                last = min(search.last(version.position), head)
                read, began = last - version.position, time.monotonic()
                if read and feed is not None:
                    feed(projections, version, Query(since=version.position + 1, until=last))
                elif read:
                    projections.feed(version, Query(since=version.position + 1, until=last), record=search.recording)
                _advance(projections, version, last, last == head)
        except HandlerFailed as failed:
            if not find:
                raise
            search.learn(failed, version.position + 1 if version else 0)
        else:
            yield read
            if last == head:
                return
            search.passed()
            time.sleep(min(GAP_SECONDS, (time.monotonic() - began) / 25))
        if search.found is not None and version is not None and search.found == version.position + 1:
            _stop(log, number, search.failed)


class _Search:
    """The search for the event that stops a version.

    A failed batch is fed again while events are recorded. If the failure came before a handler got the event, the
    batches become smaller until it is found.
    """

    def __init__(self) -> None:
        self.recording, self.size = False, POSITIONS_PER_TRANSACTION
        self.found: int | None = None
        self.failed = HandlerFailed("")

    def last(self, position: int) -> int:
        """The last position of the next batch, which starts after a position."""
        return position + self.size if self.found is None else min(position + self.size, self.found - 1)

    def learn(self, failed: HandlerFailed, first: int) -> None:
        """A batch that starts at a position has failed."""
        self.failed = failed
        if failed.position is not None:
            self.found = failed.position
        elif self.size == 1:
            self.found = first
        elif self.recording:
            self.size = max(1, self.size // TIMES_SMALLER)
        self.recording = True

    def passed(self) -> None:
        """A batch has succeeded."""
        self.recording, self.size = False, min(self.size * TIMES_SMALLER, POSITIONS_PER_TRANSACTION)


def _require_place(version: Version, head: int) -> None:
    """Raise VerificationError if the checkpoint of a version is none of the log's positions."""
    if not 0 <= version.position <= head:
        raise VerificationError(
            f"the projection {version.name} is at position {version.position}, the head at {head}",
            why="its checkpoint was altered or damaged, so nobody knows which events its rows include",
            fix=f"esctl projection rebuild {word(version.name)}",
        )


def _advance(projections: Projections, version: Version, position: int, complete: bool) -> None:
    """Save a version's new position; a version being built that is complete becomes live."""
    moved = version.position != position or version.failed is not None
    version.position = position
    version.failed = version.handler = version.error = version.failed_at = None
    if complete and version.state == BUILDING:
        projections.switch(version)
    elif moved:
        projections.save(version)


def _stop(log: EventLog, number: int, failed: HandlerFailed) -> None:
    """Save the event on which a handler failed, and raise HandlerError; not if the version was dropped meanwhile."""
    from esctl.projections.inline import field_of, handler_of, seen_at  # noqa: PLC0415 - only a failure needs it
    from esctl.store.misfits import upcast_field  # noqa: PLC0415

    projections = log.store.projections()
    with log.transaction():
        version = projections.version(number)
        if version is None:
            return
        position = version.failed = version.position + 1
        stream, type_ = seen_at(log.store, version, position)
        type_ = failed.type or type_
        version.handler = handler_of(version, type_)
        field = upcast_field(log.store, log.definitions.model, position)
        version.error, version.failed_at = f"{field}: {failed.reason}" if field else failed.reason, now()
        projections.save(version)
    raise HandlerError(
        f"the projection {version.name} is stopped at position {position}, {type_} in {stream}",
        why=f"{version.handler}: {version.error}; correct the handler or its data; the next run continues there",
        fix=f"esctl show {position:d}",
        projection=version.name,
        position=position,
        type=type_,
        handler=version.handler,
        reason=failed.reason,
        field=field or field_of(version, str(version.handler)),
    )
