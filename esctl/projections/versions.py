"""The versions of projections that a log has, and how they follow the model."""

from __future__ import annotations

from esctl.errors import HandlerError, NotFoundError, word
from esctl.events.event import now
from esctl.log import EventLog
from esctl.model.compiled import BUILDING, COMPILER, DROPPED, LIVE, PREVIOUS, Version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from esctl.model.declared import Projection


Record = dict[str, object]


def current(log: EventLog) -> list[Version] | None:
    """The stored versions if they were compared with the log's present model, as this esctl compiles it; else None."""
    found, model = log.store.projections().versions(), log.store.model()
    agree = all(version.model == model for version in found if version.state != PREVIOUS)
    agree &= all(version.compiled.engine == COMPILER for version in found if version.state in (LIVE, BUILDING))
    whole = {version.name for version in found} == {version.name for version in found if version.state != PREVIOUS}
    return found if found and agree and whole else None


def synced(log: EventLog) -> list[Version]:
    """Give each projection of the model a version; return all versions."""
    with log.transaction():
        return sync(log)


def sync(log: EventLog) -> list[Version]:
    """The same within the open transaction. A changed definition gets a new version beside the live one.

    Raises ConflictError if a table's name is taken.
    """
    if (found := current(log)) is not None:
        return found
    projections, declared = log.store.projections(), log.definitions.model.projections
    for version in projections.versions():
        if version.name not in declared:
            projections.drop(version)
    by_name: dict[str, list[Version]] = {}
    for version in projections.versions():
        by_name.setdefault(version.name, []).append(version)
    # Projections that have tables come first: they may free a name for another.
    for name in sorted(declared, key=lambda name: name not in by_name):
        _compare(log, declared[name], by_name.get(name, []))
    return projections.versions()


def _compare(log: EventLog, projection: Projection, versions: list[Version]) -> None:
    """Bring the versions of one projection in line with the model."""
    from esctl.model.projections import mark  # noqa: PLC0415 - only a new model needs it

    projections, model = log.store.projections(), log.store.model()
    wanted = mark(projection, log.definitions.upcasting)

    def agrees(version: Version) -> bool:
        return version.fingerprint == wanted or version.held == model

    by_state = {version.state: version for version in versions}
    live, building = by_state.get(LIVE), by_state.get(BUILDING)
    if building is not None and not agrees(building):
        projections.drop(building)
        building = None
    if live is None and DROPPED not in by_state:
        make(log, projection, LIVE)
    elif live is not None and not agrees(live) and building is None:
        make(log, projection, BUILDING)
    for version in (live, building, by_state.get(DROPPED)):
        if version is not None:
            version.model, version.inline = model, projection.inline
            projections.save(version)
            if version.state != DROPPED and version.compiled.engine != COMPILER:
                projections.compared(version)


def make(log: EventLog, projection: Projection, state: str, reducer: str | None = None) -> Version:
    """Within a transaction: create a version with empty tables. A building version replaces the previous one."""
    from esctl.model.projections import compiled, mark  # noqa: PLC0415

    projections, model, upcasting = log.store.projections(), log.store.model(), log.definitions.upcasting
    if state == BUILDING:
        for version in named(log, projection.name):
            if version.state == PREVIOUS:
                projections.drop(version)
    form = compiled(projection, upcasting)
    version = Version(
        0, projection.name, state, projection.inline, model, 0, mark(projection, upcasting), form, reducer, 0, now()
    )
    projections.add(version, serialized(form))
    return version


def is_as_compiled(log: EventLog, version: Version) -> bool:
    """Whether a version has the compiled form that its definition gives; true of one that is not the model's now, or
    that another release has compiled.
    """
    from esctl.model.projections import compiled, mark  # noqa: PLC0415

    projection, upcasting = log.definitions.model.projections.get(version.name), log.definitions.upcasting
    if projection is None or version.compiled.engine != COMPILER or version.fingerprint != mark(projection, upcasting):
        return True
    return serialized(version.compiled) == serialized(compiled(projection, upcasting))


def serialized(form: Any) -> str:
    """A compiled projection as JSON."""
    import json  # noqa: PLC0415 - reading it back does without

    upcasting = {
        type_: {
            str(schema): [[shape.type, shape.schema, shape.data, shape.part, shape.hidden] for shape in shapes]
            for schema, shapes in schemas.items()
        }
        for type_, schemas in form.upcasting.items()
    }
    parts = {
        "engine": form.engine,
        "tables": form.tables,
        "indexes": form.indexes,
        "on": form.on,
        "columns": form.columns,
    }
    return json.dumps({**parts, "upcasting": upcasting}, ensure_ascii=False)


def named(log: EventLog, name: str) -> list[Version]:
    """The versions of a projection, the live one first."""
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


def needs_reducer(name: str, reducer: str | None = None) -> HandlerError:
    """The error for a projection without handlers in the model; `reducer` is the function of its version."""
    return HandlerError(
        f"the projection {name} has no handlers in the model",
        why="a Python function updates it; name it: --reducer MODULE:FUNCTION",
        fix=f"esctl projection run --reducer {word(reducer.partition(' ')[0])} {word(name)}"
        if reducer
        else "esctl projection run --help",
        projection=name,
    )


def live(log: EventLog, name: str) -> Version:
    """The live version of a projection; raises NotFoundError if there is none."""
    declared(log, name)
    for version in named(log, name):
        if version.state == LIVE:
            return version
    raise NotFoundError(
        f"the projection {name} has no tables", why="it was dropped", fix=f"esctl projection run {word(name)}"
    )


def revive(log: EventLog, name: str) -> None:
    """Start a dropped projection again, with empty tables."""
    with log.transaction():
        for version in named(log, name):
            log.store.projections().drop(version)
        make(log, declared(log, name), LIVE)
