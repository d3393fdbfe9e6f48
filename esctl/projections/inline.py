"""Projections that are kept inside the transaction of the append that brings the events."""

from __future__ import annotations

from collections.abc import Sequence

from esctl.errors import EsctlError, RefusedError, word
from esctl.events.query import Query
from esctl.model.compiled import ANY, HandlerFailed, Version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.events.event import Receipt
    from esctl.store.store import Store

MOST_BEHIND = (
    10_000  # events that an append goes over to have its projections at the head; else it leaves them to a run
)


def keep(store: Store, receipts: Sequence[Receipt], before: int) -> None:
    """Have inline projections take what was appended in the open transaction after a position, and what they missed.

    One that is far behind, or that an older event stops, waits for a run. Raises RefusedError, which names the event by
    `index` (its place in the receipts), where a handler cannot take a new one; the transaction then has to be left by
    raising.
    """
    projections, head = store.projections(), store.head().position
    for version in projections.versions(inline=True):
        if not 0 < head - version.position <= MOST_BEHIND or not _caught_up(store, version, before):
            continue
        try:
            projections.feed(version, Query(since=version.position + 1, until=head), note=True)
        except HandlerFailed as failed:
            raise _refusal(store, version, failed, receipts) from failed
        version.position = head
        projections.save(version)


def _caught_up(store: Store, version: Version, before: int) -> bool:
    """Whether a version holds what was there before the append; an old event is no reason to refuse a new one."""
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
    """The refusal of the event that a handler could not take."""
    position = failed.position
    stream, type_ = seen_at(store, version, position) if position else ("?", "?")
    index = next(
        (n for n, receipt in enumerate(receipts) if receipt.position == position and not receipt.duplicate), None
    )
    stream = (
        stream if index is None else receipts[index].stream
    )  # where SQLite ended the transaction, the event is gone
    handler = handler_of(version, failed.type or type_)
    old = "" if receipts else "; a run notes where it stops, and appends go on"
    error = RefusedError(
        f"{failed.type or type_} in {stream} is refused: {failed.reason}",
        why=f"projection.{version.name}.{handler}, which is kept inside the append, cannot take it{old}",
        fix="esctl projection status" if receipts else f"esctl projection run {word(version.name)}",
        stream=stream,
        type=failed.type or type_,
        projection=version.name,
        handler=handler,
    )
    if index is not None:
        error.details["index"] = index
    return error


def handler_of(version: Version, type_: str) -> str:
    """Which handler takes events of a type, as the model places it; or the Python function that does."""
    if not version.compiled.on:
        return str(version.reducer).partition(" ")[0]
    return f"on.{type_ if type_ in version.compiled.on else ANY}"


def seen_at(store: Store, version: Version, position: int) -> tuple[str, str]:
    """Stream and type of the event at a position, as a version's handlers see it, if they can."""
    for raw in (False, True):
        query = Query(since=position, until=position, system=True, raw_schema=raw)
        try:
            for event, _, _ in store.read(query, version.compiled.upcasting):
                return event.stream, event.type
        except EsctlError:
            continue
    return "?", "?"
