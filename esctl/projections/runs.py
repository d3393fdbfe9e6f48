"""Read models: kept up to date from a checkpoint, built anew beside the old one, brought back, dropped.

Rows and checkpoint change in one transaction, a batch at a time; so whatever ends a run, the next one goes on from
where the rows are. Light at the top: a cron job pays the start of each run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from esctl.errors import HandlerError, NotFoundError, word
from esctl.events.event import now
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.model.compiled import BUILDING, DROPPED, LIVE, PREVIOUS, HandlerFailed, Version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from esctl.model.declared import Projection
    from esctl.store.base import Projections

AT_ONCE = 20_000  # positions that one transaction goes on: about a twentieth of a second
SMALLER = 8  # times, after a batch in which a handler failed: its event is found in a few steps
FEW = 10_000  # events that are caught up without being asked for
LONGEST_GAP = 0.005  # seconds between two batches, in which others who wait for the lock may have it

Record = dict[str, object]


class Run:
    """What a run has done: a record a projection, and the failures that stopped some."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.failures: list[HandlerError] = []
        self.skipped: list[str] = []  # kept by Python functions, which nobody named

    def end(self) -> None:
        """Raise HandlerError where a projection was stopped."""
        if self.failures:
            first, more = self.failures[0], len(self.failures) - 1
            if more:
                first.what += f"   (and {more} more: esctl projection status)"
                first.args = (first.what,)
            raise first


# Which versions there are


def current(log: EventLog) -> list[Version] | None:
    """The versions as they are kept, if they were compared with the log's present model; else None."""
    found, model = log.store.projections().versions(), log.store.model()
    agree = all(version.model == model for version in found if version.state != PREVIOUS)
    whole = {version.name for version in found} == {version.name for version in found if version.state != PREVIOUS}
    return found if found and agree and whole else None


def synced(log: EventLog) -> list[Version]:
    """The versions, after each projection of the model has been given one."""
    with log.transaction():
        return sync(log)


def sync(log: EventLog) -> list[Version]:
    """The same within the open transaction. A changed definition gets a version beside the live one.

    Raises ConflictError where a table is in the way.
    """
    if (found := current(log)) is not None:
        return found
    projections, declared = log.store.projections(), log.definitions.model.projections
    for version in projections.versions():
        if version.name not in declared:
            projections.let_go(version)
    kept: dict[str, list[Version]] = {}
    for version in projections.versions():
        kept.setdefault(version.name, []).append(version)
    # Those that have tables come first: they may make room for others.
    for name in sorted(declared, key=lambda name: name not in kept):
        _compare(log, declared[name], kept.get(name, []))
    return projections.versions()


def _compare(log: EventLog, projection: Projection, versions: list[Version]) -> None:
    """Have a projection's versions be what the model says."""
    from esctl.model.projections import mark  # noqa: PLC0415 - only a new model needs it

    projections, model = log.store.projections(), log.store.model()
    wanted = mark(projection, log.definitions.upcasting)

    def agrees(version: Version) -> bool:
        return version.fingerprint == wanted or version.held == model

    by_state = {version.state: version for version in versions}
    live, building = by_state.get(LIVE), by_state.get(BUILDING)
    if building is not None and not agrees(building):
        projections.let_go(building)
        building = None
    if live is None and DROPPED not in by_state:
        make(log, projection, LIVE)
    elif live is not None and not agrees(live) and building is None:
        make(log, projection, BUILDING)
    for version in (live, building, by_state.get(DROPPED)):
        if version is not None:
            version.model, version.inline = model, projection.inline
            projections.save(version)


def make(log: EventLog, projection: Projection, state: str, reducer: str | None = None) -> Version:
    """Within a transaction: a new version, with empty tables. A previous one gives way to one that is building."""
    from esctl.model.projections import compiled, mark  # noqa: PLC0415

    projections, model, upcasting = log.store.projections(), log.store.model(), log.definitions.upcasting
    if state == BUILDING:
        for version in _named(log, projection.name):
            if version.state == PREVIOUS:
                projections.let_go(version)
    made = compiled(projection, upcasting)
    version = Version(
        0, projection.name, state, projection.inline, model, 0, mark(projection, upcasting), made, reducer, 0, now()
    )
    projections.add(version, _said(made))
    return version


def _said(made: Any) -> str:
    """A compiled projection as JSON."""
    import json  # noqa: PLC0415 - reading it back does without

    upcasting = {
        type_: {
            str(schema): [[shape.type, shape.schema, shape.data, shape.part, shape.hidden] for shape in shapes]
            for schema, shapes in schemas.items()
        }
        for type_, schemas in made.upcasting.items()
    }
    parts = {"tables": made.tables, "indexes": made.indexes, "on": made.on, "columns": made.columns}
    return json.dumps({**parts, "upcasting": upcasting}, ensure_ascii=False)


def _named(log: EventLog, name: str) -> list[Version]:
    return [version for version in log.store.projections().versions() if version.name == name]


def declared(log: EventLog, name: str) -> Projection:
    """The projection of a name in the log's model; raises NotFoundError."""
    known = log.definitions.model.projections
    if name not in known:
        import difflib  # noqa: PLC0415 - only a mistake needs it

        near = difflib.get_close_matches(name, known, 3, 0.6)
        raise NotFoundError(
            f"there is no projection {name}",
            why=f"did you mean {' or '.join(near)}?" if near else f"the log's model has: {', '.join(known) or 'none'}",
            fix="esctl projection list",
        )
    return known[name]


# Running


def run(log: EventLog, names: Sequence[str], done: Run) -> Iterator[int]:
    """Bring projections (all, or those named) to the head of the log; numbers of positions, for progress.

    One that a handler stops, stops there; the others go on. `done` says in the end what became of each.
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
    """The same where there is little to do: all was compared with the model, none is building or stopped or far behind.

    None, with nothing done, where there is more to it. The model is not even loaded.
    """
    versions, head = current(log), log.head()[0]
    chosen = [v for v in versions or () if v.state != DROPPED and (not names or v.name in names)]
    if not chosen or set(names) - {version.name for version in chosen}:
        return None
    lives = [version for version in chosen if version.state != PREVIOUS]
    if any(v.state != LIVE or v.failed or not v.compiled.on or head - v.position > AT_ONCE for v in lives):
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
    return [told(version, after.get(version.version, version)) for version in lives]


def ahead(log: EventLog, names: Sequence[str] = ()) -> int:
    """How many positions a run would go on, about: for progress."""
    head, versions = log.head()[0], log.store.projections().versions()
    running = (v for v in versions if v.state in (LIVE, BUILDING) and (not names or v.name in names))
    return sum(head - version.position for version in running)


def _run(log: EventLog, name: str, done: Run) -> Iterator[int]:
    """Bring the versions of a projection to the head: the live one for its readers, and then the one that is to be."""
    versions = _named(log, name)
    building = any(version.state == BUILDING for version in versions)
    before = {version.version: version for version in versions}
    for version in versions:
        waiting = version.state == LIVE and building and version.failed is not None  # the next one is its mend
        if version.state not in (LIVE, BUILDING) or waiting:
            continue
        try:
            yield from catch_up(log, version.version)
        except HandlerError as error:
            done.failures.append(error)
    for version in _named(log, name):
        if version.state == LIVE:
            done.records.append(told(before.get(version.version, version), version))


def told(before: Version, after: Version) -> Record:
    """What a run did to a version."""
    return {
        "projection": after.name,
        "version": after.version,
        "position": after.position,
        "read": after.position - before.position,
        "switched": before.state == BUILDING and after.state == LIVE,
    }


def needs_reducer(name: str, reducer: str | None = None) -> HandlerError:
    """What is said of a projection whose handlers are Python's; `reducer`: what has kept it, as its version says."""
    return HandlerError(
        f"the projection {name} has no handlers in the model",
        why="it is kept by a Python function, which has to be named: --reducer MODULE:FUNCTION",
        fix=f"esctl projection run --reducer {word(reducer.partition(' ')[0])} {word(name)}"
        if reducer
        else "esctl projection run --help",
        projection=name,
    )


def catch_up(
    log: EventLog, number: int, feed: Callable[[Projections, Version, Query], None] | None = None, *, find: bool = True
) -> Iterator[int]:
    """Bring a version to the head, a batch a transaction; one that was building then takes its place.

    Raises HandlerError where a handler fails, which is noted with the event; what came before it is kept. Without
    `find` the event is not searched for, and HandlerFailed is raised. `feed` stands in for the version's own handlers.
    """
    projections, search, began = log.store.projections(), _Search(), 0.0
    while True:
        try:
            with log.transaction():
                version, head = projections.version(number), log.head()[0]
                if version is None or version.state not in (LIVE, BUILDING):
                    return
                if feed is None and not version.compiled.on:
                    raise needs_reducer(version.name, version.reducer)
                search.noting = search.noting or version.failed is not None
                last = min(search.last(version.position), head)
                read, began = last - version.position, time.monotonic()
                if read and feed is not None:
                    feed(projections, version, Query(since=version.position + 1, until=last))
                elif read:
                    projections.feed(version, Query(since=version.position + 1, until=last), note=search.noting)
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
            time.sleep(min(LONGEST_GAP, (time.monotonic() - began) / 25))
        if search.found is not None and version is not None and search.found == version.position + 1:
            raise _stopped(log, number, search.failed)


class _Search:
    """For the event that stops a version: a batch that fails is fed again while events are noted; what then is not
    known (it failed before a handler was given it) is found in smaller and smaller batches.
    """

    def __init__(self) -> None:
        self.noting, self.size = False, AT_ONCE
        self.found: int | None = None
        self.failed = HandlerFailed("")

    def last(self, position: int) -> int:
        """Up to where the next batch goes, after a position."""
        return position + self.size if self.found is None else min(position + self.size, self.found - 1)

    def learn(self, failed: HandlerFailed, first: int) -> None:
        """A batch that begins at a position failed."""
        self.failed = failed
        if failed.position is not None:
            self.found = failed.position
        elif self.size == 1:
            self.found = first
        elif self.noting:
            self.size = max(1, self.size // SMALLER)
        self.noting = True

    def passed(self) -> None:
        """A batch was taken."""
        self.noting, self.size = False, min(self.size * SMALLER, AT_ONCE)


def _advance(projections: Projections, version: Version, position: int, complete: bool) -> None:
    """Note how far a version is; when it has caught up, it takes its place."""
    moved = version.position != position or version.failed is not None
    version.position = position
    version.failed = version.handler = version.error = version.failed_at = None
    if complete and version.state == BUILDING:
        projections.switch(version)
    elif moved:
        projections.save(version)


def _stopped(log: EventLog, number: int, failed: HandlerFailed) -> HandlerError:
    """Note the event that a handler could not take, and tell it."""
    from esctl.projections.inline import handler_of, seen_at  # noqa: PLC0415 - only a failure needs it

    projections = log.store.projections()
    with log.transaction():
        version = projections.version(number)
        if version is None:
            raise failed
        position = version.failed = version.position + 1
        stream, type_ = seen_at(log.store, version, position)
        type_ = failed.type or type_
        version.handler = handler_of(version, type_)
        version.error, version.failed_at = failed.reason, now()
        projections.save(version)
    return HandlerError(
        f"the projection {version.name} is stopped at position {position}, {type_} in {stream}",
        why=f"{version.handler}: {version.error}; mend the handler or what it stumbles over, and the next run goes on",
        fix=f"esctl show {position:d}",
        projection=version.name,
        position=position,
        type=type_,
        handler=version.handler,
        error=version.error,
    )


# What is asked for by name


def live(log: EventLog, name: str) -> Version:
    """The live version of a projection; raises NotFoundError where there is none."""
    declared(log, name)
    for version in _named(log, name):
        if version.state == LIVE:
            return version
    raise NotFoundError(
        f"the projection {name} has no tables", why="it was dropped", fix=f"esctl projection run {word(name)}"
    )


def revive(log: EventLog, name: str) -> None:
    """Have a projection that was dropped begin anew."""
    with log.transaction():
        for version in _named(log, name):
            log.store.projections().let_go(version)
        make(log, declared(log, name), LIVE)


def rebuild(log: EventLog, name: str, *, from_scratch: bool, reducer: str | None = None) -> int:
    """Have a new version of a projection begin beside the live one, or go on with the one that has begun; its number.

    One that was dropped simply begins anew.
    """
    projection = declared(log, name)
    if not projection.on and reducer is None:
        raise needs_reducer(name)
    with log.transaction():
        sync(log)
        versions = {version.state: version for version in _named(log, name)}
        building, live = versions.get(BUILDING), versions.get(LIVE)
        if live is None:
            for version in versions.values():
                log.store.projections().let_go(version)
            return make(log, projection, LIVE, reducer).version
        if building is not None and (from_scratch or building.held):
            log.store.projections().let_go(building)
            building = None
        return (building or make(log, projection, BUILDING, reducer)).version


def roll_back(log: EventLog, name: str) -> int:
    """Have the previous version of a projection catch up and be live again; its number.

    It stays so until another model is applied, or the projection is rebuilt. Raises NotFoundError.
    """
    declared(log, name)
    projections = log.store.projections()
    with log.transaction():
        sync(log)
        versions = {version.state: version for version in _named(log, name)}
        previous = versions.get(PREVIOUS)
        if previous is not None and not previous.compiled.on:
            raise needs_reducer(name, previous.reducer)
        if previous is None:
            raise NotFoundError(
                f"there is no previous version of {name}",
                why="one is kept when a rebuild takes its place",
                fix=f"esctl projection rebuild {word(name)}",
            )
        if BUILDING in versions:
            projections.let_go(versions[BUILDING])
        previous.state, previous.held, previous.model = BUILDING, log.store.model(), log.store.model()
        previous.inline = declared(log, name).inline
        projections.save(previous)
        return previous.version


def drop(log: EventLog, name: str) -> list[Version]:
    """Drop the tables of all versions of a projection; what there was. Nothing brings it back but being named.

    Raises NotFoundError.
    """
    projections = log.store.projections()
    with log.transaction():
        found = _named(log, name)
        if not any(version.state != DROPPED for version in found):
            declared(log, name)
            raise NotFoundError(f"there is nothing of the projection {name} to drop", fix="esctl projection list")
        for version in found:
            if version.state != LIVE:
                projections.let_go(version)
        for version in found:
            if version.state == LIVE:
                projections.let_go(version, keep=True)
    return found


# What becomes of them when the log changes


def settle(log: EventLog) -> None:
    """Have a copy keep its inline projections from its first append on."""
    if log.definitions.keeps_inline:
        for version in synced(log):
            if version.state == LIVE and version.inline:
                try:
                    for _ in catch_up(log, version.version):
                        pass
                except HandlerError:
                    continue  # it waits for a run, as it would anywhere


def cut(log: EventLog, position: int) -> None:
    """Within the transaction that has a copy end at a position: let go of versions that hold what comes after it."""
    projections = log.store.projections()
    for version in projections.versions():
        if version.position > position:
            projections.let_go(version)
        else:
            version.model = 0  # to be compared with the copy's model
            projections.save(version)
