"""Trace causes and effects of an event: the causation tree of all events that share its correlation id."""

from __future__ import annotations

import msgspec

from esctl.events.cloudevents import original_id, stored_id
from esctl.events.event import Event
from esctl.events.fields import members
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.sql.quoting import text


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
    ids = {name: related.id for related in found.values() for name in _names(related)} | {id_: id_ for id_ in found}
    children: dict[str | None, list[Event]] = {}
    for related in sorted(found.values()):
        cause = ids.get(_meta(related, "causation_id") or "")
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
    correlation = _meta(event, "correlation_id")
    if correlation is not None:
        raw = members(event.meta)["correlation_id"]
        arrow = "->>" if raw.startswith('"') else "->"  # text by value, anything else by its JSON text
        written = correlation if arrow == "->>" else raw
        if "\0" in written:  # no SQL literal can contain a NUL: compare the JSON text
            arrow, written = "->", raw
        return _where(log, f"meta {arrow} 'correlation_id' = {text(written)}")
    related, names = [event], {*_names(event)}
    cause = _meta(event, "causation_id")
    if cause is not None and (position := log.store.places().find(cause)):
        related += [e for e, _, _ in log.read(Query(since=position, until=position, system=True))]
    elif cause is not None:
        related += _where(log, f"id = meta ->> 'source' || {text(stored_id('', cause))}")
    return related + _effects(log, names)


def _effects(log: EventLog, names: set[str]) -> list[Event]:
    """All events that were caused, directly or not, by those with these names.

    Effects mostly come after their causes, so one pass over all caused events finds them, however long the chains are.
    Another pass follows only if an event was passed over whose cause was found behind it.
    """
    found: dict[int, Event] = {}
    while True:
        before, passed = len(found), set[int]()
        for sealed in log.read(Query(where="meta ->> 'causation_id' is not null", system=True)):
            event = sealed.event
            cause = _meta(event, "causation_id") or ""
            if event.position in found:
                continue
            if cause in names:
                found[event.position] = event
                names.update(_names(event))
            else:
                passed.add(hash(cause))
        if len(found) == before or passed.isdisjoint(map(hash, names)):
            return list(found.values())


def _names(event: Event) -> list[str]:
    """The ids by which other events may name an event: the one in the log, and the original one of a CloudEvent."""
    source = _meta(event, "source")
    original = original_id(event.id, source) if source else None
    return [event.id] if original is None else [event.id, original]


def _where(log: EventLog, condition: str) -> list[Event]:
    return [event for event, _, _ in log.read(Query(where=condition, system=True))]


def _meta(event: Event, key: str) -> str | None:
    raw = members(event.meta).get(key, "null") if event.meta is not None else "null"
    return None if raw == "null" else str(msgspec.json.decode(raw)) if raw.startswith('"') else raw
