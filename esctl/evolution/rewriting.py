"""Copy and replace: a new log with every event in its newest schema; and chains of upcasts, step by step."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from esctl.errors import ConflictError, NotFoundError, VerificationError
from esctl.events import chain, system
from esctl.events.event import MAX_NAME_BYTES, Event, NewEvent, SealedEvent
from esctl.events.json import text_of
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.model import upcasts
from esctl.model.declared import Upcast
from esctl.model.operations import payload_after
from esctl.projections import admin
from esctl.upkeep.verify import verify

EVENTS_PER_TRANSACTION = 10_000  # events that are appended in one transaction

Watch = Callable[[Iterable[SealedEvent], int], Iterable[SealedEvent]]


class Shown(NamedTuple):
    """A step of a chain: its number, from and to which type and schema, in words, and what it makes of a stored event:
    the position, and the payload before and after (JSON text; of a split an array; None: there is no event, or no
    payload any more).
    """

    step: int
    from_: str
    to: str
    operations: str
    position: int | None
    before: str | None
    after: str | None


def steps(log: EventLog, type_: str) -> Iterator[Shown]:
    """The chain of a type, followed through its renames, on the oldest stored event that enters it at each step.

    Raises NotFoundError for a type that has no upcasts.
    """
    model = log.definitions.model
    if type_ not in model.events or not model.events[type_].upcasts:
        having = ", ".join(name for name, event in model.events.items() if event.upcasts) or "no type"
        raise NotFoundError(f"{type_} has no upcasts", why=f"the model has upcasts of {having}", fix="esctl model show")
    number, event, before = 0, None, None
    todo = [(type_, upcast) for upcast in sorted(model.events[type_].upcasts, key=lambda upcast: upcast.start)]
    seen: set[str] = set()
    while todo:
        name, upcast = todo.pop(0)
        if upcast.place in seen:
            continue
        seen.add(upcast.place)
        number += 1
        if before is None and (sample := _sample(log, name, upcast.start)):
            event, before = sample, sample[8]
        after = _after(log, event, before, name, upcast) if event and before else None
        yield Shown(
            number,
            f"{name} {upcast.start}",
            "nothing" if upcast.drop else " + ".join(f"{part.type} {part.schema}" for part in upcast.parts),
            upcasts.summary(upcast),
            event[0] if event and before else None,
            before,
            after,
        )
        before = None if upcast.split or upcast.drop else after
        for part in upcast.parts:
            if part.type != name and part.type in model.events:
                todo += [(part.type, u) for u in model.events[part.type].upcasts if u.start >= part.schema]


def _sample(log: EventLog, type_: str, schema: int) -> Event | None:
    """The oldest event that is stored so."""
    query = Query(types=(type_,), where=f"schema = {schema}", limit=1, raw_schema=True)
    return next((event for event, _, _ in log.read(query)), None)


def _after(log: EventLog, event: Event, before: str, type_: str, upcast: Upcast) -> str | None:
    made = [
        log.store.evaluated(payload_after([(type_, upcast.start, part.step)]), (*event[:8], before, event[9]))
        for part in upcast.parts
    ]
    if upcast.drop:
        return None
    return f"[{','.join(made)}]" if upcast.split else made[0]


def plan(log: EventLog) -> dict[str, int]:
    """What a rewriting would do: how many events there are, how many get another form, are split, are hidden."""
    counted = {"events": 0, "rewritten": 0, "split": 0, "hidden": 0}
    upcasting = log.definitions.upcasting
    for type_, schema, events in log.store.facts().schemas():
        counted["events"] += events
        shapes = upcasting.get(type_, {}).get(schema)
        if shapes is not None:
            kind = "hidden" if not shapes else "split" if any(shape.part for shape in shapes) else "rewritten"
            counted[kind] += events
    return counted


class _Copy:
    """What has been written of the new log, and how far positions have moved."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self.counts = {"events": 0, "rewritten": 0, "split": 0, "hidden": 0, "moved": 0}
        self._splits: list[int] = []  # positions, once for each additional event that they became
        self.model = 0  # the new position of the newest model
        self.erased: list[tuple[int, int]] = []  # new positions of payloads that are gone, old ones of what says so
        self._gone = {position: number for position, _, number in log.store.facts().erasures()}

    def moved(self, position: int) -> int:
        """Where an event stands in the new log; of a split one, its first part."""
        return position + bisect_left(self._splits, position)

    def events(self, event: Event, read_as: list[Event]) -> list[NewEvent]:
        """What a stored event becomes. One that its upcasts hide stays as it is, in its place, and stays hidden."""
        position = self.moved(event[0])
        self.counts["moved"] += position != event[0]
        if event[0] in self._gone:
            self.erased += [(position + n, self._gone[event[0]]) for n in range(max(1, len(read_as)))]
        if event[1].startswith(system.PREFIX):
            return [self._own(event, position)]
        self.counts["events"] += 1
        if not read_as:
            self.counts["hidden"] += 1
            return [_new(event, event, event[3])]
        if len(read_as) == 1:
            self.counts["rewritten"] += read_as[0][4:6] != event[4:6] or read_as[0][8] != event[8]
            return [_new(event, read_as[0], event[3])]
        self.counts["split"] += 1
        self._splits += [event[0]] * (len(read_as) - 1)
        return [_new(event, part, self._part_id(event[3], n)) for n, part in enumerate(read_as, 1)]

    def _part_id(self, event_id: str, number: int) -> str:
        """The id of a part: `<id>/<part>`; where that is too long or taken, its SHA-256 instead."""
        made = f"{event_id}/{number}"
        if len(made.encode()) > MAX_NAME_BYTES or self._log.store.find(made):
            return f"{hashlib.sha256(event_id.encode()).hexdigest()}/{number}"
        return made

    def _own(self, event: Event, position: int) -> NewEvent:
        """One of the log's own events; a mark goes where its event goes."""
        if event[4] == system.MODEL_APPLIED:
            self.model = position
        if event[4] == system.MARK_SET:
            data = json.loads(event[8])
            data["position"] += bisect_right(self._splits, data["position"])  # of a split event, its last part
            event = (*event[:8], text_of(data), event[9])
        if event[4] == system.PAYLOAD_ERASED:
            data = json.loads(event[8])
            data["positions"] = [
                (self.moved(low), high + bisect_right(self._splits, high)) for low, high in data["positions"]
            ]
            event = (*event[:8], text_of(data), event[9])
        return _new(event, event, event[3])


def _new(stored: Event, read: Event, event_id: str) -> NewEvent:
    # A payload that is gone is put as null first, and then taken away.
    return stored[1], read[4], event_id, stored[6], read[5], read[8] or "null", stored[9] or "{}", None


def rewrite(log: EventLog, target: Path, watch: Watch) -> dict[str, object]:
    """Write the new log, verify it, and report; the file appears whole or not at all.

    Raises UsageError where `target` is there already, MisfitError for an event that cannot be upcast.
    """
    from esctl.store import migrations  # noqa: PLC0415 - sqlite-utils, to make a log
    from esctl.store.files import draft_of  # noqa: PLC0415

    copy = _Copy(log)
    definitions, head = log.definitions, log.head()
    with draft_of(target) as draft:
        log_id = migrations.shape(draft)
        with EventLog(draft, write=True, bulk=True) as new:
            _write(log, new, copy, watch, head[0])
            if log.definitions.position != definitions.position:
                raise ConflictError("another model was applied meanwhile", again="")
            source: dict[str, object] = {"log_id": log.log_id, "head": f"{head[0]}:{head[1].hex()}"}
            new.record(system.LOG_REWRITTEN, source)
            admin.settle(new)
            report = verify(new, full=True, expect_head=None, watch=lambda events, _: events)
            newest = new.head()
        if not report.ok:
            raise VerificationError("the new log is not whole, and was not kept", why=str(report.findings[0]))
    counts: dict[str, object] = dict(copy.counts)
    return {"log": str(target), "log_id": log_id, **counts, "head": f"{newest[0]}:{newest[1].hex()}"}


def _write(log: EventLog, new: EventLog, copy: _Copy, watch: Watch, head: int) -> None:
    """Copy events in transactions, those that were recorded together under the time that they were recorded."""
    portion: list[tuple[str, NewEvent]] = []
    for event, read_as in _both(log, watch, head):
        portion += [(event[7], made) for made in copy.events(event, read_as)]
        if len(portion) >= EVENTS_PER_TRANSACTION:
            _append(new, portion, copy)
            portion = []
    _append(new, portion, copy)
    _erase(new, copy)


def _append(new: EventLog, portion: list[tuple[str, NewEvent]], copy: _Copy) -> None:
    with new.transaction():
        for recorded, group in groupby(portion, key=lambda one: one[0]):
            new.store.append([event for _, event in group], recorded=recorded)
        new.store.set_model(copy.model)


def _erase(new: EventLog, copy: _Copy) -> None:
    """Take away what is gone in the old log."""
    for number, group in groupby(copy.erased, key=lambda one: one[1]):
        positions = [position for position, _ in group]
        with new.transaction():
            digests = [
                chain.payload_digest(salt, event[8].encode(), event[9].encode())
                for position in positions
                for event, salt, _ in new.store.read(Query(since=position, until=position, raw_schema=True))
            ]
            new.store.archiving().erase(positions, digests, copy.moved(number))


def _both(log: EventLog, watch: Watch, head: int) -> Iterator[tuple[Event, list[Event]]]:
    """Every stored event with what it is read as: nothing, itself in its newest form, or its parts."""
    reading = log.read(Query(until=head, system=True))
    waiting = next(reading, None)
    for event, _, _ in watch(log.read(Query(until=head, system=True, raw_schema=True)), head):
        read_as = []
        while waiting is not None and waiting[0][0] == event[0]:
            read_as.append(waiting[0])
            waiting = next(reading, None)
        yield event, read_as
