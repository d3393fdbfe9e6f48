"""Projections that are kept inside the transaction of the append that brings the events."""

from __future__ import annotations

from collections.abc import Sequence

from esctl.errors import EsctlError, RefusedError
from esctl.query import Query
from esctl.readmodels import ANY, HandlerFailed, Version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.stores.base import Projections, Receipt, Store

MOST_BEHIND = (
    10_000  # events that an append goes over to have its projections at the head; else it leaves them to a run
)


def keep(store: Store, receipts: Sequence[Receipt]) -> None:
    """Have inline projections take what was appended in the open transaction, and what they had missed before.

    One that is far behind, or that was stopped, waits for a run. Raises RefusedError, which names the event by `index`
    (its place in the receipts), where a handler cannot take it; the transaction then has to be left by raising.
    """
    projections, head = store.projections(), store.head()[0]
    for version in projections.versions(inline=True):
        if not 0 < head - version.position <= MOST_BEHIND:
            continue
        try:
            projections.feed(version, Query(since=version.position + 1, until=head))
        except HandlerFailed as failed:
            raise _refusal(store, version, head, failed, receipts) from failed
        version.position = head
        projections.save(version)


def _refusal(
    store: Store, version: Version, head: int, failed: HandlerFailed, receipts: Sequence[Receipt]
) -> RefusedError:
    """The refusal of the event that a handler could not take, which is searched for."""
    position = next(
        (at for at in range(version.position + 1, head + 1) if _fails(store.projections(), version, at)), head
    )
    stream, type_ = seen_at(store, version, position)
    index = next((n for n, receipt in enumerate(receipts) if receipt[0] == position and not receipt[4]), None)
    handler = handler_of(version, type_)
    return RefusedError(
        f"{type_} in {stream} is refused: {failed.reason}",
        why=f"projection.{version.name}.{handler}, which is kept inside the append, cannot take it",
        fix="esctl projection status   (shows how the projection stands)",
        stream=stream,
        type=type_,
        projection=version.name,
        handler=handler,
        **({} if index is None else {"index": index}),
    )


def _fails(projections: Projections, version: Version, position: int) -> bool:
    """Whether it is the event at this position; those before it are taken once more, in a transaction that is lost."""
    try:
        projections.feed(version, Query(since=position, until=position))
    except (HandlerFailed, EsctlError):
        return True
    return False


def handler_of(version: Version, type_: str) -> str:
    """Which handler takes events of a type, as the model places it; or the Python function that does."""
    if not version.compiled.on:
        return str(version.reducer).partition(" ")[0]
    return f"on.{type_ if type_ in version.compiled.on else ANY}"


def seen_at(store: Store, version: Version, position: int) -> tuple[str, str]:
    """Stream and type of the event at a position, as a version's handlers see it, if they can."""
    for raw in (False, True):
        query = Query(since=position, until=position, system=True, raw_schema=raw)
        query.upcasting = version.compiled.upcasting
        try:
            for event, _, _ in store.read(query):
                return event[1], event[4]
        except EsctlError:
            continue
    return "?", "?"
