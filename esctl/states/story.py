"""The story of a stream: each event, the time since the one before, and what it changed in the state."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from esctl.errors import MisfitError
from esctl.events.event import Event, part_of
from esctl.events.query import Query
from esctl.events.record import Record
from esctl.log import EventLog
from esctl.sql.paths import readable
from esctl.states import folding
from esctl.states.differences import Change

VERSIONS = 4096  # that are read together, if their events are small enough: an archive unpacks a frame for each read


class Entry(Record):
    """An event; the seconds since the stream's event before it (None: it is the first); what it changed in the state;
    the state before and after it (JSON text); whether the rules refuse it in the state before it.
    """

    event: Event
    elapsed: float | None
    changes: list[Change]
    before: str
    state: str
    refused: bool


class Shown:
    """Tells which of a stream's events, read in order from any one on, a query asks for."""

    def __init__(self, log: EventLog, query: Query) -> None:
        log.require(query)
        self._query, self._left = query, query.limit
        self.first = next((event for event, _, _ in log.read(query)), None)
        self._from = (self.first.version, part_of(self.first) or 0) if self.first else (0, 0)

    def has(self, event: Event) -> bool:
        """Whether the query asks for an event. Asked once for each."""
        query = self._query
        shown = (
            not self.ended
            and (event.version, part_of(event) or 0) >= self._from
            and event.version >= (query.since_version or 0)
            and event.position >= query.since
            and (query.since_time is None or event.time >= query.since_time)
        )
        if shown and self._left is not None:
            self._left -= 1
        return shown

    @property
    def ended(self) -> bool:
        """Whether there are as many events as the query has asked for."""
        return self._left == 0


def without_beginning(query: Query) -> Query:
    """The same query from the first event on, without limits."""
    return query.replace(since=1, since_version=None, since_time=None, limit=None, last=None)


class Story:
    """The entries of one stream; `seen` is the version up to which they were told.

    Close it. Raises NotFoundError for an unknown stream or aggregate.
    """

    def __init__(self, log: EventLog, query: Query, aggregate: str | None = None) -> None:
        self._log, self._query, self._all = log, query, without_beginning(query)
        self.shown = Shown(log, query)
        self.seen = self.shown.first.version - 1 if self.shown.first else self._newest()
        self._definitions = log.definitions
        self._aggregate = aggregate
        self._begin()

    def _begin(self) -> None:
        """Fold up to the version that was seen, from a snapshot if one is usable."""
        before = self._all.replace(until_version=self.seen)
        self._folding = folding.begin(self._log, before, self._aggregate, saved=self.seen > 0)
        try:
            for _ in self._folding.fold.feed(self._folding.query):
                pass
        except MisfitError as error:
            raise folding.named(self._log, self._folding, error) from error
        (_, _, time, _, self._state), _ = self._folding.fold.state(self._folding.stream)
        self._time: str | None = time or None

    def _newest(self) -> int:
        """The stream's version at the end of the query."""
        position = folding.bounds(self._log, self._query).position
        newest = self._log.head().position
        version = self._log.store.places().version_until(
            self._query.stream or "", newest if position is None else min(newest, position)
        )
        until = self._query.until_version
        return version if until is None else min(version, until)

    def entries(self) -> Iterator[Entry]:
        """The entries up to the end of the query as it is now; asked again, those of events that came since.

        Raises MisfitError at an event that cannot be folded.
        """
        if self._log.definitions is not self._definitions:
            self._definitions = self._log.definitions
            self._folding.fold.close()
            self._begin()
        newest, size = self._newest(), min(VERSIONS, self._log.store.facts().window_size())
        while self.seen < newest and not self.shown.ended:
            last = min(newest, self.seen + size)
            yield from self._told(self._all.replace(since_version=self.seen + 1, until_version=last))
            self.seen = last

    def _told(self, query: Query) -> Iterator[Entry]:
        held = folding.Held(event for event, _, _ in self._log.read(query))
        events = list(held)  # before the fold uses the same connection
        told = self._folding.fold.told(query)
        try:
            for (state, refused), event in zip(told, events, strict=False):
                if self.shown.has(event):
                    yield self._entry(event, state, refused=refused)
                self._state, self._time = state, event.time
                if self.shown.ended:
                    return
        except MisfitError as error:
            raise folding.named(self._log, self._folding, error) from error
        held.end()

    def _entry(self, event: Event, state: str, *, refused: bool) -> Entry:
        differences = self._log.store.facts().differences(self._state, state) if state != self._state else ()
        changes = [Change(readable(path), old, new, event.position, event.type) for path, old, new in differences]
        return Entry(event, between(self._time, event.time), changes, self._state, state, refused)

    def close(self) -> None:
        """Drop the fold."""
        self._folding.fold.close()


def between(earlier: str | None, later: str) -> float | None:
    """The seconds between two times of the log; below 0 if they are out of order, None without an earlier one."""
    if earlier is None:
        return None
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()
