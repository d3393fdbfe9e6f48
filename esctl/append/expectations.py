"""What a writer expects of a log: of every stream that a run touches, or that no event meets a condition."""

from __future__ import annotations

from collections.abc import Sequence

from esctl.errors import ConflictError, word
from esctl.events.query import Query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.events.event import Expect, Receipt
    from esctl.log import EventLog


class RunExpectation:
    """One expectation for every stream that a run touches, asked at the first new event of each.

    A number moves along with duplicates that follow it: when an append is retried, what its first try wrote is what
    the second may expect.
    """

    def __init__(self, expect: Expect) -> None:
        self._expect = 0 if expect == "none" else expect
        self._streams: dict[str, Expect | None] = {}

    def wanted(self, stream: str) -> Expect | None:
        """What is still expected of a stream; None once it was checked."""
        return self._streams.get(stream, self._expect)

    def kept(self) -> dict[str, Expect | None]:
        """What is known of streams, to come back to after a transaction that did not commit."""
        return dict(self._streams)

    def restore(self, kept: dict[str, Expect | None]) -> None:
        """Come back to what was known."""
        self._streams = kept

    def met(self, stream: str) -> None:
        """The stream was as expected, and from here on it is the run that writes it."""
        self._streams[stream] = None

    def seen(self, stream: str, version: int) -> None:
        """An event of the run turned out to be a duplicate that stands at this version."""
        wanted = self.wanted(stream)
        if isinstance(wanted, int) and version == wanted + 1:
            self._streams[stream] = version


class AppendCondition:
    """An append condition: no event that was there before may meet `condition` after the position `after`."""

    def __init__(self, condition: str, after: int) -> None:
        self.condition, self.after = condition, after

    def check(self, log: EventLog, receipts: Sequence[Receipt], before: int) -> None:
        """Judge a batch in its transaction; `before` is the head that it began from.

        Raises ConflictError, naming up to ten events. A batch of duplicates passes: it was let in when it came first.
        """
        if all(duplicate for _, _, _, _, duplicate in receipts):
            return
        query = Query(since=self.after + 1, until=before, where=self.condition, limit=10)
        if found := [event for event, _, _ in log.store.read(query, log.upcasting(query))]:
            named = ", ".join(f"#{event.position} {event.type} in {event.stream}" for event in found)
            raise ConflictError(
                f"an event matches {self.condition!r} after position {self.after}",
                why=f"{named}; read again, decide again, append with --after and the head that was read",
                fix=f"esctl replay --since '#{self.after + 1:d}' --where {word(self.condition)}",
                after=self.after,
                positions=[event.position for event in found],
            )
