"""The embedded store: one SQLite file, through the SQLite that apsw brings."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

import apsw

from esctl import chain
from esctl.errors import (
    ConflictError,
    EsctlError,
    StorageVersionError,
    UnavailableError,
    UsageError,
    VerificationError,
)
from esctl.events import SYSTEM_PREFIX, Expect, NewEvent, check_expected, now
from esctl.query import Query
from esctl.stores import sqlite_facts as facts
from esctl.stores import sqlite_reads as reads
from esctl.stores.format import APPLICATION_ID, STORAGE_VERSION, check_there

TYPE_CHECKING = False  # importing typing alone would take a tenth of a cold start
if TYPE_CHECKING:
    from typing import Any, Literal

    from esctl.stores.base import Finding, Form, Head, Original, Receipt, RunExpectation, SealedEvent

SETTINGS = """
pragma synchronous = full;
pragma foreign_keys = on;
pragma secure_delete = on;
pragma trusted_schema = off;
pragma cell_size_check = on;
pragma temp_store = memory;
pragma mmap_size = 0;
"""
WAL_BYTES = 64 * 1024 * 1024  # what the WAL file is cut back to after a checkpoint
BULK_CACHE_KIB = 24 * 1024  # ids come in random order: the more of their index is at hand, the faster
BULK_CHECKPOINT_PAGES = 4000  # a page that many batches touch is copied once; measured 1.15 times the rate of 1000
PATIENCE_MS = 50
OPCODES_A_BREATH = 1_000_000
MAX_CACHED_STREAMS = 65_536  # about 200 bytes each

_HEAD = "select position, hash, recorded from head"
_INSERT = "insert into events values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_ORIGINALS = """
select e.id, e.position, s.name, e.version, t.name, e.data, e.meta
from carray(?) c cross join events e on e.id = c.value
join streams s on s.stream_id = e.stream_id join types t on t.type_id = e.type_id"""


class Translated:
    """A block in which SQLite's errors become esctl's; `path` is for the message."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(error, apsw.Error):
            raise translate(error, self.path) from error


_TRANSLATIONS: tuple[tuple[tuple[type[apsw.Error], ...], type[EsctlError], str, str], ...] = (
    (
        (apsw.BusyError, apsw.LockedError),
        UnavailableError,
        "{path} is busy: another process writes to it",
        "try again, or wait longer with --timeout 60",
    ),
    ((apsw.NotADBError,), StorageVersionError, "{path} is not a log", "name the log with --log"),
    ((apsw.CorruptError,), VerificationError, "{path} is damaged", "esctl verify --log {path}"),
    ((apsw.FullError,), UnavailableError, "no room left for {path}", "free some space and run the same again"),
    ((apsw.ReadOnlyError,), UnavailableError, "{path} is read-only", "make the file and its folder writable"),
    (
        (apsw.CantOpenError, apsw.IOError, apsw.PermissionsError, apsw.AuthError),
        UnavailableError,
        "cannot use {path}",
        "check its folder, its permissions and the free space",
    ),
)

_DAMAGE = ("no such table", "no such column", "unsupported file format", "malformed")  # a log that has lost its shape


def translate(error: apsw.Error, path: Path) -> EsctlError:
    """The esctl error for one of SQLite's."""
    why = str(error) if str(error) != "not an error" else f"SQLite reports {type(error).__name__}"
    if isinstance(error, apsw.SQLError) and any(sign in why for sign in _DAMAGE):
        return VerificationError(f"{path} is damaged", why=why, fix="restore a backup")
    for kinds, translated, what, fix in _TRANSLATIONS:
        if isinstance(error, kinds):
            return translated(what.format(path=path), why=why, fix=fix.format(path=path))
    return EsctlError(f"SQLite failed on {path}", why=f"{type(error).__name__}: {why}")


class SqliteStore:
    """See `esctl.stores.base.Store`. Opened for reading it refuses every write."""

    def __init__(self, path: Path, *, write: bool = False, bulk: bool = False, timeout: float = 5.0) -> None:
        """Open the log at `path`; `bulk` tunes for many events, `timeout` (seconds) bounds the wait for a lock.

        Raises NotFoundError, StorageVersionError or UnavailableError.
        """
        self.path = path
        self.timeout = timeout
        self._streams: dict[str, list[int]] = {}  # name -> [stream_id, version]; as of _seen_version
        self._types: dict[str, int] = {}
        self._seen_version = -1
        self._expect_duplicates = False
        self._recorded = ""
        self._head: Head | None = None  # set within a transaction; _start is what it began from
        self._start: Head | None = None
        self._largest = 0  # bytes of the largest payload of the transaction
        self._quoting = False  # whether one of its names has to be escaped in JSON
        self._connection = self._open(write)
        with Translated(path):
            try:
                self._execute = self._connection.execute
                self._settle(write, bulk)
            except (TypeError, ValueError) as error:  # a head that does not say what it says in every log
                self._connection.close()
                raise VerificationError(f"{path} is damaged", why=str(error), fix="restore a backup") from error
            except BaseException:
                self._connection.close()
                raise

    def _open(self, write: bool) -> apsw.Connection:
        check_there(self.path)
        uri = self.path.absolute().as_uri()  # a path may hold bytes that are no text
        writable = os.access(self.path, os.W_OK) and os.access(self.path.parent, os.W_OK)
        if write and not writable:  # known before SQLite makes files beside it
            raise UnavailableError(f"{self.path} is read-only", fix="make the file and its folder writable")
        with Translated(self.path):
            if not write and not writable and not Path(f"{self.path}-wal").exists():
                # Nobody here could write it, so no WAL is needed; opened in any other way SQLite would want one.
                flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
                return apsw.Connection(f"{uri}?immutable=1", flags=flags)
            # Readers open for writing too (and then forbid it): only such a connection removes its -wal and -shm.
            return apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_URI)

    def _settle(self, write: bool, bulk: bool) -> None:
        """Settings first, then what the file says of itself."""
        # A statement may run for minutes in C; back in Python now and then, it hears Ctrl-C.
        self._connection.set_progress_handler(lambda: False, OPCODES_A_BREATH)
        self._connection.set_busy_timeout(int(self.timeout * 1000))
        self._run(SETTINGS)
        application, version = (self._execute(f"pragma {name}").get for name in ("application_id", "user_version"))
        if application != APPLICATION_ID:
            raise StorageVersionError(
                f"{self.path} is not a log", why="it is some other SQLite database", fix="name the log with --log"
            )
        if version > STORAGE_VERSION:
            raise StorageVersionError(
                f"{self.path} is newer than this esctl",
                why=f"its storage version is {version}, this esctl knows {STORAGE_VERSION}",
                fix="pip install --upgrade esctl",
            )
        if version < STORAGE_VERSION:
            raise StorageVersionError(
                f"{self.path} is older than this esctl",
                why=f"its storage version is {version}, this esctl needs {STORAGE_VERSION}",
                fix=f"esctl migrate --log {self.path}",
            )
        if write:
            if self._execute("pragma journal_mode").get != "wal":  # a network file system
                self._run("pragma journal_mode = truncate; pragma synchronous = extra")
            self._run(f"pragma journal_size_limit = {WAL_BYTES}")
        else:
            self._run("pragma query_only = on")
        if bulk:
            self._run(f"pragma cache_size = -{BULK_CACHE_KIB}; pragma wal_autocheckpoint = {BULK_CHECKPOINT_PAGES}")
        self.log_id = self._execute("select log_id from head").get
        if not isinstance(self.log_id, str):
            raise TypeError("it has not one head")

    def _run(self, statements: str) -> None:
        self._execute(statements).fetchall()  # apsw goes on to the next statement only when the rows are taken

    # Writing

    def transaction(self, *, keep: bool = True, waiting: Callable[[], None] = lambda: None) -> Transaction:
        """See Store."""
        return Transaction(self, keep=keep, waiting=waiting)

    def _begin(self, waiting: Callable[[], None]) -> None:
        with Translated(self.path):
            self._take_lock(waiting)
            if (seen := self._execute("pragma data_version").get) != self._seen_version:
                self._streams.clear()  # somebody else wrote
                self._types.clear()
                self._seen_version = seen
            self._head = self._execute(_HEAD).get
            assert self._head is not None
            self._start, self._largest, self._quoting = self._head, 0, False
            self._recorded = max(now(), self._head[2])

    def _take_lock(self, waiting: Callable[[], None]) -> None:
        """BEGIN IMMEDIATE, tried again until the time is up.

        In short tries, so that signals are heard; and SQLite itself gives up at once, whatever its time-out, where
        waiting could not help *it* (WAL recovery).
        """
        deadline = time.monotonic() + self.timeout
        self._connection.set_busy_timeout(min(PATIENCE_MS, int(self.timeout * 1000)))
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

    def _end(self, *, commit: bool) -> None:
        committed = False
        with Translated(self.path):
            try:
                if commit and self._head:
                    self._commit(self._head)
                    committed = True
            finally:
                self._head = None
                if not committed:  # whoever rolled back: after some errors SQLite has done it by itself
                    self._streams.clear()
                    self._types.clear()
                    if self._connection.in_transaction:
                        self._execute("rollback")

    def _commit(self, head: Head) -> None:
        if head is not self._start:
            self._execute(
                "update head set position = ?, hash = ?, recorded = ?,"
                " largest = max(largest, ?), quoting = max(quoting, ?)",
                (*head, self._largest, self._quoting),
            )
        self._execute("commit")

    def append(self, events: Sequence[NewEvent], run: RunExpectation | None = None) -> list[Receipt]:
        """See Store. The first attempt trusts that every id is new; only a batch that is not looks ids up."""
        assert self._head is not None, "append belongs in a transaction"
        with Translated(self.path):
            start = self._head
            if not self._expect_duplicates and run is None:
                try:
                    return self._insert(events, None, None)
                except (apsw.ConstraintError, ConflictError):  # an event that is a duplicate may expect what has passed
                    self._undo(start)
            known = self._originals([event[2] for event in events])
            receipts = self._insert(events, known, run)
            self._expect_duplicates = any(receipt[4] for receipt in receipts)
            return receipts

    def _undo(self, start: Head) -> None:
        """Take back what the open transaction inserted after `start` (a savepoint would copy every touched page)."""
        self._execute("delete from events where position > ?", (start[0],))
        self._streams.clear()
        self._head = start

    def _originals(self, ids: list[str]) -> dict[str, Original]:
        """Id -> (position, stream, version, type, data, meta) of those that the log has."""
        found = self._execute(_ORIGINALS, (apsw.carray(tuple(ids)),)) if ids else ()
        return {row[0]: row[1:] for row in found}

    def _insert(
        self,
        events: Sequence[NewEvent],
        known: dict[str, Original] | None,
        run: RunExpectation | None,
    ) -> list[Receipt]:
        """Insert what `known` does not have, adding to it; None: trust that all is new.

        SQLite pulls the rows one by one, so memory stays flat.
        """
        receipts: list[Receipt] = []
        self._intern(events)
        self._connection.executemany(_INSERT, self._rows(events, known, run, receipts))
        return receipts

    def _rows(
        self,
        events: Sequence[NewEvent],
        known: dict[str, Original] | None,
        run: RunExpectation | None,
        receipts: list[Receipt],
    ) -> Iterator[tuple[object, ...]]:
        """The rows of the events that are new, chained; what became of each goes to `receipts` as it is known.

        The hottest loop of the program: everything is a local, and nothing is called that need not be.
        """
        assert self._head is not None
        position, previous, _ = self._head
        largest, quoting = self._largest, self._quoting
        recorded, streams, types = self._recorded, self._streams, self._types
        digest_of, hash_of, header_of, size = chain.payload_digest, chain.event_hash, chain.header, chain.SALT_BYTES
        salts = os.urandom(size * len(events))
        for index, (stream, type_, event_id, happened, schema, data, meta, expect) in enumerate(events):
            if known is not None and (original := known.get(event_id)):
                self._duplicate(index, event_id, original, (stream, type_, data, meta), run)
                receipts.append((original[0], original[1], original[2], event_id, True))
                continue
            entry = streams[stream]
            if expect is not None or run is not None:
                self._check(index, stream, entry[1], expect, run)
            position += 1
            entry[1] = version = entry[1] + 1
            time_ = happened or recorded
            if '"' in event_id or "\\" in event_id:
                quoting = True
            data_bytes, meta_bytes = data.encode(), meta.encode()
            largest = max(largest, len(data_bytes) + len(meta_bytes))
            salt = salts[size * index : size * index + size]
            header = header_of(position, stream, version, event_id, type_, schema, time_, recorded)
            previous = hash_of(previous, digest_of(salt, data_bytes, meta_bytes), header)
            if known is not None:
                known[event_id] = (position, stream, version, type_, data, meta)
            receipts.append((position, stream, version, event_id, False))
            yield (
                position, entry[0], version, event_id, types[type_], schema, time_, recorded, data, meta, salt, previous
            )  # fmt: skip
        self._largest, self._quoting = largest, quoting
        if position != self._head[0]:
            self._head = (position, previous, recorded)

    @staticmethod
    def _check(index: int, stream: str, actual: int, expect: Expect | None, run: RunExpectation | None) -> None:
        wanted = run.wanted(stream) if run is not None and expect is None else expect
        if wanted is not None:
            try:
                check_expected(wanted, stream, actual)
            except ConflictError as error:
                error.details["index"] = index
                raise
        if run is not None:
            run.met(stream)

    @staticmethod
    def _duplicate(
        index: int,
        event_id: str,
        original: Original,
        content: tuple[str, str, str, str],
        run: RunExpectation | None,
    ) -> None:
        position, stream, version, *rest = original
        if (stream, *rest) != content:
            names = ("stream", "type", "data", "meta")
            differs = [n for n, old, new in zip(names, (stream, *rest), content, strict=True) if old != new]
            raise ConflictError(
                f"the id {event_id} is taken by the event at position {position}",
                why=f"that event has other content ({', '.join(differs)})",
                fix=f"esctl replay --since '#{position}' --limit 1   (shows it; a new event needs a new id)",
                index=index,
                id=event_id,
                position=position,
                differs=differs,
            )
        if run is not None:
            run.seen(stream, version)

    def _intern(self, events: Sequence[NewEvent]) -> None:
        """Have a number for every stream and type of a batch."""
        streams, types = self._streams, self._types
        if len(streams) > MAX_CACHED_STREAMS:
            streams.clear()
        missing = tuple({event[0] for event in events if event[0] not in streams})
        if missing:
            found = self._execute(
                f"select s.name, s.stream_id, {reads.VERSION}"
                " from carray(?) c cross join streams s on s.name = c.value",
                (apsw.carray(missing),),
            )
            for name, *numbers in found:
                streams[name] = numbers
            if new := sorted(name for name in missing if name not in streams):
                lowest, highest = self._execute(
                    "select ifnull(min(min(stream_id), 0), 0), ifnull(max(max(stream_id), 0), 0) from streams"
                ).get
                for name in new:
                    if name.startswith(SYSTEM_PREFIX):
                        lowest -= 1
                    else:
                        highest += 1
                    streams[name] = [lowest if name.startswith(SYSTEM_PREFIX) else highest, 0]
                self._connection.executemany(
                    "insert into streams values (?, ?)", [(streams[name][0], name) for name in new]
                )
        new_types = {event[1] for event in events if event[1] not in types}
        self._quoting = self._quoting or any('"' in name or "\\" in name for name in (*missing, *new_types))
        for name in new_types:
            self._execute("insert into types (name) values (?) on conflict do nothing", (name,))
            types[name] = self._execute("select type_id from types where name = ?", (name,)).get

    # Reading

    def head(self) -> Head:
        """See Store."""
        with Translated(self.path):
            return self._head or self._execute(_HEAD).get

    def _newest(self) -> int:
        """The position up to which there are events: the head's, but for a damaged head."""
        return min(self.head()[0], self._execute("select max(position) from events").get or 0)

    def stream_version(self, stream: str) -> int:
        """See Store."""
        with Translated(self.path):
            return self._execute(f"select {reads.VERSION} from streams s where name = ?", (stream,)).get or 0

    def position_at(self, recorded: str) -> int:
        """See Store. `recorded` never decreases, so a bisection by position finds it without an index."""
        with Translated(self.path):
            low, high = 0, self._newest()
            while low < high:
                middle = (low + high + 1) // 2
                moment = self._execute("select recorded from events where position = ?", (middle,)).get
                low, high = (middle, high) if moment <= recorded else (low, middle - 1)
            return low

    def read(self, query: Query) -> Iterator[SealedEvent]:
        """See Store."""
        with Translated(self.path), _Conditioned(query):
            for *columns, salt, hash_ in reads.rows(self._connection, self._bounded(query), reads.COLUMNS):
                yield tuple(columns), salt, hash_  # COLUMNS begins with those of an Event

    def lines(self, query: Query, form: Form = "line") -> Iterator[bytes]:
        """See Store."""
        with Translated(self.path), _Conditioned(query):
            yield from reads.chunks(self._connection, self._bounded(query), form)

    def _bounded(self, query: Query) -> reads.Bounded:
        """The query with names and times resolved to what the tables know, ending at the present head."""
        until = min(query.until, self._newest())
        if query.as_of is not None:
            until = min(until, self.position_at(query.as_of))
        return reads.resolve(self._connection, query, until)

    def is_json(self, text: str) -> bool:
        """See Store. SQLite's parser is at hand when no other is loaded yet."""
        with Translated(self.path):
            return "\0" not in text and bool(self._execute("select json_valid(?)", (text,)).get)

    def find(self, event_id: str) -> int:
        """See Store."""
        with Translated(self.path):
            return self._execute("select position from events where id = ?", (event_id,)).get or 0

    def names(self, kind: Literal["stream", "type"], prefix: str = "") -> Iterator[str]:
        """See Store."""
        own = "and stream_id > 0" if kind == "stream" else ""
        sql = f"select name from {kind}s where name >= ?1 and substr(name, 1, length(?1)) = ?1 {own} order by name"
        with Translated(self.path):
            for (name,) in self._execute(sql, (prefix,)):
                yield name

    def streams(self, pattern: str | None, *, system: bool) -> Iterator[dict[str, Any]]:
        """See Store."""
        with Translated(self.path):
            yield from facts.streams(self._connection, pattern, system=system)

    def types(self, *, system: bool) -> Iterator[dict[str, Any]]:
        """See Store."""
        with Translated(self.path):
            yield from facts.types(self._connection, system=system)

    def info(self) -> dict[str, Any]:
        """See Store."""
        with Translated(self.path):
            return facts.info(self._connection)

    def over_time(self, buckets: int, group: Literal["stream", "type"]) -> Iterator[tuple[int, str, int]]:
        """See Store."""
        with Translated(self.path):
            yield from facts.over_time(self._connection, buckets, group)

    def changed(self) -> bool:
        """See Store. SQLite keeps the counter in shared memory."""
        with Translated(self.path):
            before, self._seen_version = self._seen_version, self._execute("pragma data_version").get
            return before != self._seen_version

    def question(self, sql: str) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
        """See Store."""
        from esctl.sql import authorize_reading  # noqa: PLC0415 - only a question needs it

        self._connection.authorizer = authorize_reading  # from here on this connection answers questions only
        with Translated(self.path), _Asked():
            names, rows = facts.question(self._connection, sql)
        return names, self._answers(rows)

    def _answers(self, rows: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        with Translated(self.path), _Asked():
            yield from rows

    def check(self, *, full: bool) -> Iterator[Finding]:
        """See Store. One read transaction, so that writers beside it are not mistaken for damage."""
        from esctl.stores import sqlite_checks  # noqa: PLC0415 - only verify needs it

        with Translated(self.path):
            yield from sqlite_checks.findings(self._connection, full=full)

    def backup(self, target: Path) -> None:
        """See Store. SQLite's own online copy: writers go on meanwhile, and it holds the log as of the first page."""
        from esctl.stores.files import draft_of  # noqa: PLC0415 - only backup needs it

        with draft_of(target) as draft, Translated(target):
            flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_URI
            copy = apsw.Connection(draft.absolute().as_uri(), flags=flags)
            try:
                with copy.backup("main", self._connection, "main") as backup:
                    backup.step(-1)  # all under one read lock: in smaller steps every write starts it anew
            finally:
                copy.close()

    def trace(self, tell: Callable[[str], None]) -> None:
        """See Store."""

        def told(_: apsw.Cursor, sql: str, __: object) -> bool:
            tell(f"sql: {' '.join(sql.split())}")
            return True

        self._connection.exec_trace = told

    def close(self) -> None:
        """See Store."""
        self._connection.close()


class _Conditioned:
    """A block in which a query's own condition may fail on some event."""

    def __init__(self, query: Query) -> None:
        self.where = query.where

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self.where is not None and isinstance(error, apsw.SQLError | apsw.TooBigError):
            raise UsageError(f"--where {self.where[:80]!r} fails on an event: {error}") from error


_BAD_QUESTIONS = (apsw.SQLError, apsw.AuthError, apsw.TooBigError, apsw.ExecutionCompleteError)


class _Asked:
    """A block whose failure is that of a question."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(
            error, apsw.SQLError | apsw.AuthError | apsw.TooBigError | apsw.ExecutionCompleteError | ValueError
        ):
            raise UsageError(
                f"the SQL cannot be run: {error}",
                why="a question is one SELECT over the view log, or the tables of esctl help format",
                fix='esctl query "select type, count(*) from log group by type"',
            ) from error


class Transaction:
    """See `Store.transaction`."""

    def __init__(self, store: SqliteStore, *, keep: bool, waiting: Callable[[], None]) -> None:
        self.store, self.keep, self.waiting = store, keep, waiting

    def __enter__(self) -> None:
        self.store._begin(self.waiting)  # noqa: SLF001 - the other half of the store

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.store._end(commit=self.keep and kind is None)  # noqa: SLF001
