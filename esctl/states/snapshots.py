"""States that were saved: found, checked and kept, so that a fold need not begin at the beginning.

A snapshot is never trusted: its hash has to cover what it says, the fold and the upcasts that made it have to be those
of the present model, and the event that it ends at has to stand in the log with the chain's hash that it had then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from esctl.events import chain
from esctl.events.event import now
from esctl.events.record import Record
from esctl.model.program import Program
from esctl.store.snapshots import Snapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.store.snapshots import State
    from esctl.store.store import Store


DAMAGED = "it is damaged"  # what is wrong with a snapshot that is not what was saved


def digest(snapshot: Snapshot) -> bytes:
    """What a snapshot's `hash` has to be: SHA-256 over everything else but `taken`, which changes no answer."""
    said = "\n".join(map(str, (*snapshot[:8], snapshot.anchor.hex(), snapshot.state)))
    return chain.sha256(said.encode()).digest()


def problem(store: Store, snapshot: Snapshot, program: Program, upcasts: str) -> str:
    """Why a snapshot cannot be used; empty where it can."""
    if snapshot.hash != digest(snapshot):
        return DAMAGED
    if snapshot.fold != program.fold:
        return "the aggregate folds in another way now"
    if snapshot.upcasts != upcasts:
        return "the upcasts are others now"
    if store.event_at(snapshot.stream, snapshot.version) != (snapshot.position, snapshot.anchor):
        return "it was taken of another history"
    return ""


class Bounds(Record):
    """What a snapshot may hold at most, to serve a point: version, position, and the time of its latest event."""

    version: int | None = None
    position: int | None = None
    time: str | None = None

    def holds(self, snapshot: Snapshot) -> bool:
        """Whether every event of a snapshot lies within."""
        return (
            (self.version is None or snapshot.version <= self.version)
            and (self.position is None or snapshot.position <= self.position)
            and (self.time is None or snapshot.latest <= self.time)
        )


def usable(
    store: Store,
    stream: str,
    program: Program,
    upcasts: str,
    bounds: Bounds = Bounds(),  # noqa: B008 - a tuple
    ignored: Callable[[str], None] = lambda _: None,
) -> Iterator[Snapshot]:
    """The usable snapshots of a stream that hold nothing beyond the bounds, newest first; `ignored` gets the others."""
    for snapshot in store.snapshots().of(stream, program.aggregate):
        if not bounds.holds(snapshot):
            continue
        if why := problem(store, snapshot, program, upcasts):
            ignored(f"the snapshot of {stream} at version {snapshot.version} is ignored: {why}")
            continue
        yield snapshot


def save(store: Store, stream: str, program: Program, upcasts: str, state: State) -> Snapshot | None:
    """Keep a state within the open transaction; None, and nothing done, where it holds no event."""
    version, position, time, latest, text = state
    found = store.event_at(stream, version)
    if found is None:
        return None
    made = Snapshot(
        stream, program.aggregate, version, position, time, latest, program.fold, upcasts, found[1], text, b"", now()
    )
    made = made._replace(hash=digest(made))
    store.snapshots().save(made)
    return made
