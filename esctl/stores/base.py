"""The contract of a store, edge case by edge case; `tests/stores/test_contract.py` holds every store to it.

Nothing above this line may assume that positions are dense, that a store is local, or that it runs SQL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, Protocol

from esctl.events import Event, Expect, NewEvent
from esctl.query import Query

Form = Literal["line", "hash", "data"]
"""What a line says: the event, the event with its salt and hash, or its payload alone."""


Head = tuple[int, bytes, str]
"""The newest event: its position (0: none), hash (32 bytes; of an empty log the genesis hash) and recorded time."""

Receipt = tuple[int, str, int, str, bool]
"""What became of an event: position, stream, version, id, duplicate. Of a duplicate: where the original stands."""

SealedEvent = tuple[Event, bytes, bytes]
"""A stored event with what the chain needs: its salt (16 bytes) and its hash (32 bytes)."""

Original = tuple[int, str, int, str, str, str]
"""The event that has an id: position, stream, version, type, data, meta."""

Finding = tuple[str, int | None, str]
"""Something that is not as it should be: which check, the position (None: no single event), what was found."""


class RunExpectation(Protocol):
    """What a run of appends expects of each stream that it touches; see `esctl.log.RunExpectation`."""

    def wanted(self, stream: str) -> Expect | None:
        """What is still expected of a stream; None once it was checked."""

    def met(self, stream: str) -> None:
        """The stream was as expected, and from here on it is the run that writes it."""

    def seen(self, stream: str, version: int) -> None:
        """An event of the run turned out to be a duplicate that stands at this version."""


class Store(Protocol):
    """Events in one total order, each in one stream; appended, never changed.

    Positions grow strictly in commit order and are never reused. Versions of a stream are 1, 2, 3 … without gaps.
    """

    log_id: str

    def head(self) -> Head:
        """The newest acknowledged event. While this store is in a transaction: the newest in it."""

    def transaction(
        self, *, keep: bool = True, waiting: Callable[[], None] = lambda: None
    ) -> AbstractContextManager[None]:
        """All appends within commit as one, durably, when the block ends; none of them if it raises, or unless `keep`.

        Waits for another writer up to the store's time limit, then raises UnavailableError; meanwhile `waiting` is
        called again and again, and may raise. Not re-entrant.
        """

    def append(self, events: Sequence[NewEvent], run: RunExpectation | None = None) -> list[Receipt]:
        """Store events in the order given, within a transaction; a receipt for each.

        * An id that is in the log (or earlier in the batch) with the same stream, type, data and meta is a duplicate:
          nothing is stored, and what the event expects is not asked, since it may have moved because of the event
          itself. With other content it raises ConflictError. Time and schema do not count: a retry may stamp anew.
        * Otherwise `expect` (or, where it is None, what the run still wants) is compared with the stream's version
          after the events before it in the batch; a mismatch raises ConflictError with `stream`, `expected`, `actual`.
        * Every error names the event by `index`, its place in `events`. The transaction then has to be left by raising.
        * `recorded` is one moment for a transaction and never earlier than the head's.
        * An empty batch is fine.
        """

    def stream_version(self, stream: str) -> int:
        """The version of the newest event of a stream; 0 where it has none."""

    def position_at(self, recorded: str) -> int:
        """The position of the newest event that was recorded at or before a time; 0 where there is none."""

    def read(self, query: Query) -> Iterator[SealedEvent]:
        """The events of a query. Ends at the head as it stood when the first event was read, however long it takes."""

    def lines(self, query: Query, form: Form = "line") -> Iterator[bytes]:
        """The same events as lines of JSON, each ended by LF, in chunks of whole lines. What is read equals `read`."""

    def is_json(self, text: str) -> bool:
        """Whether a text is strict JSON (RFC 8259) of at most 1,000 levels."""

    def find(self, event_id: str) -> int:
        """The position of the event that has an id; 0 where there is none."""

    def names(self, kind: Literal["stream", "type"], prefix: str = "") -> Iterator[str]:
        """Every stream or type that the log knows and whose name begins so, in order; not the log's own streams."""

    def streams(self, pattern: str | None, *, system: bool) -> Iterator[dict[str, Any]]:
        """A record a stream whose name matches the GLOB pattern, in the order of names: stream, events,
        first_position, last_position, first_time, last_time, bytes (of data and meta).
        """

    def types(self, *, system: bool) -> Iterator[dict[str, Any]]:
        """A record a type, in the order of names: as `streams`, and `schemas`, the versions stored with commas."""

    def info(self) -> dict[str, Any]:
        """The facts of the log: log_id, created, events, streams, types, first and last times, sizes, head."""

    def over_time(self, buckets: int, group: Literal["stream", "type"]) -> Iterator[tuple[int, str, int]]:
        """(bucket, name, events): the time from the first event to the last in so many equal parts, 0, 1 …"""

    def changed(self) -> bool:
        """Whether somebody else has appended since the last call; cheap enough to be asked all the time."""

    def question(self, sql: str) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
        """The columns and rows of a SELECT over the view `log` and the tables; raises UsageError for any other SQL."""

    def check(self, *, full: bool) -> Iterator[Finding]:
        """What the store can check without the chain: its medium, contiguity, versions, heads; `full`: every text."""

    def backup(self, target: Path) -> None:
        """Copy a consistent state into a new file while others read and write. `target` must not exist."""

    def trace(self, tell: Callable[[str], None]) -> None:
        """Tell every statement from here on, before it runs."""

    def close(self) -> None:
        """Let go of everything; leaves no file beside the log. May be called twice."""
