"""Rebuild, roll back and drop projections, and prepare those of a copied log."""

from __future__ import annotations

from esctl.errors import HandlerError, NotFoundError, word
from esctl.log import EventLog
from esctl.model.compiled import BUILDING, DROPPED, LIVE, PREVIOUS, Version
from esctl.projections.runs import catch_up
from esctl.projections.versions import declared, make, named, needs_reducer, sync, synced


def rebuild(log: EventLog, name: str, *, from_scratch: bool, reducer: str | None = None) -> int:
    """Start a new version of a projection beside the live one, or continue the one being built; its number.

    A dropped projection starts again as the live version.
    """
    projection = declared(log, name)
    if not projection.on and reducer is None:
        raise needs_reducer(name)
    with log.transaction():
        sync(log)
        versions = {version.state: version for version in named(log, name)}
        building, live = versions.get(BUILDING), versions.get(LIVE)
        if live is None:
            for version in versions.values():
                log.store.projections().drop(version)
            return make(log, projection, LIVE, reducer).version
        if building is not None and (from_scratch or building.held):
            log.store.projections().drop(building)
            building = None
        return (building or make(log, projection, BUILDING, reducer)).version


def roll_back(log: EventLog, name: str) -> int:
    """Make the previous version of a projection the next live one, once it has caught up; its number.

    It stays live until a model is applied or the projection is rebuilt. Until then, doing it again changes nothing: it
    continues what was interrupted, or gives the version that is live already. Raises NotFoundError.
    """
    declared(log, name)
    projections = log.store.projections()
    with log.transaction():
        sync(log)
        versions = {version.state: version for version in named(log, name)}
        newest = versions.get(BUILDING) or versions.get(LIVE)
        if newest is not None and newest.held and (newest.state == BUILDING or newest.held == log.store.model()):
            return newest.version
        previous = versions.get(PREVIOUS)
        if previous is not None and not previous.compiled.on:
            raise needs_reducer(name, previous.reducer)
        if previous is None:
            raise NotFoundError(
                f"there is no previous version of {name}",
                why="a rebuild keeps the version that it replaces",
                fix=f"esctl projection rebuild {word(name)}",
            )
        if BUILDING in versions:
            projections.drop(versions[BUILDING])
        previous.state, previous.held, previous.model = BUILDING, log.store.model(), log.store.model()
        previous.inline = declared(log, name).inline
        projections.save(previous)
        return previous.version


def drop(log: EventLog, name: str) -> list[Version]:
    """Drop the tables of all versions of a projection; return these versions. It comes back only by an explicit run.

    Raises NotFoundError.
    """
    projections = log.store.projections()
    with log.transaction():
        found = named(log, name)
        if not any(version.state != DROPPED for version in found):
            declared(log, name)
            raise NotFoundError(f"there is nothing of the projection {name} to drop", fix="esctl projection list")
        for version in found:
            if version.state != LIVE:
                projections.drop(version)
        for version in found:
            if version.state == LIVE:
                projections.drop(version, keep=True)
    return found


def settle(log: EventLog) -> None:
    """Bring the inline projections of a copied log to its head, so that its first append can keep them."""
    if log.definitions.keeps_inline:
        for version in synced(log):
            if version.state == LIVE and version.inline:
                try:
                    for _ in catch_up(log, version.version):
                        pass
                except HandlerError:
                    continue  # a run reports the failure, as for any log


def cut(log: EventLog, position: int) -> None:
    """In the transaction that cuts a copy at a position: drop the versions whose rows go beyond it."""
    projections = log.store.projections()
    for version in projections.versions():
        if version.position > position:
            projections.drop(version)
        else:
            version.model = 0  # it is not yet compared with the copy's model
            projections.save(version)
