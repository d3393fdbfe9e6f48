"""Append to one SQLite file: transactions, and the hot loop that numbers, chains and inserts events."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import apsw

from esctl.errors import ConflictError
from esctl.events import chain, system
from esctl.events.event import Expect, Head, NewEvent, Prepared, Receipt, check_expected, now
from esctl.store import format as storage
from esctl.store import reads
from esctl.store.errors import Translated, damaged
from esctl.store.noted import Noted
from esctl.store.originals import Hot, Original, conflict, differing, originals
from esctl.store.windows import NOT_ARCHIVED, Reading

TYPE_CHECKING = False  # importing typing alone would take a tenth of a cold start
if TYPE_CHECKING:
    from typing import Protocol

    from esctl.store.opening import OpenFile

    Kept = Callable[[ConflictError], None]  # gets the conflict of each id whose first event is kept

    class Expectations(Protocol):
        """What a run of appends expects of each stream that it writes; see `esctl.append.expectations`."""

        def wanted(self, stream: str) -> Expect | None:
            """What is still expected of a stream; None after it was checked."""

        def met(self, stream: str) -> None:
            """The expectation was met; from now on the run itself changes the stream."""

        def seen(self, stream: str, version: int) -> None:
            """An event of the run is a duplicate with this version."""


ATTEMPT_MS = 50  # one attempt to take the lock
MAX_CATEGORIES = 1000  # of streams, of which new ones are noted
MAX_CACHED_STREAMS = 65_536  # about 200 bytes each

HEAD = "select position, hash, recorded from head"
NEWEST = """select max(ifnull((select max(position) from events), 0), ifnull((select max(last) from segments), 0))"""
_INSERT = "insert into events values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_LAST = """
select position, hash, recorded from (
  select * from (select position, hash, recorded from events order by position desc limit 1)
  union all select * from (select last, after, last_recorded from segments order by last desc limit 1)
) order by position desc limit 1"""
_CATEGORY_EXISTS = """
select exists(select 1 from streams where name = ?1)
    or exists(select 1 from streams where name >= ?1 || '-' and name < ?1 || '.')"""
_MODELS = """
select e.position, json_array(e.time, e.data, e.meta) from streams s cross join {events} e on e.stream_id = s.stream_id
cross join types t on t.type_id = e.type_id where s.name = ?1 and t.name = ?2"""


class Appender:
    """The writing half of a store, on its connection."""

    def __init__(self, reading: Reading, timeout: float, file: OpenFile | None) -> None:
        self._reading = reading
        self._connection, self._execute = reading.connection, reading.connection.execute
        self.path, self.timeout, self._file = reading.path, timeout, file
        self._archived = False  # whether ids may be in the archive, outside the hot table's index
        self.head: Head | None = None  # set within a transaction; _start is its value at the beginning
        self.newest: Mapping[str, int] = {}  # the schema version for events without one, by type
        self._start: Head | None = None
        self._streams: dict[str, list[int]] = {}  # name -> [stream_id, version], as of _seen_version
        self._types: dict[str, int] = {}
        self._seen_version = -1
        self._expect_duplicates = False
        self._asks = True  # SQLite checks foreign keys
        self._new_categories: list[str] = []  # of the transaction, in the order of their first events
        self._new_types: list[str] = []
        self._categories: set[str] = set()  # known to exist
        self._recorded = ""
        self._block = 0  # the first that is not summarized
        self._noted = Noted()  # the events of the last batch, for summaries
        self._largest = 0  # bytes of the largest payload of the transaction
        self._quoting = False  # whether one of its names must be escaped in JSON

    def begin(self, waiting: Callable[[], None], interned: int | None = None) -> None:
        """Take the write lock, and read the head.

        With `interned`, the rows refer to numbers that the transaction itself looks up or creates, unless the log's
        model has changed from the one at this position. To ask for them again, row by row, takes a fifth of an append.
        """
        with Translated(self.path):
            self._ask(interned is None)
            self._take_lock(waiting)
            if interned is not None and self._execute("select model from head").get != interned:
                self._execute("rollback")
                self._ask(True)
                self._take_lock(waiting)
            if (seen := self._execute("pragma data_version").get) != self._seen_version:
                self._streams.clear()  # another process has written
                self._types.clear()
                self._categories.clear()
                self._seen_version = seen
            self.head = Head._make(self._execute(HEAD).get)
            self._archived = self._reading.known(self._execute("select archived from head").get)
            self._start, self._largest, self._quoting = self.head, 0, False
            self._block = self.head.position // storage.POSITIONS_PER_BLOCK
            self._new_categories, self._new_types = [], []
            self._recorded = max(now(), self.head.recorded)

    def _ask(self, asks: bool) -> None:
        """Have SQLite check foreign keys, or not. Outside of a transaction, and statements are prepared anew."""
        if asks != self._asks:
            self._execute(f"pragma foreign_keys = {asks:d}")
            self._asks = asks

    def _require_newest(self, position: int) -> None:
        """Raise VerificationError if the event of the head is not there: nothing may be appended after it."""
        if position != (newest := self._execute(NEWEST).get):
            raise damaged(self.path, f"its head is at position {position}, its newest event at {newest}")

    def _take_lock(self, waiting: Callable[[], None]) -> None:
        """BEGIN IMMEDIATE, repeated until the time is up. Short attempts let Python handle signals; and SQLite gives up
        at once, whatever its time-out, if waiting could not help the connection itself (WAL recovery).
        """
        deadline = time.monotonic() + self.timeout
        self._connection.set_busy_timeout(min(ATTEMPT_MS, int(self.timeout * 1000)))
        try:
            while True:
                try:
                    self._execute("begin immediate")
                except apsw.BusyError:
                    waiting()
                    if time.monotonic() >= deadline:
                        raise
                    time.sleep(0.001)
                else:
                    return
        finally:
            self._connection.set_busy_timeout(int(self.timeout * 1000))

    def end(self, *, commit: bool) -> None:
        """Commit durably, or roll back."""
        committed = False
        with Translated(self.path):
            try:
                if commit and self.head:
                    self._commit(self.head)
                    committed = True
            finally:
                self.head = None
                if not committed:  # after some errors SQLite has already rolled back
                    self._streams.clear()
                    self._types.clear()
                    self._categories.clear()
                    if self._connection.in_transaction:
                        self._execute("rollback")
                    if self._reading.archive is not None:  # what it read may be of this transaction
                        self._reading.archive.as_of(-1)

    def leave(self) -> None:
        """Before the connection is closed: if the file was renamed, move into it what is still in its WAL. SQLite then
        closes without a checkpoint, and would take that WAL for the one of the next file with the name. If there is
        such a file, and another process has written to it, the WAL is no longer ours.
        """
        file, self._file = self._file, None
        if file is None or (place := file.place()) == "here":
            return
        with Translated(self.path):
            if place == "gone" or self._execute("pragma data_version").get == self._seen_version:
                self._execute("pragma wal_checkpoint(truncate)").fetchall()

    def _commit(self, head: Head) -> None:
        if self._file is not None:
            self._file.check()
        if head is not self._start:
            self._execute(
                "update head set position = ?, hash = ?, recorded = ?,"
                " largest = max(largest, ?), quoting = max(quoting, ?)",
                (*head, self._largest, self._quoting),
            )
        self._execute("commit")

    def append(
        self,
        events: Sequence[NewEvent],
        run: Expectations | None = None,
        recorded: str | None = None,
        kept: Kept | None = None,
        more: Iterable[Prepared] = (),
    ) -> list[Receipt]:
        """See `Store.append`."""
        assert self.head is not None, "append belongs in a transaction"
        receipts: list[Receipt] = []
        with Translated(self.path):
            self._recorded = recorded or self._recorded
            for part in itertools.chain((Prepared(events),), more):
                if part.events:
                    if self.head is self._start:
                        self._require_newest(self.head.position)
                    receipts += self._append(_Batch(part, len(receipts), run, kept))
        return receipts

    def _append(self, batch: _Batch) -> list[Receipt]:
        """Append a part of a batch. Ids are assumed to be new; only if one is not, they are looked up."""
        assert self.head is not None
        start, ids = self.head, [event.id for event in batch.part.events]
        self._quoting = self._quoting or '"' in (joined := "".join(ids)) or "\\" in joined
        if not self._expect_duplicates and batch.run is None and not self._may_be_archived(ids):
            try:
                return self._insert(batch, None)
            except (apsw.ConstraintError, ConflictError):  # a duplicate may expect an earlier version
                self._undo(start)
                batch.receipts.clear()
        receipts = self._insert(batch, self._originals(ids))
        self._expect_duplicates = any(receipt.duplicate for receipt in receipts)
        return receipts

    def cut(self, position: int) -> None:
        """Within a transaction: end the log at a position."""
        from esctl.store import summaries  # noqa: PLC0415 - only a copy needs it

        assert self.head is not None, "it belongs in a transaction"
        for table in ("snapshots", "events", "erased"):
            self._execute(f"delete from {table} where position > ?", (position,))
        summaries.cut(self._connection, position)
        newest = self._execute(_LAST).get
        log_id, created = self._execute("select log_id, created from head").get
        self.head = Head._make(newest or (0, chain.genesis(log_id), created))
        self._block = self.head.position // storage.POSITIONS_PER_BLOCK
        self._recorded = max(now(), self.head.recorded)
        self._execute(
            "update head set model = ?, definitions = ?",
            self._model_of(self._reading.everywhere(_MODELS)),
        )
        self._streams.clear()

    def _model_of(self, sql: str) -> tuple[int, str | None]:
        """The position of the newest model, and its payload if that is archived."""
        newest = f"select * from ({sql}) order by position desc limit 1"
        position, text = self._execute(newest, (system.STREAM, system.MODEL_APPLIED)).get or (0, None)
        hot = f"select exists(select 1 from main.events as h where position = ? and {NOT_ARCHIVED})"
        is_hot = self._execute(hot, (position,)).get
        return position, None if is_hot else text

    def new_names(self) -> tuple[list[str], list[str]]:
        """The new categories of streams, and the new types, of the transaction since the last call."""
        new = self._new_categories, self._new_types
        self._new_categories, self._new_types = [], []
        return new

    def _undo(self, start: Head) -> None:
        """Delete what the open transaction inserted after `start` (a savepoint would copy every changed page)."""
        self._execute("delete from events where position > ?", (start.position,))
        self._streams.clear()
        self.head = start

    def _originals(self, ids: Sequence[str]) -> dict[str, Original]:
        """The events of the log with these ids, by id."""
        found = originals(Hot(self._reading), ids)
        archive = self._reading.archive if self._archived else None
        if archive is not None and (others := [id_ for id_ in ids if id_ not in found]):
            found |= originals(archive, others)
        return found

    def _may_be_archived(self, ids: Sequence[str]) -> bool:
        """Whether an event with one of these ids may be in the archive."""
        return self._archived and self._reading.archive is not None and bool(self._reading.archive.positions(ids))

    def _insert(self, batch: _Batch, known: dict[str, Original] | None) -> list[Receipt]:
        """Insert events that are not in `known`, and add them to it; None: assume that all are new.

        SQLite takes the rows one by one, so memory stays constant.
        """
        self._intern(batch.part.events)
        self._noted = Noted()
        self._connection.executemany(_INSERT, self._rows(batch, known))
        if self.head is not None and self.head.position // storage.POSITIONS_PER_BLOCK > self._block:
            from esctl.store import summaries  # noqa: PLC0415 - most cold appends do without

            self._block = summaries.extend(self._reading, self._block, self.head.position, self._noted)
        return batch.receipts

    def _rows(self, batch: _Batch, known: dict[str, Original] | None) -> Iterator[tuple[object, ...]]:
        """The rows of new events, chained; a receipt for each event of the batch.

        The hottest loop of the program: it uses local variables and avoids calls. For the formulas, see `chain`.
        """
        assert self.head is not None
        position, previous, _ = self.head
        note_stream, note_type, note_schema, note_size, note_time = self._noted.notes()
        recorded, streams, types, newest = self._recorded, self._streams, self._types, self.newest
        run, receipts, made, sha256 = batch.run, batch.receipts, Receipt._make, chain.sha256
        events, salts, digests, largest = batch.part
        largest, receive = max(largest, self._largest), receipts.append
        sealed = zip(events, salts or _salts(len(events)), digests or itertools.repeat(b""), strict=False)
        for (stream, type_, event_id, happened, claimed, data, meta, expect), salt, digest in sealed:
            entry = streams[stream]
            if known is not None and (original := known.get(event_id)):
                _, at, stream_id, version, type_id, old_data, old_meta = original
                if data == old_data and meta == old_meta and stream_id == entry[0] and type_id == types[type_]:
                    if run is not None:
                        run.seen(stream, version)
                    receive(made((at, stream, version, event_id, True)))
                else:
                    receive(self._compared(len(receipts), batch, original))
                continue
            if expect is not None or run is not None:
                self._check(batch.offset + len(receipts), stream, entry[1], expect, run)
            position += 1
            entry[1] = version = entry[1] + 1
            time_ = happened or recorded
            schema = claimed or newest.get(type_, 1)
            if digest:
                bytes_ = len(data if data.isascii() else data.encode()) + len(meta if meta.isascii() else meta.encode())
            else:
                data_bytes, meta_bytes = data.encode(), meta.encode()
                bytes_ = len(data_bytes) + len(meta_bytes)
                digest = sha256(b"%b%b\0%b" % (salt, data_bytes, meta_bytes)).digest()  # noqa: PLW2901 - where none is
            if bytes_ > largest:  # noqa: PLR1730 - a call would cost more
                largest = bytes_
            header = f"{position}\n{stream}\n{version}\n{event_id}\n{type_}\n{schema}\n{time_}\n{recorded}"
            previous = sha256(b"%b%b%b" % (previous, digest, header.encode())).digest()
            if known is not None:
                known[event_id] = Original(event_id, position, entry[0], version, types[type_], data, meta)
            receive(made((position, stream, version, event_id, False)))
            number, type_id = entry[0], types[type_]
            note_stream(number)
            note_type(type_id)
            note_schema(schema)
            note_size(bytes_)
            note_time(time_)
            yield (
                position, number, version, event_id, type_id, schema, time_, recorded, data, meta, salt, previous
            )  # fmt: skip
        self._largest = largest
        self._noted.positions = range(self.head.position + 1, position + 1)
        if position != self.head.position:
            self.head = Head(position, previous, recorded)

    @staticmethod
    def _check(index: int, stream: str, actual: int, expect: Expect | None, run: Expectations | None) -> None:
        wanted = run.wanted(stream) if run is not None and expect is None else expect
        if wanted is not None:
            try:
                check_expected(wanted, stream, actual)
            except ConflictError as error:
                error.details["index"] = index
                raise
        if run is not None:
            run.met(stream)

    def _compared(self, index: int, batch: _Batch, original: Original) -> Receipt:
        """Compare the event at `index` with the one that has its id: a duplicate, or a conflict. Its receipt."""
        new, version = batch.part.events[index], original.version
        stream = new.stream
        if differs := differing(new, self._streams[stream][0], self._types[new.type], original):
            stored = self._start is None or original.position <= self._start.position
            error = conflict(original, differs, stored=stored)
            error.details["index"] = batch.offset + index
            if batch.kept is None:
                raise error
            batch.kept(error)
            stream = self._execute("select name from streams where stream_id = ?", (original.stream_id,)).get
        elif batch.run is not None:
            batch.run.seen(stream, version)
        return Receipt(original.position, stream, version, new.id, True)

    def _intern(self, events: Sequence[NewEvent]) -> None:
        """Look up or create the number of every stream and type of a batch."""
        streams, types = self._streams, self._types
        if len(streams) > MAX_CACHED_STREAMS:
            streams.clear()
        missing = tuple({event.stream for event in events if event.stream not in streams})
        if missing:
            found = self._execute(
                f"select s.name, s.stream_id, {reads.VERSION}"
                " from carray(?) c cross join streams s on s.name = c.value",
                (apsw.carray(missing),),
            )
            most = 0 if self.head is None else self.head.position
            for name, stream_id, version in found:
                if version > most:
                    raise damaged(self.path, f"{name} is at version {version}, the log at position {most}")
                streams[name] = [stream_id, version]
            if new := sorted(name for name in missing if name not in streams):
                self._note_categories(new, events)
                lowest, highest = self._execute(
                    "select min(ifnull((select min(stream_id) from streams), 0), 0),"
                    " max(ifnull((select max(stream_id) from streams), 0), 0)"
                ).get
                for name in new:
                    if name.startswith(system.PREFIX):
                        lowest -= 1
                    else:
                        highest += 1
                    streams[name] = [lowest if name.startswith(system.PREFIX) else highest, 0]
                self._connection.executemany(
                    "insert into streams (stream_id, name) values (?, ?)", [(streams[name][0], name) for name in new]
                )
        new_types = {event.type for event in events if event.type not in types}
        self._quoting = self._quoting or any('"' in name or "\\" in name for name in (*missing, *new_types))
        for name in self._in_order(new_types, (event.type for event in events)):
            self._execute("insert into types (name) values (?) on conflict do nothing", (name,))
            if self._connection.changes():
                self._new_types.append(name)
            types[name] = self._execute("select type_id from types where name = ?", (name,)).get

    def _note_categories(self, streams: Sequence[str], events: Sequence[NewEvent]) -> None:
        """Note the categories of new streams that are new as well. The categories of a log that has very many mean
        little, so the search ends there.
        """
        known, new = self._categories, set()
        for category in {name.partition("-")[0] for name in streams} - known:
            if len(known) >= MAX_CATEGORIES:
                break
            known.add(category)
            if category[:1] != system.PREFIX and not self._execute(_CATEGORY_EXISTS, (category,)).get:
                new.add(category)
        self._new_categories += self._in_order(new, (event.stream.partition("-")[0] for event in events))

    @staticmethod
    def _in_order(names: set[str], all_names: Iterable[str]) -> Iterable[str]:
        """The names in the order in which they first come in others."""
        return names if len(names) < 2 else [name for name in dict.fromkeys(all_names) if name in names]


def _salts(count: int) -> list[bytes]:
    """New salts."""
    size = chain.SALT_BYTES
    drawn = os.urandom(size * count)
    return [drawn[at : at + size] for at in range(0, size * count, size)]


class _Batch:
    """A part of the events that are appended together, and their receipts; `offset`: how many events are before it."""

    __slots__ = ("kept", "offset", "part", "receipts", "run")

    def __init__(self, part: Prepared, offset: int, run: Expectations | None, kept: Kept | None) -> None:
        self.part, self.offset, self.run, self.kept = part, offset, run, kept
        self.receipts: list[Receipt] = []
