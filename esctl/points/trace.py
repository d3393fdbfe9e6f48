"""Trace causes and effects of an event: the causation tree of all events that share its correlation id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from esctl.events.event import Event, ranges
from esctl.events.fields import members
from esctl.events.links import CAUSE, CORRELATION, ORIGINAL, hash_of, names, value
from esctl.events.query import MAX_POSITION, Query
from esctl.log import EventLog

MAX_READS = 20  # of events of a block that lie apart; for more, reading all between them is about as fast


class Traced(msgspec.Struct, frozen=True):
    """An event of a trace and its depth in the tree (0: nothing in the trace caused it)."""

    depth: int
    event: Event


def trace(log: EventLog, event: Event) -> list[Traced]:
    """The events related to an event, as a tree in depth-first order, siblings by position.

    Related are all with the same `correlation_id` in meta, or, if it has none, those linked to it by `causation_id` in
    meta, the id of the event that caused this one. For a CloudEvent, that is its id in the log or its original one.
    """
    found = {related.id: related for related in _related(log, event)}
    ids = {name: related.id for related in found.values() for name in names(related.id, related.meta)}
    ids |= {id_: id_ for id_ in found}
    children: dict[str | None, list[Event]] = {}
    for related in sorted(found.values()):
        cause = ids.get(value(related.meta, CAUSE) or "")
        children.setdefault(cause, []).append(related)
    traced: list[Traced] = []
    remaining = dict(found)
    waiting = [(0, root) for root in reversed(children.get(None, []))]
    while waiting or remaining:
        if not waiting:  # only cycles remain: start at their earliest event
            waiting = [(0, min(remaining.values()))]
        depth, parent = waiting.pop()
        if remaining.pop(parent.id, None) is not None:
            traced.append(Traced(depth, parent))
            waiting += [(depth + 1, child) for child in reversed(children.get(parent.id, []))]
    return traced


def _related(log: EventLog, event: Event) -> list[Event]:
    links = _Links(log)
    correlation = value(event.meta, CORRELATION)
    if correlation is not None:
        text = _is_text(event)  # which is not the number that looks like it
        return [one for one in links.found(CORRELATION, {correlation}) if _is_text(one) == text]
    related = [event]
    cause = value(event.meta, CAUSE)
    if cause is not None and (position := log.store.places().find(cause)):
        related += _between(log, position, position)
    elif cause is not None:
        related += links.found(ORIGINAL, {cause})
    return related + _effects(links, names(event.id, event.meta))


def _effects(links: _Links, causes: Iterable[str]) -> list[Event]:
    """All events that were caused, directly or not, by those with these names.

    Effects mostly come after their causes, so one pass finds them, however long the chains are; another one follows
    only if it found some.
    """
    found: dict[int, Event] = {}
    known = set(causes)
    while True:
        before = len(found)
        for event in links.found(CAUSE, known):
            found[event.position] = event
            known.update(names(event.id, event.meta))
        if len(found) == before:
            return list(found.values())


class _Links:
    """The index of links, and the newest events, which are not in it yet."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._later: tuple[int, list[Event]] | None = None

    def found(self, key: str, values: set[str]) -> Iterator[Event]:
        """The events with one of these values of a key, which may become more meanwhile, in the order of blocks."""
        after, blocks = self._log.store.places().links()
        if self._later is None:
            self._later = after, list(_between(self._log, after, MAX_POSITION))
        after, later = self._later
        wanted = _Wanted(key, values)
        for block in blocks:
            seen = set[int]()
            while new := [at for at in block.positions(wanted.hashes()) if at < after and at not in seen]:
                seen.update(new)
                yield from filter(wanted.has, self._at(new))
        more = True
        while more:
            more = False
            for event in list(later):
                if wanted.has(event):
                    later, more = [one for one in later if one is not event], True
                    yield event

    def _at(self, positions: list[int]) -> Iterator[Event]:
        """The events at some positions of a block."""
        spans = ranges(positions)
        if len(spans) > MAX_READS:
            spans = [(positions[0], positions[-1])]
        wanted = set(positions)
        for low, high in spans:
            yield from (event for event in _between(self._log, low, high) if event.position in wanted)


class _Wanted:
    """Values of a key that are looked for."""

    def __init__(self, key: str, values: set[str]) -> None:
        self._key, self._values = key, values
        self._hashes: set[int] = set()
        self._known = 0

    def hashes(self) -> set[int]:
        """Their hashes."""
        if len(self._values) > self._known:
            self._hashes = {hash_of(self._key, one) for one in self._values}
            self._known = len(self._values)
        return self._hashes

    def has(self, event: Event) -> bool:
        """Whether an event has one of them."""
        if self._key == ORIGINAL:
            return not self._values.isdisjoint(names(event.id, event.meta)[1:])
        return value(event.meta, self._key) in self._values


def _between(log: EventLog, low: int, high: int) -> Iterator[Event]:
    return (event for event, _, _ in log.read(Query(since=low, until=high, system=True)))


def _is_text(event: Event) -> bool:
    """Whether the correlation is written as a text."""
    return members(event.meta or "").get(CORRELATION, "").startswith('"')
