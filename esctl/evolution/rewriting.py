"""Rewrite a log into a new one with every event in its newest schema, and show chains of upcasts step by step."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from esctl.errors import NotFoundError, VerificationError
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

EVENTS_PER_TRANSACTION = 10_000

Watch = Callable[[Iterable[SealedEvent], int], Iterable[SealedEvent]]


class Shown(NamedTuple):
    """A step of a chain: its number, its type and schema before and after, its operations in words, and a sample: the
    position of a stored event, and its payload before and after (JSON text; of a split an array; None: no such event,
    or dropped or erased).
    """

    step: int
    from_: str
    to: str
    operations: str
    position: int | None
    before: str | None
    after: str | None


def steps(log: EventLog, type_: str) -> Iterator[Shown]:
    """The steps of a type's chain, through its renames, shown on the oldest stored event that enters at each step.

    Raises NotFoundError for a type without upcasts.
    """
    model = log.definitions.model
    if type_ not in model.events or not model.events[type_].upcasts:
        others = ", ".join(name for name, event in model.events.items() if event.upcasts) or "no type"
        raise NotFoundError(f"{type_} has no upcasts", why=f"the model has upcasts of {others}", fix="esctl model show")
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
            event, before = sample, sample.data
        after = _after(log, event, before, name, upcast) if event and before else None
        yield Shown(
            number,
            f"{name} {upcast.start}",
            "nothing" if upcast.drop else " + ".join(f"{part.type} {part.schema}" for part in upcast.parts),
            upcasts.summary(upcast),
            event.position if event and before else None,
            before,
            after,
        )
        before = None if upcast.split or upcast.drop else after
        for part in upcast.parts:
            if part.type != name and part.type in model.events:
                todo += [(part.type, u) for u in model.events[part.type].upcasts if u.start >= part.schema]


def _sample(log: EventLog, type_: str, schema: int) -> Event | None:
    """The oldest event stored with this type and schema."""
    query = Query(types=(type_,), where=f"schema = {schema}", limit=1, raw_schema=True)
    return next((event for event, _, _ in log.read(query)), None)


def _after(log: EventLog, event: Event, before: str, type_: str, upcast: Upcast) -> str | None:
    made = [
        log.store.evaluated(payload_after([(type_, upcast.start, part.step)]), event._replace(data=before))
        for part in upcast.parts
    ]
    if upcast.drop:
        return None
    return f"[{','.join(made)}]" if upcast.split else made[0]


def plan(log: EventLog) -> dict[str, int]:
    """The number of events in all, and of those that a rewriting would change, split, or leave hidden."""
    counted = {"events": 0, "rewritten": 0, "split": 0, "hidden": 0}
    with log.store.one_state():
        upcasting = log.definitions.upcasting
        for type_, schema, events in log.store.facts().schemas():
            counted["events"] += events
            shapes = upcasting.get(type_, {}).get(schema)
            if shapes is not None:
                kind = "hidden" if not shapes else "split" if any(shape.part for shape in shapes) else "rewritten"
                counted[kind] += events
    return counted


class _Copy:
    """Maps stored events to events of the new log, counts them, and tracks how far splits have moved positions."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self.counts = {"events": 0, "rewritten": 0, "split": 0, "hidden": 0, "moved": 0}
        self._splits: list[int] = []  # old positions of split events, once for each additional event
        self.model = 0  # the new position of the newest model
        self.erased: list[tuple[int, int]] = []  # erased payloads: new position, old position of the erasure event
        self._erasures = {position: number for position, _, number in log.store.facts().erasures()}

    def moved(self, position: int) -> int:
        """The new position of an event; of a split one, that of its first part."""
        return position + bisect_left(self._splits, position)

    def moved_end(self, position: int) -> int:
        """The new position of an event; of a split one, that of its last part."""
        return position + bisect_right(self._splits, position)

    def events(self, event: Event, read_as: list[Event]) -> list[NewEvent]:
        """The new events for a stored event. One that its upcasts hide is copied unchanged, and stays hidden."""
        position = self.moved(event.position)
        self.counts["moved"] += position != event.position
        if event.position in self._erasures:
            self.erased += [(position + n, self._erasures[event.position]) for n in range(max(1, len(read_as)))]
        if event.stream.startswith(system.PREFIX):
            return [self._own(event, position)]
        self.counts["events"] += 1
        if not read_as:
            self.counts["hidden"] += 1
            return [_new(event, event, event.id)]
        if len(read_as) == 1:
            (read,) = read_as
            self.counts["rewritten"] += (read.type, read.schema, read.data) != (event.type, event.schema, event.data)
            return [_new(event, read, event.id)]
        self.counts["split"] += 1
        self._splits += [event.position] * (len(read_as) - 1)
        return [_new(event, part, self._part_id(event.id, n)) for n, part in enumerate(read_as, 1)]

    def _part_id(self, event_id: str, number: int) -> str:
        """The id of a part: `<id>/<part>`; if that is too long or taken, the SHA-256 of the id replaces the id."""
        made = f"{event_id}/{number}"
        if len(made.encode()) > MAX_NAME_BYTES or self._log.store.places().find(made):
            return f"{hashlib.sha256(event_id.encode()).hexdigest()}/{number}"
        return made

    def _own(self, event: Event, position: int) -> NewEvent:
        """The copy of one of the log's own events; a mark and the ranges of an erasure get the new positions."""
        if event.type == system.MODEL_APPLIED:
            self.model = position
        if event.type == system.MARK_SET:
            data = json.loads(event.data)
            data["position"] = self.moved_end(data["position"])
            event = event._replace(data=text_of(data))
        if event.type == system.PAYLOAD_ERASED:
            data = json.loads(event.data)
            data["positions"] = [(self.moved(low), self.moved_end(high)) for low, high in data["positions"]]
            event = event._replace(data=text_of(data))
        return _new(event, event, event.id)


def _new(stored: Event, read: Event, event_id: str) -> NewEvent:
    # An erased payload is first appended as null, and then erased again: see `_erase`.
    data, meta = read.data or "null", stored.meta or "{}"
    return NewEvent(stored.stream, read.type, event_id, stored.time, read.schema, data, meta, None)


def rewrite(log: EventLog, target: Path, watch: Watch) -> dict[str, object]:
    """Write the new log, verify it, and return a report; the file appears complete or not at all. All of it is of one
    state of the old log.

    Raises UsageError if `target` exists, MisfitError for an event that cannot be upcast.
    """
    from esctl.store import migrations  # noqa: PLC0415 - sqlite-utils, to make a log
    from esctl.store.drafts import complete  # noqa: PLC0415
    from esctl.store.files import draft_of  # noqa: PLC0415

    with draft_of(target) as draft:
        log_id = migrations.shape(draft, target)
        with EventLog(draft, write=True, bulk=True) as new:
            with log.store.one_state():
                copy, head = _Copy(log), log.head()
                _write(log, new, copy, watch, head.position)
            new.record(system.LOG_REWRITTEN, {"log_id": log.log_id, "head": str(head)})
            admin.settle(new)
            report = verify(new, full=True, expect_head=None, watch=lambda events, _: events)
            newest = new.head()
        if not report.ok:
            raise VerificationError("the new log is damaged, and was not kept", why=str(report.findings[0]))
        complete(draft, target, newest.hash)
    counts: dict[str, object] = dict(copy.counts)
    return {"log": str(target), "log_id": log_id, **counts, "head": str(newest)}


def _write(log: EventLog, new: EventLog, copy: _Copy, watch: Watch, head: int) -> None:
    """Copy events in transactions, each with its recorded time."""
    portion: list[tuple[str, NewEvent]] = []
    for event, read_as in _both(log, watch, head):
        portion += [(event.recorded, made) for made in copy.events(event, read_as)]
        if len(portion) >= EVENTS_PER_TRANSACTION:
            _append(new, portion, copy)
            portion = []
    _append(new, portion, copy)
    _erase(new, copy)
    _move_reactions(log, new, copy)


def _append(new: EventLog, portion: list[tuple[str, NewEvent]], copy: _Copy) -> None:
    with new.transaction():
        for recorded, group in groupby(portion, key=lambda one: one[0]):
            new.store.append([event for _, event in group], recorded=recorded)
        new.store.set_model(copy.model)


def _erase(new: EventLog, copy: _Copy) -> None:
    """Erase in the new log the payloads that are erased in the old one."""
    for number, group in groupby(copy.erased, key=lambda one: one[1]):
        positions = [position for position, _ in group]
        with new.transaction():
            digests = [
                chain.payload_digest(salt, event.data.encode(), event.meta.encode())
                for position in positions
                for event, salt, _ in new.store.read(Query(since=position, until=position, raw_schema=True))
            ]
            new.store.archiving().erase(positions, digests, copy.moved(number))


def _move_reactions(log: EventLog, new: EventLog, copy: _Copy) -> None:
    """Copy the reactions, paused, with the positions of the new log: the old log may still be in use."""
    found, store = log.store.reactions(), new.store.reactions()
    if not found.exist():
        return
    places = new.store.places()
    with new.transaction():
        for one in found.all():
            position = copy.moved_end(one.position)
            done = [(copy.moved(low), copy.moved_end(high)) for low, high in json.loads(one.done)]
            hash_ = places.hash_at(position)
            store.create([one._replace(log_id=new.log_id, position=position, hash=hash_, done=text_of(done))])
            copy.counts["reactions"] = copy.counts.get("reactions", 0) + 1
        for letter in found.letters():
            store.put(letter._replace(position=copy.moved(letter.position)))
        store.pause_all()


def _both(log: EventLog, watch: Watch, head: int) -> Iterator[tuple[Event, list[Event]]]:
    """Every stored event with the events that it is read as: none, itself in its newest schema, or its parts."""
    reading = log.read(Query(until=head, system=True))
    waiting = next(reading, None)
    for event, _, _ in watch(log.read(Query(until=head, system=True, raw_schema=True)), head):
        read_as = []
        while waiting is not None and waiting.event.position == event.position:
            read_as.append(waiting.event)
            waiting = next(reading, None)
        yield event, read_as
