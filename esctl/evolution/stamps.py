"""Schema versions that events may have wrongly: writers that a new model would stamp with a version whose shape they do
not know, and stored events whose version says one thing and whose payload another.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

from esctl.errors import word
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.model import upcasts
from esctl.model.applied import Definitions
from esctl.model.declared import EventType, Model, Step, Upcast
from esctl.model.operations import path


class Risk(NamedTuple):
    """A type whose payloads change on the way to its newest version (`changes`, in words) and that no JSON Schema
    checks; writers that name no schema were stamped with `before`, and are stamped with `newest` now.
    """

    type: str
    before: int
    newest: int
    changes: str

    def __str__(self) -> str:
        pin = f"{self.type}={self.before}"
        return (
            f"{self.type}: a writer that names no schema will be stamped with schema {self.newest}, even if its payload"
            f" has an older shape ({self.changes}). Pin such writers: esctl append --schema {word(pin)}, or"
            f" ESCTL_SCHEMA={word(pin)}; or give the type a json_schema"
        )


def risks(current: Definitions, drafted: Definitions) -> list[Risk]:
    """The types that a draft puts at risk, and that the model in force does not."""
    now = _unchecked(current.model)
    return [
        Risk(name, _before(drafted.model.events[name], current.newest.get(name, 1)), newest, changes)
        for name, (newest, changes) in _unchecked(drafted.model).items()
        if name not in now or now[name][0] != newest
    ]


def _before(event: EventType, stamped: int) -> int:
    """The version that old writers had: the one that they are stamped with so far, or the last that has a chain."""
    starts = [upcast.start for upcast in _chain(event)]
    return stamped if stamped in starts else starts[-1]


def _unchecked(model: Model) -> dict[str, tuple[int, str]]:
    """The newest version of each type whose chain changes payloads and that has no JSON Schema, and the changes."""
    found = {}
    for name, event in model.events.items():
        steps = [step for step in map(_step, _chain(event)) if step != Step(step.place)]
        if steps and event.json_schema is None:
            found[name] = event.schema, "; ".join(map(upcasts.step_summary, steps))
    return found


def _chain(event: EventType) -> list[Upcast]:
    """The upcasts between the versions of one type, oldest first."""
    staying = (u for u in event.upcasts if not u.drop and not u.split and u.parts[0].type == event.name)
    return sorted((u for u in staying if u.start < event.schema), key=lambda upcast: upcast.start)


def _step(upcast: Upcast) -> Step:
    return upcast.parts[0].step


class Suspect(NamedTuple):
    """A stored event whose schema version is doubtful: its kind (`old shape`, `no chain`), and why."""

    position: int
    kind: str
    reason: str


def suspects(log: EventLog, definitions: Definitions, step: int = 1) -> Iterator[Suspect]:
    """The stored events of the newest version that have a field which the chain renames away, and those of a version
    from which no chain leads; with `step`, only of positions that it divides.
    """
    sampled = f" and position % {step} = 0" if step > 1 else ""
    schemas = {(type_, schema) for type_, schema, _ in log.store.facts().schemas()}
    for name, event in definitions.model.events.items():
        for field, new in renamed_away(event).items() if (name, event.schema) in schemas else ():
            where = f"schema = {event.schema}{sampled} and json_type(data, {path(field)}) is not null"
            reason = f"it has {field}, which was renamed to {new} by schema {event.schema}: its payload is older"
            yield from (Suspect(p, "old shape", reason) for p in _positions(log, name, where))
        for type_, schema in sorted(schemas):
            if type_ == name and (reason := _unled(event, schema)):
                yield from (
                    Suspect(p, "no chain", reason) for p in _positions(log, name, f"schema = {schema}{sampled}")
                )


def _positions(log: EventLog, type_: str, where: str) -> Iterator[int]:
    for event, _, _ in log.read(Query(types=(type_,), where=where, raw_schema=True)):
        yield event.position


def _unled(event: EventType, schema: int) -> str:
    """Why a version of a type is not read as the newest; empty if it is, or if the model declares no version."""
    if schema == event.schema or not event.declared or any(upcast.start == schema for upcast in event.upcasts):
        return ""
    if schema > event.schema:
        return f"the model knows {event.name} up to schema {event.schema}"
    return f"no chain leads from schema {schema} of {event.name} to {event.schema}"


def renamed_away(event: EventType) -> dict[str, str]:
    """The fields that payloads of the newest version cannot have, since the chain renames them, and their new names.

    A field that a later operation sets again, or that the JSON Schema names, is none of them.
    """
    away: dict[str, str] = {}
    for step in map(_step, _chain(event)):
        if step.when is None:
            away |= dict(step.rename)
        written = [new for _, new in step.rename]
        for verb in ("default", "set", "add", "subtract", "append", "compute"):
            written += [name for name, _ in getattr(step, verb)]
        for name in [old for old in away if step.merge or any(_within(field, old) for field in written)]:
            del away[name]
    named = _properties(event)
    return {old: new for old, new in away.items() if old not in named}


def _within(field: str, parent: str) -> bool:
    return field == parent or field.startswith((f"{parent}.", f"{parent}["))


def _properties(event: EventType) -> set[str]:
    """The fields that the JSON Schema of a type names."""
    schema = json.loads(event.json_schema) if event.json_schema else {}
    properties = schema.get("properties") if isinstance(schema, dict) else None
    return set(properties) if isinstance(properties, dict) else set()
