"""The store: one SQLite file, through apsw's SQLite."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import apsw

from esctl.errors import MisfitError, UnavailableError, VerificationError
from esctl.events import system
from esctl.events.event import Event, Head, NewEvent, Part, SealedEvent
from esctl.events.query import NO_UPCASTS, Query
from esctl.store import reads
from esctl.store.appends import HEAD, NEWEST, Appender
from esctl.store.blocks import Conditioned, Located, OneState, Transaction
from esctl.store.errors import Patience, Statements, Translated
from esctl.store.opening import connect, run, set_up
from esctl.store.windows import Reading

TYPE_CHECKING = False  # importing typing alone would take a tenth of a cold start
if TYPE_CHECKING:
    from esctl.events.event import Form, Prepared, Receipt
    from esctl.events.fields import Field
    from esctl.events.query import Noted, Upcasting
    from esctl.model.cache import Cache
    from esctl.model.program import Program
    from esctl.store.appends import Expectations, Kept
    from esctl.store.archive import Archive
    from esctl.store.archive_changes import Archiving
    from esctl.store.checks import Finding
    from esctl.store.facts import Facts
    from esctl.store.folds import Fold
    from esctl.store.guard import Guard
    from esctl.store.places import Places
    from esctl.store.projections import Projections
    from esctl.store.questions import Questions
    from esctl.store.reactions import Reactions
    from esctl.store.snapshots import Snapshots
    from esctl.store.upcasts import UpcastCompiler

MODEL_SECONDS = 10.0  # that a statement with a model's expressions may run


class Store:
    """Events in one total order, each in one stream; appended, never changed.

    Positions grow strictly in commit order and are never reused. Versions of a stream are 1, 2, 3 … without gaps. A
    store opened for reading refuses every write. SQLite's errors become esctl's.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        write: bool = False,
        bulk: bool = False,
        timeout: float = 5.0,
        cache: str = "",
    ) -> None:
        """Open the log at `path`; `bulk` tunes for many events, `timeout` (seconds) bounds the wait for a lock, `cache`
        is the folder of compiled models (empty: there is none).

        Raises NotFoundError, StorageVersionError or UnavailableError.
        """
        self.path = path = os.fspath(path)
        self.timeout = timeout
        self.patience = Patience(MODEL_SECONDS)
        self._write = write
        self._cache_folder = cache
        self._cache: Cache | None = None
        self._change = -1
        self._folds = 0
        self._compiler: UpcastCompiler | None = None
        self._archiving: Archiving | None = None
        self._projections: Projections | None = None
        self._guard: Guard | None = None
        self._connection, file = connect(path, write=write)
        self.statements = Statements(self._connection, self.patience)
        with Translated(path):
            try:
                self._execute = self._connection.execute
                self._reading = Reading(self._connection, path)
                self._appender = Appender(self._reading, timeout, file)
                self.new_names = self._appender.new_names
                self.log_id = set_up(self._connection, path, self.patience, write=write, bulk=bulk, timeout=timeout)
                if file is not None:
                    file.watch_wal()
            except (TypeError, ValueError, apsw.CorruptError) as error:  # an impossible head
                self._connection.close()
                raise VerificationError(f"{path} is damaged", why=f"{error}; restore a backup") from error
            except BaseException:
                self._connection.close()
                raise

    # Writing

    def transaction(
        self, *, keep: bool = True, waiting: Callable[[], None] = lambda: None, interned: int | None = None
    ) -> Transaction:
        """A block whose appends are committed together, durably, when it ends; none if it raises, or unless `keep`.

        It waits for another writer up to the store's time limit, then raises UnavailableError; meanwhile `waiting` is
        called repeatedly, and may raise. Not re-entrant. `interned`: see `Appender.begin`.
        """
        if not self._write:
            raise UnavailableError(f"{self.path} is opened read-only", why="in Python: open_log(path, write=True)")
        return Transaction(self._appender, keep=keep, waiting=waiting, interned=interned)

    def append(
        self,
        events: Sequence[NewEvent],
        run: Expectations | None = None,
        recorded: str | None = None,
        kept: Kept | None = None,
        more: Iterable[Prepared] = (),
    ) -> list[Receipt]:
        """Store events in the order given, within a transaction; a receipt for each.

        * An id that is in the log (or earlier in the batch) with the same stream, type, data and meta is a duplicate:
          nothing is stored, and its `expect` is not checked, since the event itself may have changed the version.
          Spellings of the same JSON do not count. With other content it raises ConflictError, with the code `id`; or
          `kept` gets the error, and the event that has the id is kept: the receipt is that of a duplicate. Time and
          schema are not compared: a retry may have new ones.
        * Otherwise `expect` (or, if it is None, the expectation of the run) is compared with the stream's version after
          earlier events of the batch; a mismatch raises ConflictError with `stream`, `expected`, `actual`.
        * Every error has the `index` of the event in `events`. The transaction must then be left by raising.
        * `recorded` is one time per transaction, never earlier than the head's; it is given when a log is copied.
        * An empty batch is allowed.
        * `more`: further events of the batch, each part stored before the next is asked for.
        """
        return self._appender.append(events, run, recorded, kept, more)

    def stamp(self, newest: Mapping[str, int]) -> None:
        """From now on an appended event with schema 0 gets its type's version, or 1."""
        self._appender.newest = newest

    @property
    def engine(self) -> str:
        """The version of the SQLite library."""
        return apsw.sqlite_lib_version()

    def cache(self) -> Cache | None:
        """The user's cache of compiled models, if this log was opened with one."""
        if self._cache is None and self._cache_folder:
            from esctl.model.cache import Cache  # noqa: PLC0415 - only a model needs it

            self._cache = Cache(self._cache_folder, self.engine)
        return self._cache

    def model(self) -> int:
        """The position of the event with the model; 0 if there is none."""
        with Translated(self.path):
            position: int = self._execute("select model from head").get
            return position

    def model_event(self) -> Iterator[Event]:
        """The event with the model, for its time, data and meta; fast even if it is archived."""
        with Translated(self.path):
            position, archived = self._execute("select model, definitions from head").get
            if archived is None:
                yield from (event for event, _, _ in self.read(Query(since=position, until=position, system=True)))
                return
            time, data, meta = (self._execute("select ?1 ->> ?2", (archived, n)).get for n in range(3))
        yield Event(position, system.STREAM, 0, "", system.MODEL_APPLIED, 1, time, time, data, meta)

    def set_model(self, position: int) -> None:
        """Within a transaction: the event at a position contains the model from now on."""
        with Translated(self.path):
            self._execute("update head set model = ?, definitions = null", (position,))

    def archiving(self) -> Archiving:
        """Changes to the archive."""
        if self._archiving is None:
            from esctl.store.archive_changes import Archiving  # noqa: PLC0415 - only an archive needs it

            self._archiving = Archiving(self._reading)
        return self._archiving

    def projections(self) -> Projections:
        """Read models."""
        if self._projections is None:
            from esctl.store.projections import Projections  # noqa: PLC0415 - only a model needs it

            with Translated(self.path):
                self._projections = Projections(
                    self._reading, self._guarding(), self._scan, self.patience, self._upcast_compiler, self.cache
                )
        return self._projections

    def facts(self) -> Facts:
        """Counts and lists of what the log contains."""
        from esctl.store.facts import Facts  # noqa: PLC0415 - a cold append does without

        return Facts(self._reading)

    def places(self) -> Places:
        """Where single events are."""
        from esctl.store.places import Places  # noqa: PLC0415 - a cold append does without

        return Places(self._reading, self.newest)

    def snapshots(self) -> Snapshots:
        """Saved states."""
        from esctl.store.snapshots import Snapshots  # noqa: PLC0415 - only a model needs it

        return Snapshots(self._connection, self.path)

    def reactions(self) -> Reactions:
        """Commands that run for each event, and how far they have come."""
        from esctl.store.reactions import Reactions  # noqa: PLC0415 - only reactions need it

        return Reactions(self._reading, self._scan)

    def questions(self) -> Questions:
        """Questions: SELECTs from outside."""
        from esctl.store.questions import Questions  # noqa: PLC0415 - only a question needs it

        return Questions(
            self._reading, self._guarding, self._unguarded, self._upcast_compiler, self.patience.often(self._connection)
        )

    def _unguarded(self) -> None:
        self._connection.authorizer = self._guard = None

    def _guarding(self) -> Guard:
        """Install the authorizer, under which a reader may have temporary tables."""
        if self._guard is None:
            from esctl.store.guard import Guard  # noqa: PLC0415 - only a model needs it

            self._connection.authorizer = self._guard = Guard(self._connection, write=self._write)
            run(self._connection, "pragma query_only = off")
        return self._guard

    # Reading

    def one_state(self, *, large: bool = False) -> OneState:
        """A block in which all that is read is of one state of the file; `large`: temporary tables may be large."""
        return OneState(self._reading, large=large)

    def archive(self) -> Archive | None:
        """The archived part; None if there never was one."""
        with Translated(self.path), self._reading.pinned():
            return self._reading.archive

    def has_moved(self) -> bool:
        """Whether another process has changed the archive since it was last read here."""
        with Translated(self.path):
            archive = self._reading.archive
            return archive is not None and self._reading.moved_since(archive.generation)

    def head(self) -> Head:
        """The newest acknowledged event; within a transaction of this store, the newest in it."""
        with Translated(self.path):
            return self._appender.head or Head._make(self._execute(HEAD).get)

    def newest(self) -> int:
        """The position of the newest event: the head's, unless the head is damaged."""
        with Translated(self.path):
            newest: int = self._execute(NEWEST).get
        return min(self.head().position, newest)

    def stream_version(self, stream: str) -> int:
        """The version of a stream's newest event; 0 if it has none."""
        with Translated(self.path):
            return self._execute(f"select {reads.VERSION} from streams s where name = ?", (stream,)).get or 0

    def has_type(self, name: str) -> bool:
        """Whether an event of a type was ever stored."""
        with Translated(self.path):
            return bool(self._execute("select exists(select 1 from types where name = ?)", (name,)).get)

    def read(
        self, query: Query, upcasting: Upcasting = NO_UPCASTS, on_misfit: Noted | None = None
    ) -> Iterator[SealedEvent]:
        """The events of a query, upcast; a misfit goes to `on_misfit`, or raises MisfitError.

        The end is the head at the time when the first event is read, however long it takes.
        """
        with Translated(self.path), Conditioned(query):
            scan = self._scan(query, upcasting, on_misfit)
            with Located(self._reading, scan):
                if scan.upcasts is not None and scan.upcasts.split:
                    for *columns, salt, hash_, part in reads.rows(self._reading, scan, f"{reads.COLUMNS}, part"):
                        event = Part._make(columns) if part else Event._make(columns)
                        if isinstance(event, Part):
                            event.part = part
                        yield SealedEvent(event, salt, hash_)
                    return
                event_of, sealed = Event._make, SealedEvent._make
                for *columns, salt, hash_ in reads.rows(self._reading, scan, reads.COLUMNS):
                    yield sealed((event_of(columns), salt, hash_))  # COLUMNS begins with those of an Event

    def lines(
        self, query: Query, form: Form | Sequence[Field] = "line", upcasting: Upcasting = NO_UPCASTS
    ) -> Iterator[bytes]:
        """The same events, or a choice of their fields, as lines of JSON that end with LF, in chunks of whole lines."""
        if isinstance(form, str):
            line: str = form
        else:
            from esctl.store.selection import line_of  # noqa: PLC0415 - whole lines do without

            line = line_of(form)
        with Translated(self.path), Conditioned(query):
            scan = self._scan(query, upcasting)
            with Located(self._reading, scan):
                yield from reads.chunks(self._reading, scan, line)

    def values(
        self, query: Query, fields: Sequence[Field], upcasting: Upcasting = NO_UPCASTS
    ) -> Iterator[tuple[str, ...]]:
        """The same events as the JSON texts of some fields."""
        from esctl.store.selection import json_of, refuse_controls  # noqa: PLC0415 - only a choice of fields needs it

        with Translated(self.path), Conditioned(query):
            scan = self._scan(query, upcasting)
            with Located(self._reading, scan):
                own = [n for n, field in enumerate(fields) if field.column not in ("data", "meta")]
                for row in reads.rows(self._reading, scan, ", ".join(map(json_of, fields)) or "1"):
                    for text in map(row.__getitem__, own):
                        if "\\" in text or not text.isprintable():
                            refuse_controls(self.path, text)
                    yield row

    def _scan(self, query: Query, upcasting: Upcasting = NO_UPCASTS, on_misfit: Noted | None = None) -> reads.Scan:
        """Resolve a query against the tables, ending at the present head."""
        until = min(query.until, self.newest())
        if query.as_of is not None:
            until = min(until, self.places().position_at(query.as_of))
        if self._compiler is not None:
            self._compiler.on_misfit = on_misfit
        compiler = self._upcast_compiler() if upcasting and not query.raw_schema else None
        scan = reads.resolve(self._reading, query, until, compiler, upcasting)
        if scan.upcasts is not None:
            scan.patience = self.patience
        elif query.where:
            scan.patience = self.patience.often(self._connection)
        return scan

    def _upcast_compiler(self) -> UpcastCompiler:
        if self._compiler is None:
            from esctl.store.upcasts import UpcastCompiler  # noqa: PLC0415 - only a model needs it

            self._compiler = UpcastCompiler(self._connection)
            self.patience.often(self._connection)
        return self._compiler

    def evaluated(self, expression: str, event: Event) -> str:
        """The value of an expression over `new` for an event."""
        from esctl.store.upcasts import evaluated  # noqa: PLC0415 - only a model needs it

        self._upcast_compiler().allow(expression)
        try:
            with Translated(self.path), self.patience:
                return evaluated(self._connection, expression, event)
        except MisfitError as error:
            raise error.at(event.position)  # noqa: B904 - the same error, with its event

    def fold(self, program: Program, upcasting: Upcasting = NO_UPCASTS, on_misfit: Noted | None = None) -> Fold:
        """An empty fold.

        Its tables are temporary: a reader may have them, too.
        """
        from esctl.store.folds import Fold  # noqa: PLC0415 - only a fold needs it

        self._folds += 1
        compiler = self._upcast_compiler()
        compiler.on_misfit = None
        with Translated(self.path):
            compiler.allow(program.state, program.accepts)
            guard, name = self._guarding(), str(self._folds)
            return Fold(
                self._reading, guard, program, name, lambda q: self._scan(q, upcasting, on_misfit), self.patience
            )

    def in_transaction(self) -> bool:
        """Whether a transaction is open: what it has written, no other connection sees."""
        return self._connection.in_transaction

    def traced(self) -> str:
        """The place in the model that a traced expression has come to last; it is then forgotten."""
        return self._upcast_compiler().take_trace()

    def is_json(self, text: str) -> bool:
        """Whether a text is strict JSON (RFC 8259) of at most 1,000 levels, by SQLite's parser."""
        with Translated(self.path):
            return "\0" not in text and bool(self._execute("select json_valid(?)", (text,)).get)

    def changed(self) -> bool:
        """Whether another process has appended since the last call; cheap enough for polling."""
        with Translated(self.path):
            before, self._change = self._change, self._execute("pragma data_version").get
            return before != self._change

    def check(self, *, full: bool) -> Iterator[Finding]:
        """Check what needs no chain: the medium, contiguity, versions, heads; with `full`, every text.

        It uses one read transaction, so that concurrent writers do not look like damage.
        """
        from esctl.store import checks  # noqa: PLC0415 - only verify needs it

        with Translated(self.path), self.one_state():
            yield from checks.findings(self._reading, full=full)

    def copy_to(self, empty: str | os.PathLike[str]) -> None:
        """Copy a consistent state into an empty file while others read and write."""
        from esctl.store import copying  # noqa: PLC0415 - only a copy needs it

        copying.copy_to(self._connection, self.path, empty)

    def cut(self, position: int) -> None:
        """Within a transaction, on a new copy: end the log at a position."""
        with Translated(self.path):
            self._appender.cut(position)

    def compact(self, *, full: bool = False) -> tuple[int, int, bool]:
        """Free unused space; see `compacting.compact`."""
        from esctl.store import compacting  # noqa: PLC0415 - only `compact` and an erasure need it

        with Translated(self.path):
            return compacting.compact(self._connection, full=full)

    def close(self) -> None:
        """Close the connection; leaves no file beside the log. May be called twice."""
        self._appender.leave()
        if self._archiving is not None:
            self._archiving.let_go()
        self._connection.close()
