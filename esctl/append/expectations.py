"""Expected versions for a whole run, and append conditions: no event may match a filter."""

from __future__ import annotations

from collections.abc import Sequence

from esctl.errors import ConflictError, word
from esctl.events.query import Query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.events.event import Expect, Receipt
    from esctl.log import EventLog


class RunExpectation:
    """One expected version for every stream that a run touches, checked at the first new event of each stream.

    A number advances with duplicates that directly follow it, so that an append can be retried: its duplicates, the
    events of the first attempt, do not conflict with its own expected version.
    """

    def __init__(self, expect: Expect) -> None:
        self._expect = 0 if expect == "none" else expect
        self._streams: dict[str, Expect | None] = {}

    def wanted(self, stream: str) -> Expect | None:
        """The expected version of a stream; None once it was checked."""
        return self._streams.get(stream, self._expect)

    def copy(self) -> dict[str, Expect | None]:
        """A copy of the expectations by stream, for `restore` after a transaction that did not commit."""
        return dict(self._streams)

    def restore(self, streams: dict[str, Expect | None]) -> None:
        """Return to a copy."""
        self._streams = streams

    def met(self, stream: str) -> None:
        """Record that the stream was at the expected version; the run itself advances it from here on."""
        self._streams[stream] = None

    def seen(self, stream: str, version: int) -> None:
        """Record that an event of the run is a duplicate of the event at this version."""
        wanted = self.wanted(stream)
        if isinstance(wanted, int) and version == wanted + 1:
            self._streams[stream] = version


class AppendCondition:
    """An append condition: no event already stored after the position `after` may match the SQL `condition`."""

    def __init__(self, condition: str, after: int) -> None:
        self.condition, self.after = condition, after

    def check(self, log: EventLog, receipts: Sequence[Receipt], before: int) -> None:
        """Check the condition for a batch, within its transaction; `before` is the head before the batch.

        Raises ConflictError, naming up to ten events. A batch of only duplicates passes: it passed the first time.
        """
        if all(duplicate for _, _, _, _, duplicate in receipts):
            return
        query = Query(since=self.after + 1, until=before, where=self.condition, limit=10)
        if found := [event for event, _, _ in log.store.read(query, log.upcasting(query))]:
            named = ", ".join(f"#{event.position} {event.type} in {event.stream}" for event in found)
            raise ConflictError(
                f"an event matches {self.condition!r} after position {self.after}",
                why=f"{named}; read again, decide again, append with --after and the head's new position",
                fix=f"esctl replay --since '#{self.after + 1:d}' --where {word(self.condition)}",
                after=self.after,
                positions=[event.position for event in found],
            )
