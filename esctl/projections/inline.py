"""Inline projections: updated within the transaction of the append that brings the events."""

from __future__ import annotations

from collections.abc import Sequence

from esctl.errors import EsctlError, RefusedError, word
from esctl.events.event import index_at
from esctl.events.query import Query
from esctl.model.compiled import ANY, HandlerFailed, Version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.events.event import Receipt
    from esctl.store.store import Store

MOST_BEHIND = 10_000  # events that an append processes to bring its projections to the head; a run does more


def keep(store: Store, receipts: Sequence[Receipt], before: int) -> None:
    """Feed inline projections the events appended in the open transaction after a position, and those they missed.

    A projection that is far behind, or stopped by an older event, waits for a run. Raises RefusedError if a handler
    fails on a new event, with its `index` in the receipts; the transaction must then be left by raising.
    """
    projections, head = store.projections(), store.head().position
    for version in projections.versions(inline=True):
        if not 0 < head - version.position <= MOST_BEHIND or not _caught_up(store, version, before):
            continue
        try:
            projections.feed(version, Query(since=version.position + 1, until=head), record=True)
        except HandlerFailed as failed:
            raise _refusal(store, version, failed, receipts) from failed
        version.position = head
        projections.save(version)


def _caught_up(store: Store, version: Version, before: int) -> bool:
    """Whether a version has all events from before the append. An old event is no reason to refuse a new one."""
    if version.position >= before:
        return True
    try:
        store.projections().attempt(version, Query(since=version.position + 1, until=before))
    except HandlerFailed as failed:
        if not failed.undone:
            raise _refusal(store, version, failed, ()) from failed
        return False
    version.position = before
    return True


def _refusal(store: Store, version: Version, failed: HandlerFailed, receipts: Sequence[Receipt]) -> RefusedError:
    """The refusal of the event on which a handler failed."""
    position = failed.position
    stream, type_ = seen_at(store, version, position) if position else ("?", "?")
    index = index_at(receipts, position)
    stream = stream if index is None else receipts[index].stream  # if SQLite ended the transaction, the event is gone
    handler = handler_of(version, failed.type or type_)
    old = "" if receipts else "; a run notes where it stops, and appends go on"
    error = RefusedError(
        f"{failed.type or type_} in {stream} is refused: {failed.reason}",
        why=f"{field_of(version, handler)} fails on it; this projection is updated inside the append{old}",
        fix="esctl projection status" if receipts else f"esctl projection run {word(version.name)}",
        stream=stream,
        type=failed.type or type_,
        projection=version.name,
        handler=handler,
        field=field_of(version, handler),
    )
    if index is not None:
        error.details["index"] = index
    return error


def handler_of(version: Version, type_: str) -> str:
    """The handler for events of a type, by its key in the model; or the Python function of the version."""
    if not version.compiled.on:
        return str(version.reducer).partition(" ")[0]
    return f"on.{type_ if type_ in version.compiled.on else ANY}"


def field_of(version: Version, handler: str) -> str:
    """The place of a version's handler in the model; a Python function has none there."""
    return f"projection.{version.name}.{handler}" if version.compiled.on else f"projection.{version.name}"


def seen_at(store: Store, version: Version, position: int) -> tuple[str, str]:
    """Stream and type of the event at a position as a version's handlers see it, if it can be read."""
    for raw in (False, True):
        query = Query(since=position, until=position, system=True, raw_schema=raw)
        try:
            for event, _, _ in store.read(query, version.compiled.upcasting):
                return event.stream, event.type
        except EsctlError:
            continue
    return "?", "?"
