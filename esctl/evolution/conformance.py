"""Check whether stored events fit a model: each event through its upcasts, the JSON Schemas of its type and its
stream's aggregate, and whether its schema version is in doubt.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import chain
from typing import NamedTuple

from esctl.errors import HandlerError, MisfitError
from esctl.events.event import SealedEvent
from esctl.events.query import Query, Shape, Upcasting
from esctl.evolution.repeated import repeated
from esctl.evolution.stamps import suspects
from esctl.evolution.unfoldable import unfoldable
from esctl.log import EventLog
from esctl.model import json_schemas
from esctl.model.applied import Definitions

UPCAST, SCHEMA, FOLD, REPEATED = "upcast", "json schema", "fold", "repeated key"
MAX_FAILURES = 100  # listed for one type and schema version

Watch = Callable[[Iterable[SealedEvent], int], Iterable[SealedEvent]]


class Failure(NamedTuple):
    """A stored event that does not fit, why, and the kind of reason: `upcast`, `json schema`, `fold`, `old shape`,
    `no chain` or `repeated key`.
    """

    position: int
    type: str
    schema: int
    reason: str
    kind: str


class Row(NamedTuple):
    """The events of one stored type and schema version: their number, what they are read as, how many do not fit
    (`failed`), how many of these for each kind of reason, and the first failures.
    """

    type: str
    schema: int
    events: int
    read_as: str
    failed: int
    kinds: Mapping[str, int]
    failures: tuple[Failure, ...]

    @property
    def unreadable(self) -> int:
        """How many events an upcast fails on."""
        return self.kinds.get(UPCAST, 0)


def check(
    log: EventLog,
    definitions: Definitions,
    sample: int | None = None,
    watch: Watch = lambda events, _: events,
    *,
    only: Collection[str] | None = None,
    thorough: bool = False,
) -> list[Row]:
    """Check every stored event, or about `sample` of them spread over the log, against these definitions; with `only`,
    those stored as these types.

    `thorough` also looks for doubtful schema versions, for keys that occur twice in an object and, without a sample,
    for events that aggregates cannot fold. All of it is of one state of the log.
    """
    with log.store.one_state():
        return _checked(log, definitions, sample, watch, only, thorough=thorough)


def _checked(
    log: EventLog,
    definitions: Definitions,
    sample: int | None,
    watch: Watch,
    only: Collection[str] | None,
    *,
    thorough: bool,
) -> list[Row]:
    counts: Counter[tuple[str, int]] = Counter()
    kinds: dict[tuple[str, int], Counter[str]] = defaultdict(Counter)
    examples: dict[tuple[str, int], list[Failure]] = defaultdict(list)
    step = 1 if sample is None else max(1, log.head().position // max(1, sample))
    for position, reason, kind in _found(log, definitions, step, watch, only, thorough=thorough):
        for event, _, _ in log.read(Query(since=position, until=position, raw_schema=True)):
            key = event.type, event.schema
            kinds[key][kind] += 1
            if len(examples[key]) < MAX_FAILURES:
                examples[key].append(Failure(position, *key, reason, kind))
    if step == 1:
        counts.update({(type_, schema): events for type_, schema, events in log.store.facts().schemas()})
    else:
        where = f"position % {step} = 0"
        counts.update((e.type, e.schema) for e, _, _ in log.read(Query(where=where, raw_schema=True)))
    return [
        Row(*key, events, _read_as(definitions, *key), kinds[key].total(), dict(kinds[key]), tuple(examples[key]))
        for key, events in sorted(counts.items())
    ]


def _found(
    log: EventLog, definitions: Definitions, step: int, watch: Watch, only: Collection[str] | None, *, thorough: bool
) -> Iterator[tuple[int, str, str]]:
    """Position, reason and kind of every event that does not fit; each event once."""
    if not thorough:
        yield from _failing(log, definitions, step, watch, only)
        return
    seen: set[int] = set()
    doubtful = ((position, reason, kind) for position, kind, reason in suspects(log, definitions, step))
    unfit = ((*found, FOLD) for found in (unfoldable(log) if step == 1 else ()))
    twice = ((*found, REPEATED) for found in repeated(log, step))
    for position, reason, kind in chain(_failing(log, definitions, step, watch, only), doubtful, unfit, twice):
        if position not in seen:
            seen.add(position)
            yield position, reason, kind


def _read_as(definitions: Definitions, type_: str, schema: int) -> str:
    shapes = definitions.upcasting.get(type_, {}).get(schema)
    if shapes is None:
        return f"{type_} {schema}"
    return " + ".join(map(_name, shapes)) or "nothing"


def _name(shape: Shape) -> str:
    return f"{shape.type} {shape.schema}"


def _failing(
    log: EventLog, definitions: Definitions, step: int, watch: Watch, only: Collection[str] | None
) -> Iterator[tuple[int, str, str]]:
    """Position, reason and kind of events that cannot be upcast, or whose payload a JSON Schema rejects."""
    checked = {type_ for type_ in (*definitions.upcasting, *definitions.schemas) if only is None or type_ in only}
    total = sum(events for type_, _, events in log.store.facts().schemas() if type_ in checked)
    misfits: dict[int, str] = {}
    reported = 0  # the last position that was reported: a split event comes once a part
    for event, _, _ in watch(_readable(log, definitions, step, misfits, checked), total):
        position = event.position
        for known in sorted(known for known in misfits if known < position):
            yield known, misfits.pop(known), UPCAST
        if position in misfits or position == reported:
            continue
        schema = definitions.schemas.get(event.type, {}).get(event.schema) if event.data is not None else None
        if schema is not None and (problem := json_schemas.compiled(schema)(event.data)):
            reported = position
            yield position, problem, SCHEMA
    yield from ((position, reason, UPCAST) for position, reason in sorted(misfits.items()))


def _readable(
    log: EventLog, definitions: Definitions, step: int, misfits: dict[int, str], checked: set[str]
) -> Iterator[SealedEvent]:
    """The events of some stored types, upcast; `misfits` gets the reason of each that cannot be, by position."""

    def note(position: object, reason: object) -> None:
        misfits[int(str(position))] = str(reason)

    upcasting = {type_: dict(schemas_) for type_, schemas_ in definitions.upcasting.items()}

    read_as = {shape.type for type_ in checked for shapes in upcasting.get(type_, {}).values() for shape in shapes}
    if not checked:
        return

    def query(since: int, until: int) -> Query:
        where = f"position % {step} = 0" if step > 1 else None
        return Query(types=(*checked, *read_as - checked), since=since, until=until, where=where)

    since, head = 1, log.store.newest()
    while since <= head:
        try:
            for sealed in log.store.read(query(since, head), upcasting, note):
                since = sealed.event.position + 1
                yield sealed
        except (MisfitError, HandlerError):
            # SQLite does not report on which event an expression failed or ran too long: read one by one after the last
            # event that was read.
            for position in range(since, head + 1):
                since = position + 1
                try:
                    yield from log.store.read(query(position, position), upcasting, note)
                except (MisfitError, HandlerError) as error:
                    misfits[position] = error.what
                    if isinstance(error, HandlerError):
                        upcasting = _without(log, upcasting, position)
                    break
        else:
            return


def _without(log: EventLog, upcasting: Upcasting, position: int) -> dict[str, dict[int, tuple[Shape, ...]]]:
    """The upcasts without those that ran too long on an event: each further event would cost the whole time limit."""
    remaining = {type_: dict(schemas_) for type_, schemas_ in upcasting.items()}
    for event, _, _ in log.read(Query(since=position, until=position, raw_schema=True)):
        remaining.get(event.type, {}).pop(event.schema, None)
    return remaining
