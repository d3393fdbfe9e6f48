"""The contract of a store, edge case by edge case; `tests/store/test_contract.py` holds every store to it.

Nothing above this line may assume that positions are dense, that a store is local, or that it runs SQL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from esctl.events.event import Event, Expect, Head, NewEvent, Receipt, SealedEvent
from esctl.events.query import Query, Upcasting

if TYPE_CHECKING:
    from esctl.events.event import Form
    from esctl.model.compiled import Version
    from esctl.model.operations import Program
    from esctl.store.segments import Facts, Frame, Line, Packed, Segment

Original = tuple[int, str, int, str, str, str]
"""The event that has an id: position, stream, version, type, data, meta."""

State = tuple[int, int, str, str, str]
"""What a stream's events add up to: version, position and time of the last of them, the latest of their times (empty
where there is none), and the state (JSON text).
"""

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


class Snapshot(NamedTuple):
    """A saved state: of which stream, folded by which aggregate (empty: the merge of all payloads), up to which version
    and position; the time of its last event and the latest of all it holds; fingerprints of fold and upcasts; the
    chain's hash of its last event; the state (JSON text), the hash of all that, and when it was taken.
    """

    stream: str
    aggregate: str
    version: int
    position: int
    time: str
    latest: str
    fold: str
    upcasts: str
    anchor: bytes
    state: str
    hash: bytes
    taken: str

    @property
    def values(self) -> State:
        """What a fold can begin at."""
        return self.version, self.position, self.time, self.latest, self.state


class Refused(Exception):  # noqa: N818 - told as a refusal by whoever knows the rules
    """A state does not accept an event: its position and type, the state (JSON text), whether the rule says NULL."""

    def __init__(self, position: int, type_: str, state: str, *, unsure: bool) -> None:
        super().__init__(position)
        self.position, self.type, self.state, self.unsure = position, type_, state, unsure


class Fold(Protocol):
    """One aggregate's states, one a stream, held while a command runs. Errors of single events are MisfitErrors."""

    def begin(self, stream: str, state: State | None = None) -> None:
        """Have the fold of a stream that the store knows begin at a state, or before its first event."""

    def begin_all(self, streams: Sequence[str]) -> None:
        """Have the folds of many streams begin before their first events."""

    def size(self) -> int:
        """How many bytes the states take, about."""

    def survive(self) -> bool:
        """After a transaction that was rolled back: whether the fold is still there, which then has no states."""

    def feed(self, query: Query) -> Iterator[int]:
        """Fold the events of a query over one stream that has begun; numbers of events, for progress."""

    def each(self, query: Query, where: str | None = None) -> Iterator[tuple[int, int, str, str]]:
        """The same; version, position, time and state (JSON text) after each event where a condition on these holds."""

    def turned(self, query: Query, paths: Mapping[str, str | None]) -> dict[str, tuple[int, str]]:
        """The same; for JSON paths and the values (JSON text) that they end with: position and type of the event after
        which each kept its value. A path that has it from the beginning is left out.
        """

    def feed_all(self, query: Query, *, doubt: bool = False) -> list[tuple[int, str]]:
        """Fold what every stream that has begun has after its state, up to the position and time of a query.

        With `doubt`: position and type of each event that its stream's state does not accept.
        """

    def judge(self, query: Query, streams: str) -> None:
        """Fold the events of a query in streams that match a GLOB and have begun; ask of each whether it is accepted.

        Raises Refused at the first that is not.
        """

    def state(self, stream: str) -> tuple[State, int]:
        """The state of a stream that has begun, and how many events were fed to it since."""

    def states(self, where: str | None = None) -> Iterator[tuple[str, int, int, str, str]]:
        """Stream, version, position, time and state (JSON text) of all that have begun and meet a condition on these,
        in the order of names.
        """

    def clear(self) -> None:
        """Forget every state."""

    def close(self) -> None:
        """Let go of everything that the fold needed; it is of no use from then on."""


class Archive(Protocol):
    """The archived part of a log, as of when it was asked for. What is damaged raises VerificationError, what is out of
    reach SegmentError; both name the segment.
    """

    @property
    def segments(self) -> list[Segment]:
        """The segments, in order."""

    def frames(self, segment: Segment) -> list[Frame]:
        """The frames of a segment, in order."""

    def place(self, segment: Segment) -> Path | None:
        """Where a segment's file lies; None where it is in the log's own."""

    def packed(self, frame: Frame, segment: Segment) -> bytes:
        """The bytes of a frame as they are, unchecked."""

    def salts(self, frame: Frame, segment: Segment) -> bytes:
        """The salts of a frame's events, 16 bytes each; zeros for an erased one."""

    def after(self, frame: Frame, segment: Segment) -> bytes:
        """The chain's hash that is written down for the end of a frame."""

    def digests(self, low: int, high: int) -> dict[int, bytes]:
        """The digests of erased payloads between two positions."""

    def told(self, segment: Segment) -> tuple[set[tuple[object, ...]], set[tuple[object, ...]]]:
        """What is written down of a segment, by stream and by type, as `Facts` tells it."""

    def missing_ids(self, lines: Sequence[Line]) -> bool:
        """Whether one of these events would not be found by its id."""


class Archiving(Protocol):
    """Changes to the archive, each within an open transaction."""

    def pend(self, frames: Iterable[Packed]) -> None:
        """Keep frames in the log's file, for a segment that is to be; no reader sees them. Raises ConflictError where
        their events are archived already.
        """

    def drop_pending(self) -> None:
        """Let go of frames that were kept for a segment that did not come to be."""

    def settle(self, segment: Segment, frames: Sequence[Frame], facts: Facts) -> None:
        """Have a segment hold its events, and no reader look for them in the hot part any more.

        Raises ConflictError where these, or the frames that were kept, are not what the segment was made of.
        """

    def left(self) -> tuple[list[tuple[int, int]], int]:
        """Positions of which rows are left in the hot part though a segment holds them; and how many rows remain there
        without these.
        """

    def let_go(self, first: int, last: int) -> None:
        """Let go of such rows between two positions."""

    def let_go_at_once(self, transaction: Callable[[], AbstractContextManager[None]]) -> None:
        """Let go of all of them, in a transaction of its own: quick where few rows remain, which are held in memory
        meanwhile.
        """

    def bring_back(self, segment: Segment, ids: Iterable[str]) -> None:
        """Have the hot part hold a segment's events, with these ids, and the archive hold them no more."""

    def cut(self, segment: Segment) -> None:
        """Let go of a segment whose events are to be no more."""

    def place(self, segment: Segment, frames: Iterable[Packed], facts: Facts | None = None) -> None:
        """Have a segment lie where it now says; with `facts`, hold what it now does."""

    def leave(self, path: str) -> None:
        """Note that a file outside is to be removed once this is committed."""

    def leftovers(self) -> list[str]:
        """Files that are to be removed."""

    def removed(self, path: str) -> None:
        """A file is gone."""

    def erase(self, positions: Sequence[int], digests: Sequence[bytes], event: int) -> int:
        """Note that payloads are gone, the digests that stand for them, and which event says so; take away those in the
        hot part, and say how many these were.
        """

    def note_erased(self, positions: Sequence[int], event: int) -> None:
        """Have another event say that payloads are gone."""

    def drop_snapshots(self, stream: str) -> None:
        """Let go of the snapshots of a stream."""


class Projections(Protocol):
    """Read models in the log's own file; all that changes something does so within an open transaction."""

    def versions(self, *, inline: bool = False) -> list[Version]:
        """Every version, by name, the live one first; with `inline`, only those that appends keep."""

    def version(self, number: int) -> Version | None:
        """One version as it is now; None where it is no more."""

    def add(self, version: Version, said: str) -> None:
        """Keep a new version, which gets its number, and make its tables; `said`: its compiled form as JSON.

        Raises ConflictError where a table of such a name is there.
        """

    def save(self, version: Version) -> None:
        """Keep what is known of a version by now."""

    def let_go(self, version: Version, *, keep: bool = False) -> None:
        """Drop a version and its tables; with `keep`, remember that it was dropped."""

    def switch(self, version: Version) -> None:
        """A version that was building is live from here on, and the one that was, is previous; readers see no gap."""

    def feed(self, version: Version, query: Query, *, note: bool = False) -> None:
        """Have the handlers of a version take the events of a query, in order.

        Raises HandlerFailed; the transaction then has to be left by raising. With `note`, it names the event.
        """

    def attempt(self, version: Version, query: Query) -> None:
        """The same for what may fail without harm: HandlerFailed then says whether it is undone."""

    def count(self, version: Version) -> int:
        """How many rows a version's tables have."""

    def size(self, version: Version) -> int:
        """How many bytes of the file a version's tables and indexes take."""

    def lost(self, version: Version) -> list[str]:
        """The tables of a version that are not there."""

    def own_after(self, position: int) -> int:
        """How many events after a position are the log's own, which no projection sees."""

    def placed(self, version: Version) -> AbstractContextManager[None]:
        """A block in which a version's tables have the names that the model gives them."""

    def scratch(self, version: Version, base: Version | None, most: int) -> int:
        """Make a version's tables as temporary ones, with the rows of `base` where these hold nothing beyond the
        position `most`; the position up to which they do.
        """

    def put_aside(self, version: Version) -> int:
        """Keep the rows of a version as what was before: those that it has in the log, or those of its temporary
        tables, which go. The position up to which the log's hold events.
        """

    def columns(self, table: str, *, stored: bool = False) -> list[str]:
        """The names of a table's columns, in order; `stored`: without those that are computed."""

    def key(self, table: str) -> list[str]:
        """The columns of a table's primary key, in its order; none where it has none."""

    def select(self, sql: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> Iterator[tuple[Any, ...]]:
        """Rows of a statement of ours over the tables. Raises HandlerFailed for what does not fit into them."""


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

    def append(
        self, events: Sequence[NewEvent], run: RunExpectation | None = None, recorded: str | None = None
    ) -> list[Receipt]:
        """Store events in the order given, within a transaction; a receipt for each.

        * An id that is in the log (or earlier in the batch) with the same stream, type, data and meta is a duplicate:
          nothing is stored, and what the event expects is not asked, since it may have moved because of the event
          itself. With other content it raises ConflictError. Time and schema do not count: a retry may stamp anew.
        * Otherwise `expect` (or, where it is None, what the run still wants) is compared with the stream's version
          after the events before it in the batch; a mismatch raises ConflictError with `stream`, `expected`, `actual`.
        * Every error names the event by `index`, its place in `events`. The transaction then has to be left by raising.
        * `recorded` is one moment for a transaction and never earlier than the head's; given, it is that of a log that
          is copied.
        * An empty batch is fine.
        """

    def stamp(self, newest: Mapping[str, int]) -> None:
        """From here on an event that is appended with schema 0 gets its type's version, or 1."""

    def archive(self) -> Archive | None:
        """The archived part; None where there never was one."""

    def archiving(self) -> Archiving:
        """Changes to the archive."""

    def projections(self) -> Projections:
        """Read models."""

    def kept(self, frame: Frame) -> bytes:
        """The bytes of a frame that was kept for a segment that is to be."""

    def sealed_lines(self, low: int, high: int) -> tuple[int, bytes, bytes, bytes]:
        """How many events of the hot part stand between two positions; their lines as they are stored, their salts
        (zeros for an erased one) and their hashes, each one after the other.
        """

    def largest(self) -> int:
        """No event of the log has a larger payload, in bytes."""

    def erasures(self) -> Iterator[tuple[int, bytes, int]]:
        """Position, digest and event of every erased payload."""

    def model(self) -> int:
        """The position of the event that holds the model; 0: there is none."""

    def model_event(self) -> Iterator[Event]:
        """The event that holds the model, for its time, data and meta; quick even where it is archived."""

    def hold_model(self, position: int) -> None:
        """Within a transaction: the model is what the event at a position says."""

    def matching(self, pattern: str) -> Iterator[tuple[str, int]]:
        """Streams whose names match a GLOB and their versions, in the order of names."""

    def schemas(self) -> list[tuple[str, int, int]]:
        """Type, schema version and number of the events that are stored so; not of the log's own."""

    def evaluated(self, expression: str, event: Event) -> str:
        """What an expression over `new` says of an event."""

    def differences(self, before: str, after: str) -> list[tuple[str, str | None, str | None]]:
        """Where two JSON texts differ: path (`$.a[0]`), the value before and after (JSON text; None: not there)."""

    def fold(self, program: Program) -> Fold:
        """A fold that has nothing in it yet."""

    def snapshots(self, stream: str | None = None, aggregate: str | None = None) -> Iterator[tuple[Any, ...]]:
        """The values of a Snapshot each, by stream and aggregate, newest first; as they are kept, unchecked."""

    def has_snapshots(self, aggregate: str) -> bool:
        """Whether any stream has a snapshot of an aggregate."""

    def save_snapshot(self, snapshot: Snapshot) -> None:
        """Within a transaction: keep a snapshot; one of the same stream, aggregate and version gives way."""

    def drop_snapshot(self, stream: str, aggregate: str, version: int) -> None:
        """Within a transaction: let go of a snapshot."""

    def version_until(self, stream: str, position: int) -> int:
        """The version of a stream's newest event up to a position; 0 where it has none."""

    def event_at(self, stream: str, version: int) -> tuple[int, bytes] | None:
        """Position and hash of a stream's event; None where it has none of that version."""

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

    def question(
        self, sql: str, upcasting: Upcasting, states: Callable[[], Iterator[tuple[object, ...]]] | None = None
    ) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
        """The columns and rows of a SELECT over the tables, the view `log`, which has events upcast, and the table
        `states`, whose rows are given (stream, aggregate, version, position, time, state); raises UsageError for any
        other SQL. All of one state of the file.
        """

    def check(self, *, full: bool) -> Iterator[Finding]:
        """What the store can check without the chain: its medium, contiguity, versions, heads; `full`: every text."""

    def limit(self, seconds: float) -> None:
        """For a process that does nothing else: stop a statement that a model had a part in after so many seconds, or
        where it needs too much memory: HandlerError.
        """

    def copy_to(self, empty: Path) -> None:
        """Copy a consistent state into an empty file while others read and write."""

    def cut(self, position: int) -> None:
        """Within a transaction, on a copy that nobody else knows: have the log end at a position."""

    def compact(self, *, full: bool = False) -> tuple[int, int, bool]:
        """Give free space back; the size before and after in bytes, and whether the file could shrink at once.

        `full`: write everything anew, so that nothing is left of what was removed.
        """

    def trace(self, tell: Callable[[str], None]) -> None:
        """Tell every statement from here on, before it runs."""

    def close(self) -> None:
        """Let go of everything; leaves no file beside the log. May be called twice."""
