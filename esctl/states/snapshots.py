"""Save states as snapshots, and find usable ones, so that a fold need not start at the first event.

A snapshot is never trusted: its hash has to match its content, its fold and upcasts have to be those of the present
model, and its last event has to be in the log with the same chain hash as when the snapshot was taken.
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


DAMAGED = "it is damaged"  # the problem of a snapshot whose hash does not match its content


def digest(snapshot: Snapshot) -> bytes:
    """The correct `hash` of a snapshot: SHA-256 over everything else except `taken`, which no state depends on."""
    text = "\n".join(map(str, (*snapshot[:8], snapshot.anchor.hex(), snapshot.state)))
    return chain.sha256(text.encode()).digest()


def problem(store: Store, snapshot: Snapshot, program: Program, upcasts: str) -> str:
    """The reason why a snapshot cannot be used; empty if it can."""
    if snapshot.hash != digest(snapshot):
        return DAMAGED
    if snapshot.fold != program.fold:
        return "the aggregate has changed, or how esctl folds it"
    if snapshot.upcasts != upcasts:
        return "the upcasts have changed"
    if store.places().event_at(snapshot.stream, snapshot.version) != (snapshot.position, snapshot.anchor):
        return "it was taken from another history of the stream"
    return ""


class Bounds(Record):
    """The limits of a usable snapshot for a point: its version, its position, and the latest time of its events."""

    version: int | None = None
    position: int | None = None
    time: str | None = None

    def holds(self, snapshot: Snapshot) -> bool:
        """Whether every event of a snapshot is within the limits."""
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
    """The usable snapshots of a stream within bounds, newest first; `ignored` gets a message for each unusable one."""
    for snapshot in store.snapshots().of(stream, program.aggregate):
        if not bounds.holds(snapshot):
            continue
        if why := problem(store, snapshot, program, upcasts):
            ignored(f"the snapshot of {stream} at version {snapshot.version} is ignored: {why}")
            continue
        yield snapshot


def save(store: Store, stream: str, program: Program, upcasts: str, state: State) -> Snapshot | None:
    """Save a state within the open transaction; None, and nothing is saved, if the state includes no last."""
    version, position, time, latest, text = state
    last = store.places().event_at(stream, version)
    if last is None:
        return None
    snapshot = Snapshot(
        stream, program.aggregate, version, position, time, latest, program.fold, upcasts, last[1], text, b"", now()
    )
    snapshot = snapshot._replace(hash=digest(snapshot))
    store.snapshots().save(snapshot)
    return snapshot
