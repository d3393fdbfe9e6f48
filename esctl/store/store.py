"""The embedded store: one SQLite file, through the SQLite that apsw brings."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from types import TracebackType

import apsw

from esctl.errors import (
    MisfitError,
    SegmentError,
    StorageVersionError,
    UnavailableError,
    UsageError,
    VerificationError,
    word,
)
from esctl.events import chain
from esctl.events.event import MODEL_APPLIED, SYSTEM_STREAM, Event, NewEvent, Part
from esctl.events.query import Query
from esctl.store import reads
from esctl.store.appends import HEAD, Appender, Transaction
from esctl.store.errors import Patience, Translated
from esctl.store.format import APPLICATION_ID, ARCHIVED, HOT, STORAGE_VERSION, check_there, uri_of
from esctl.store.windows import Reading

TYPE_CHECKING = False  # importing typing alone would take a tenth of a cold start
if TYPE_CHECKING:
    from typing import Any, Literal

    from esctl.events.event import Form, Head, Receipt, SealedEvent
    from esctl.events.query import Upcasting
    from esctl.model.operations import Program
    from esctl.store.base import Archive, Archiving, Finding, RunExpectation, Snapshot
    from esctl.store.folds import Fold
    from esctl.store.guard import Guard
    from esctl.store.projections import Projections
    from esctl.store.segments import Frame
    from esctl.store.upcasts import Weaver

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
HEAP = 1024 * 1024 * 1024  # bytes that SQLite may use in a command
OPCODES_A_BREATH = 1_000_000
OPCODES_OF_A_MODEL = 1000  # what its expressions do in one may take long
STATES = 1000  # rows of states that are kept at once
TRIES = 10  # of a question whose segment was moved meanwhile
MODEL_SECONDS = 10.0  # that a statement with a model's expressions in it may run
_VERSION_UNTIL = """select version from {table} where stream_id = ?1 and +position <= ?2 and version > ?3
order by version desc limit 1"""
_NEWEST = """select max(ifnull((select max(position) from events), 0), ifnull((select max(last) from segments), 0))"""


class SqliteStore:
    """See `esctl.store.base.Store`. Opened for reading it refuses every write."""

    def __init__(
        self, path: str | os.PathLike[str], *, write: bool = False, bulk: bool = False, timeout: float = 5.0
    ) -> None:
        """Open the log at `path`; `bulk` tunes for many events, `timeout` (seconds) bounds the wait for a lock.

        Raises NotFoundError, StorageVersionError or UnavailableError.
        """
        self.path = path = os.fspath(path)
        self.timeout = timeout
        self.patience = Patience(MODEL_SECONDS)
        self._write = write
        self._change = -1
        self._folds = 0
        self._weaver: Weaver | None = None
        self._archiving: Archiving | None = None
        self._projections: Projections | None = None
        self._guard: Guard | None = None
        self._connection = self._open(write)
        with Translated(path):
            try:
                self._execute = self._connection.execute
                self._reading = Reading(self._connection, path)
                self._appender = Appender(self._reading, timeout)
                self._settle(write, bulk)
            except (TypeError, ValueError, apsw.CorruptError) as error:  # a head that is not that of any log
                self._connection.close()
                raise VerificationError(f"{path} is damaged", why=f"{error}; restore a backup") from error
            except BaseException:
                self._connection.close()
                raise

    def _open(self, write: bool) -> apsw.Connection:
        check_there(self.path)
        uri = uri_of(self.path)
        writable = os.access(self.path, os.W_OK) and os.access(os.path.dirname(self.path) or ".", os.W_OK)
        if write and not writable:  # known before SQLite makes files beside it
            raise UnavailableError(f"{self.path} is read-only", why="make the file and its folder writable")
        with Translated(self.path):
            if not write and not writable and not os.path.exists(f"{self.path}-wal"):
                # Nobody here could write it, so no WAL is needed; opened in any other way SQLite would want one.
                flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
                return apsw.Connection(f"{uri}?immutable=1", flags=flags)
            # Readers open for writing too (and then forbid it): only such a connection removes its -wal and -shm.
            return apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_URI)

    def _settle(self, write: bool, bulk: bool) -> None:
        """Settings first, then what the file says of itself."""
        # A statement may run for minutes in C; back in Python now and then, it hears Ctrl-C and knows the time.
        self._connection.set_progress_handler(self.patience.over, OPCODES_A_BREATH)
        # Else SQLite looks at bound values for a better plan, and prepares a statement anew whenever one is bound.
        self._connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        self._connection.set_busy_timeout(int(self.timeout * 1000))
        self._run(SETTINGS)
        application, version = (self._execute(f"pragma {name}").get for name in ("application_id", "user_version"))
        if application != APPLICATION_ID:
            raise StorageVersionError(
                f"{self.path} is not a log", why="it is some other SQLite database; name the log with --log"
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
                fix=f"esctl migrate --log {word(self.path)}",
            )
        if write:
            if self._execute("pragma journal_mode").get != "wal":  # a network file system
                self._run("pragma journal_mode = truncate; pragma synchronous = extra")
            self._run(f"pragma journal_size_limit = {WAL_BYTES}")
        else:
            self._run("pragma query_only = on")
        if bulk:
            chain.for_many()
            self._run(f"pragma cache_size = -{BULK_CACHE_KIB}; pragma wal_autocheckpoint = {BULK_CHECKPOINT_PAGES}")
        self.log_id = self._execute("select log_id from head").get
        if not isinstance(self.log_id, str):
            raise TypeError("it has not one head")

    def _run(self, statements: str) -> None:
        self._execute(statements).fetchall()  # apsw goes on to the next statement only when the rows are taken

    # Writing

    def transaction(self, *, keep: bool = True, waiting: Callable[[], None] = lambda: None) -> Transaction:
        """See Store."""
        return Transaction(self._appender, keep=keep, waiting=waiting)

    def append(
        self, events: Sequence[NewEvent], run: RunExpectation | None = None, recorded: str | None = None
    ) -> list[Receipt]:
        """See Store."""
        return self._appender.append(events, run, recorded)

    def stamp(self, newest: Mapping[str, int]) -> None:
        """See Store."""
        self._appender.newest = newest

    def model(self) -> int:
        """See Store."""
        with Translated(self.path):
            position: int = self._execute("select model from head").get
            return position

    def model_event(self) -> Iterator[Event]:
        """See Store."""
        with Translated(self.path):
            position, kept = self._execute("select model, definitions from head").get
            if kept is None:
                yield from (event for event, _, _ in self.read(Query(since=position, until=position, system=True)))
                return
            time, data, meta = (self._execute("select ?1 ->> ?2", (kept, n)).get for n in range(3))
        yield position, SYSTEM_STREAM, 0, "", MODEL_APPLIED, 1, time, time, data, meta

    def hold_model(self, position: int) -> None:
        """See Store."""
        with Translated(self.path):
            self._execute("update head set model = ?, definitions = null", (position,))

    def has_snapshots(self, aggregate: str) -> bool:
        """See Store."""
        with Translated(self.path):
            return bool(self._execute("select exists(select 1 from snapshots where aggregate = ?)", (aggregate,)).get)

    def save_snapshot(self, snapshot: Snapshot) -> None:
        """See Store."""
        from esctl.store import snapshots as saved  # noqa: PLC0415 - only a model needs it

        with Translated(self.path):
            saved.save(self._connection, snapshot)

    def drop_snapshot(self, stream: str, aggregate: str, version: int) -> None:
        """See Store."""
        from esctl.store import snapshots as saved  # noqa: PLC0415

        with Translated(self.path):
            saved.drop(self._connection, stream, aggregate, version)

    def archiving(self) -> Archiving:
        """See Store."""
        if self._archiving is None:
            from esctl.store.archive_changes import Archiving  # noqa: PLC0415 - only an archive needs it

            self._archiving = Archiving(self._connection, self.path)
        return self._archiving

    def projections(self) -> Projections:
        """See Store."""
        if self._projections is None:
            from esctl.store.projections import Projections  # noqa: PLC0415 - only a model needs it

            with Translated(self.path):
                self._projections = Projections(
                    self._reading, self._guarding(), self._bounded, self.patience, self._weaving
                )
        return self._projections

    def _guarding(self) -> Guard:
        """From here on statements run under an authorizer, which lets a reader have temporary tables."""
        if self._guard is None:
            from esctl.store.guard import Guard  # noqa: PLC0415 - only a model needs it

            self._connection.authorizer = self._guard = Guard(self._connection, write=self._write)
            self._run("pragma query_only = off")
        return self._guard

    # Reading

    def archive(self) -> Archive | None:
        """See Store."""
        with Translated(self.path), self._reading.held():
            return self._reading.archive

    def erasures(self) -> Iterator[tuple[int, bytes, int]]:
        """See Store."""
        with Translated(self.path):
            yield from self._execute("select position, digest, event from erased order by position")

    def kept(self, frame: Frame) -> bytes:
        """See Store."""
        with Translated(self.path):
            found: bytes | None = self._execute("select packed from frames where first = ?", (frame.first,)).get
            return found or b""

    def sealed_lines(self, low: int, high: int) -> tuple[int, bytes, bytes, bytes]:
        """See Store."""
        with Translated(self.path):
            return reads.sealed_lines(self._connection, low, high)

    def largest(self) -> int:
        """See Store."""
        with Translated(self.path):
            found: int = self._execute("select largest from head").get
            return found

    def head(self) -> Head:
        """See Store."""
        with Translated(self.path):
            return self._appender.head or self._execute(HEAD).get

    def _newest(self) -> int:
        """The position up to which there are events: the head's, but for a damaged head."""
        newest: int = self._execute(_NEWEST).get
        return min(self.head()[0], newest)

    def stream_version(self, stream: str) -> int:
        """See Store."""
        with Translated(self.path):
            return self._execute(f"select {reads.VERSION} from streams s where name = ?", (stream,)).get or 0

    def position_at(self, recorded: str) -> int:
        """See Store. `recorded` never decreases, so a bisection by position finds it without an index."""
        with Translated(self.path):
            newest = self._newest()

            def ask(_: bool) -> int:
                low, high = 0, newest
                sql = self._reading.everywhere("select recorded from {events} where position = ?1")
                while low < high:
                    middle = (low + high + 1) // 2
                    moment = self._execute(sql, (middle,)).get
                    low, high = (middle, high) if moment <= recorded else (low, middle - 1)
                return low

            return self._reading.steady(ask)

    def read(self, query: Query) -> Iterator[SealedEvent]:
        """See Store."""
        with Translated(self.path), _Conditioned(query):
            bounded = self._bounded(query)
            with _Located(self._reading, bounded):
                if bounded.woven is not None and bounded.woven.split:
                    for *columns, salt, hash_, part in reads.rows(self._reading, bounded, f"{reads.COLUMNS}, part"):
                        event = Part(columns)
                        event.part = part
                        yield (event if part else tuple(columns)), salt, hash_
                    return
                for *columns, salt, hash_ in reads.rows(self._reading, bounded, reads.COLUMNS):
                    yield tuple(columns), salt, hash_  # COLUMNS begins with those of an Event

    def lines(self, query: Query, form: Form = "line") -> Iterator[bytes]:
        """See Store."""
        with Translated(self.path), _Conditioned(query):
            bounded = self._bounded(query)
            with _Located(self._reading, bounded):
                yield from reads.chunks(self._reading, bounded, form)

    def _bounded(self, query: Query) -> reads.Bounded:
        """The query with names and times resolved to what the tables know, ending at the present head."""
        until = min(query.until, self._newest())
        if query.as_of is not None:
            until = min(until, self.position_at(query.as_of))
        if self._weaver is not None:
            self._weaver.noted = query.noted
        upcast = query.upcasting and not query.raw_schema
        bounded = reads.resolve(self._reading, query, until, self._weaving() if upcast else None)
        if bounded.woven is not None:
            bounded.patience = self.patience
        return bounded

    def _weaving(self) -> Weaver:
        if self._weaver is None:
            from esctl.store.upcasts import Weaver  # noqa: PLC0415 - only a model needs it

            self._weaver = Weaver(self._connection)
            self._connection.set_progress_handler(self.patience.over, OPCODES_OF_A_MODEL)
        return self._weaver

    def version_until(self, stream: str, position: int) -> int:
        """See Store."""
        with Translated(self.path):
            stream_id = self._stream_id(stream)

            def ask(archived: bool) -> int:
                found = 0
                for table in (HOT, ARCHIVED) if archived else (HOT,):
                    asked = (stream_id, position, found)  # in the archive nothing is unpacked that is older
                    found = self._execute(_VERSION_UNTIL.format(table=table), asked).get or found
                return found

            return self._reading.steady(ask)

    def event_at(self, stream: str, version: int) -> tuple[int, bytes] | None:
        """See Store."""
        with Translated(self.path):
            sql = "select position, hash from {events} where stream_id = ?1 and version = ?2"
            found: tuple[int, bytes] | None = self._anywhere(sql, (self._stream_id(stream), version))
            return found

    def _stream_id(self, stream: str) -> int:
        return self._execute("select stream_id from streams where name = ?", (stream,)).get or 0

    def _anywhere(self, sql: str, parameters: tuple[object, ...]) -> Any:
        """The row of a SELECT from `{events}` that finds one or none, asked of the archive if no hot event is it."""

        def ask(archived: bool) -> Any:
            found = self._execute(sql.format(events=self._reading.hot), parameters).get
            return self._execute(sql.format(events=ARCHIVED), parameters).get if found is None and archived else found

        return self._reading.steady(ask)

    def evaluated(self, expression: str, event: Event) -> str:
        """See Store."""
        from esctl.store.upcasts import evaluated  # noqa: PLC0415 - only a model needs it

        self._weaving().allow(expression)
        try:
            with Translated(self.path), self.patience:
                return evaluated(self._connection, expression, event)
        except MisfitError as error:
            raise error.at(event[0])  # noqa: B904 - the same error, told better

    def matching(self, pattern: str) -> Iterator[tuple[str, int]]:
        """See Store."""
        from esctl.store import facts  # noqa: PLC0415 - a cold append does without

        with Translated(self.path):
            yield from facts.matching(self._connection, pattern)

    def schemas(self) -> list[tuple[str, int, int]]:
        """See Store."""
        from esctl.store import facts  # noqa: PLC0415 - a cold append does without

        with Translated(self.path):
            return facts.schemas(self._reading)

    def differences(self, before: str, after: str) -> list[tuple[str, str | None, str | None]]:
        """See Store."""
        from esctl.store import facts  # noqa: PLC0415 - a cold append does without

        with Translated(self.path):
            return facts.differences(self._connection, before, after)

    def snapshots(self, stream: str | None = None, aggregate: str | None = None) -> Iterator[tuple[Any, ...]]:
        """See Store."""
        from esctl.store import snapshots as saved  # noqa: PLC0415 - only a model needs it

        with Translated(self.path):
            yield from saved.rows(self._connection, stream, aggregate)

    def fold(self, program: Program) -> Fold:
        """See Store. Its tables are temporary: a reader, who may write nothing else, may have them."""
        from esctl.store.folds import Fold  # noqa: PLC0415 - only a fold needs it

        self._folds += 1
        weaver = self._weaving()
        weaver.noted = None
        with Translated(self.path):
            weaver.allow(program.state, program.accepts)
            self._guarding()
            return Fold(self._reading, program, str(self._folds), self._bounded, self.patience)

    def is_json(self, text: str) -> bool:
        """See Store. SQLite's parser is at hand when no other is loaded yet."""
        with Translated(self.path):
            return "\0" not in text and bool(self._execute("select json_valid(?)", (text,)).get)

    def find(self, event_id: str) -> int:
        """See Store."""
        with Translated(self.path):
            return self._anywhere("select position from {events} where id = ?1", (event_id,)) or 0

    def names(self, kind: Literal["stream", "type"], prefix: str = "") -> Iterator[str]:
        """See Store."""
        own = "and stream_id > 0" if kind == "stream" else ""
        sql = f"select name from {kind}s where name >= ?1 and substr(name, 1, length(?1)) = ?1 {own} order by name"
        with Translated(self.path):
            for (name,) in self._execute(sql, (prefix,)):
                yield name

    def streams(self, pattern: str | None, *, system: bool) -> Iterator[dict[str, Any]]:
        """See Store."""
        from esctl.store import facts  # noqa: PLC0415 - a cold append does without

        with Translated(self.path):
            yield from facts.streams(self._reading, pattern, system=system)

    def types(self, *, system: bool) -> Iterator[dict[str, Any]]:
        """See Store."""
        from esctl.store import facts  # noqa: PLC0415 - a cold append does without

        with Translated(self.path):
            yield from facts.types(self._reading, system=system)

    def info(self) -> dict[str, Any]:
        """See Store."""
        from esctl.store import facts  # noqa: PLC0415 - a cold append does without

        with Translated(self.path):
            return facts.info(self._reading)

    def over_time(self, buckets: int, group: Literal["stream", "type"]) -> Iterator[tuple[int, str, int]]:
        """See Store."""
        from esctl.store import facts  # noqa: PLC0415 - a cold append does without

        with Translated(self.path):
            yield from facts.over_time(self._reading, buckets, group)

    def changed(self) -> bool:
        """See Store. SQLite keeps the counter in shared memory."""
        with Translated(self.path):
            before, self._change = self._change, self._execute("pragma data_version").get
            return before != self._change

    def question(
        self, sql: str, upcasting: Upcasting, states: Callable[[], Iterator[tuple[object, ...]]] | None = None
    ) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
        """See Store."""
        for again in range(TRIES):
            try:
                names, first, rows = self._asked(sql, upcasting, states)
            except SegmentError:  # somebody may have moved it just now
                if again == TRIES - 1:
                    raise
            else:
                return names, self._answers(first, rows)
        raise AssertionError

    def _asked(
        self, sql: str, upcasting: Upcasting, states: Callable[[], Iterator[tuple[object, ...]]] | None
    ) -> tuple[list[str], list[Any], Iterator[tuple[Any, ...]]]:
        """Columns, the first row if there is one, and the others, all of one state of the file."""
        from esctl.sql.judge import authorize_reading  # noqa: PLC0415 - only a question needs it

        self._connection.authorizer = self._guard
        with Translated(self.path):
            if states is not None:
                self._have_states(states)
        self._connection.authorizer = self._guard = None
        with Translated(self.path), self._reading.held() as archived:
            if archived or upcasting:
                from esctl.store.upcasts import have_views  # noqa: PLC0415

                self._run("pragma query_only = off")  # temporary views stand before the log's own
                have_views(self._reading, self._weaving() if upcasting else None, upcasting, archived=archived)
                self._run("pragma query_only = on")
            self._connection.authorizer = authorize_reading  # from here on this connection answers questions only
            from esctl.store import facts  # noqa: PLC0415

            with _Asked():
                names, rows = facts.question(self._connection, sql)
                return names, list(islice(rows, 1)), rows

    def _have_states(self, states: Callable[[], Iterator[tuple[object, ...]]]) -> None:
        """Have the temporary table `states`, of a state of the file that is kept until the connection is closed.

        Rows come from folds on this connection, so some at a time.
        """
        self._guarding()
        if self._connection.in_transaction:
            self._run("rollback")
        self._run("begin; drop table if exists temp.states")
        self._run("create temp table states (stream, aggregate, version, position, time, state)")
        rows = states()
        while some := list(islice(rows, STATES)):
            self._connection.executemany("insert into temp.states values (?, ?, ?, ?, ?, ?)", some)

    def _answers(self, first: list[Any], rows: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        yield from first
        with Translated(self.path), _Asked():
            yield from rows

    def check(self, *, full: bool) -> Iterator[Finding]:
        """See Store. One read transaction, so that writers beside it are not mistaken for damage."""
        from esctl.store import checks  # noqa: PLC0415 - only verify needs it

        with Translated(self.path):
            yield from checks.findings(self._reading, full=full)

    def copy_to(self, empty: str | os.PathLike[str]) -> None:
        """See Store. SQLite's own online copy: writers go on meanwhile, and it holds the log as of the first page."""
        with Translated(os.fspath(empty)):
            flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_URI
            copy = apsw.Connection(uri_of(os.fspath(empty)), flags=flags)
            try:
                with copy.backup("main", self._connection, "main") as backup:
                    backup.step(-1)  # all under one read lock: in smaller steps every write starts it anew
            finally:
                copy.close()

    def cut(self, position: int) -> None:
        """See Store."""
        with Translated(self.path):
            self._appender.cut(position)

    def compact(self, *, full: bool = False) -> tuple[int, int, bool]:
        """See Store. Each step of the pragma frees a page, so it is run to its end."""
        with Translated(self.path):
            size = "select page_count * page_size from pragma_page_count, pragma_page_size"
            before: int = self._execute(size).get
            if full:
                self._run("pragma temp_store = file; vacuum; pragma temp_store = memory")  # the copy may be large
            else:
                self._run("pragma incremental_vacuum")
            after: int = self._execute(size).get
            busy, _, _ = self._execute("pragma wal_checkpoint(truncate)").get or (0, 0, 0)
            return before, after, not busy

    def limit(self, seconds: float) -> None:
        """See Store."""
        self.patience.seconds = seconds
        largest: int = self._execute("select largest from head").get
        self._run(f"pragma hard_heap_limit = {max(HEAP, 16 * largest)}")

    def trace(self, tell: Callable[[str], None]) -> None:
        """See Store."""

        def told(_: apsw.Cursor, sql: str, __: object) -> bool:
            tell(f"sql: {' '.join(sql.split())}")
            return True

        self._connection.exec_trace = told

    def close(self) -> None:
        """See Store."""
        self._connection.close()


class _Located:
    """A block in which an expression of the model may fail on an event, which is then searched for and named."""

    def __init__(self, reading: Reading, bounded: reads.Bounded) -> None:
        self.reading, self.bounded = reading, bounded

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(error, MisfitError) and "position" not in error.details:
            position = reads.failing(self.reading, self.bounded)
            if position is not None:
                error.at(position)


class _Conditioned:
    """A block in which a query's own condition may fail on some event."""

    def __init__(self, query: Query) -> None:
        self.where = query.where

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        reason = error.__cause__ if isinstance(error, MisfitError) else error
        if self.where is not None and isinstance(reason, apsw.SQLError | apsw.TooBigError):
            raise UsageError(f"--where {self.where[:80]!r} fails on an event: {reason}") from error


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
                fix="esctl query 'select * from log limit 5'",
            ) from error
