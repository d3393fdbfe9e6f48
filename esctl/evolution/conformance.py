"""Whether the stored events fit a model: every one through its upcasts, the JSON Schemas and the rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from esctl.errors import HandlerError, MisfitError
from esctl.events.event import SealedEvent
from esctl.events.query import Query, Shape, Upcasting
from esctl.log import EventLog
from esctl.model import json_schemas
from esctl.model.applied import Definitions

MOST_FAILURES = 100  # of one type and schema that are named

Watch = Callable[[Iterable[SealedEvent], int], Iterable[SealedEvent]]


class Failure(NamedTuple):
    """A stored event that does not fit, and why."""

    position: int
    type: str
    schema: int
    reason: str
    by_schema: bool  # whether it was the JSON Schema that did not accept it


class Row(NamedTuple):
    """Events of one stored type and schema version: how many, what they are read as; how many do not fit, of these how
    many because a JSON Schema does not accept what comes of them; and the first of them with reasons.
    """

    type: str
    schema: int
    events: int
    read_as: str
    failed: int
    rejected: int
    failures: tuple[Failure, ...]


def check(
    log: EventLog, definitions: Definitions, sample: int | None = None, watch: Watch = lambda events, _: events
) -> list[Row]:
    """Every stored event, or about `sample` of them spread over the log, read as a model has it."""
    counts, failures, rejected = (Counter[tuple[str, int]]() for _ in range(3))
    named: dict[tuple[str, int], list[Failure]] = {}
    step = 1 if sample is None else max(1, log.head().position // max(1, sample))
    for position, reason, by_schema in _failing(log, definitions, step, watch):
        for event, _, _ in log.read(Query(since=position, until=position, raw_schema=True)):
            key = event.type, event.schema
            failures[key] += 1
            rejected[key] += by_schema
            kept = named.setdefault(key, [])
            if len(kept) < MOST_FAILURES:
                kept.append(Failure(position, *key, reason, by_schema))
    if step == 1:
        counts.update({(type_, schema): events for type_, schema, events in log.store.facts().schemas()})
    else:
        where = f"position % {step} = 0"
        counts.update((e.type, e.schema) for e, _, _ in log.read(Query(where=where, raw_schema=True)))
    return [
        Row(*key, events, _read_as(definitions, *key), failures[key], rejected[key], tuple(named.get(key, ())))
        for key, events in sorted(counts.items())
    ]


def _read_as(definitions: Definitions, type_: str, schema: int) -> str:
    shapes = definitions.upcasting.get(type_, {}).get(schema)
    if shapes is None:
        return f"{type_} {schema}"
    return " + ".join(map(_shown, shapes)) or "nothing"


def _shown(shape: Shape) -> str:
    return f"{shape.type} {shape.schema}"


def _failing(log: EventLog, definitions: Definitions, step: int, watch: Watch) -> Iterator[tuple[int, str, bool]]:
    """Position and reason of events that cannot be upcast, or whose JSON Schema (True) does not accept the outcome."""
    noted: dict[int, str] = {}
    told = 0  # the last position that was reported: a split event comes once a part
    for event, _, _ in watch(_readable(log, definitions, step, noted), log.head().position):
        position = event.position
        for known in sorted(known for known in noted if known < position):
            yield known, noted.pop(known), False
        if position in noted or position == told:
            continue
        schema = definitions.schemas.get(event.type, {}).get(event.schema) if event.data is not None else None
        if schema is not None and (problem := json_schemas.compiled(schema)(event.data)):
            told = position
            yield position, problem, True
    yield from ((position, reason, False) for position, reason in sorted(noted.items()))


def _readable(log: EventLog, definitions: Definitions, step: int, noted: dict[int, str]) -> Iterator[SealedEvent]:
    """The events as they are read; an event that cannot be upcast is recorded by its position."""

    def note(position: object, reason: object) -> None:
        noted[int(str(position))] = str(reason)

    upcasting = {type_: dict(schemas_) for type_, schemas_ in definitions.upcasting.items()}

    def query(since: int, until: int) -> Query:
        return Query(since=since, until=until, where=f"position % {step} = 0" if step > 1 else None)

    since, head = 1, log.head().position
    while since <= head:
        try:
            for sealed in log.store.read(query(since, head), upcasting, note):
                since = sealed.event.position + 1
                yield sealed
        except (MisfitError, HandlerError):
            # SQLite itself does not say on which event an expression failed, or ran on for ever: one by one from the
            # last that was read.
            for position in range(since, head + 1):
                since = position + 1
                try:
                    yield from log.store.read(query(position, position), upcasting, note)
                except (MisfitError, HandlerError) as error:
                    noted[position] = error.what
                    if isinstance(error, HandlerError):
                        upcasting = _without(log, upcasting, position)
                    break
        else:
            return


def _without(log: EventLog, upcasting: Upcasting, position: int) -> dict[str, dict[int, tuple[Shape, ...]]]:
    """The upcasts but those that did not end on an event: on every other they would cost the whole limit again."""
    made = {type_: dict(schemas_) for type_, schemas_ in upcasting.items()}
    for event, _, _ in log.read(Query(since=position, until=position, raw_schema=True)):
        made.get(event.type, {}).pop(event.schema, None)
    return made
