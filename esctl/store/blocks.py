"""Blocks that decide what an error within them means, or what happens at their end."""

from __future__ import annotations

import apsw

from esctl.errors import EsctlError, MisfitError, UsageError, word
from esctl.events.query import Query
from esctl.store.errors import Translated
from esctl.store.format import TEMP_STORE_IN_FILES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from esctl.model.compiled import Version
    from esctl.store.appends import Appender
    from esctl.store.projections import Projections
    from esctl.store.reads import Scan
    from esctl.store.windows import Reading

_GENERATION = "select ifnull(max(archived), 0) from head"


class Located:
    """A block in which an expression of the model may fail on an event, which is then searched for and named."""

    def __init__(self, reading: Reading, scan: Scan) -> None:
        self.reading, self.scan = reading, scan

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(error, MisfitError) and "position" not in error.details:
            from esctl.store.failing import failing  # noqa: PLC0415 - only a failure needs it

            position = failing(self.reading, self.scan)
            if position is not None:
                error.at(position)


class Conditioned:
    """A block in which a query's condition may fail on an event."""

    def __init__(self, query: Query) -> None:
        self.where = query.where

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        reason = error.__cause__ if isinstance(error, MisfitError) else error
        if self.where is not None and isinstance(reason, apsw.SQLError | apsw.TooBigError):
            raise UsageError(f"--where {self.where[:80]!r} fails on an event: {reason}") from error


class Feeding(Translated):
    """A block that feeds a fold, of one stream or of many."""

    def __init__(self, path: str, stream: str | None = None) -> None:
        super().__init__(path)
        self._stream = stream

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(error, MisfitError) and "position" not in error.details:
            # The states after each event show how far the stream can be folded.
            error.fix = "esctl state --help" if self._stream is None else f"esctl state {word(self._stream)} --each"
        super().__exit__(kind, error, _)


class Placed:
    """The block of `Projections.placed`. If it fails, the owner of the transaction rolls back."""

    def __init__(self, projections: Projections, version: Version) -> None:
        self._projections, self._version = projections, version
        self._renamed: list[tuple[str, str]] = []

    def __enter__(self) -> None:
        self._renamed = self._projections.into_place(self._version)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if kind is None:
            self._projections.out_of_place(self._version, self._renamed)


class Moment:
    """A block that sees one state of the file and may write temporary tables. Within a transaction it is part of it."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._is_outermost = False

    def __enter__(self) -> None:
        self._is_outermost = not self._connection.in_transaction
        if self._is_outermost:
            self._connection.execute("begin").fetchall()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._is_outermost and self._connection.in_transaction:
            self._connection.execute("commit" if kind is None else "rollback").fetchall()


class OneState:
    """A block in which everything sees one state of the file and, of each segment in a folder, the file that it had
    then: it stays open, so that it can be read even if another process moves or removes it meanwhile.

    Within a transaction the block is part of it: a writer keeps others from removing files.
    """

    def __init__(self, reading: Reading, *, large: bool = False) -> None:
        self._reading, self._connection = reading, reading.connection
        self._large = large  # temporary tables are to be in files, which cannot be changed within a transaction
        self._is_outermost = False

    def __enter__(self) -> None:
        self._is_outermost = not self._connection.in_transaction
        if self._is_outermost and self._large:
            self._connection.execute(TEMP_STORE_IN_FILES).fetchall()
        before = None
        while self._is_outermost:
            try:
                generation, are_there = self._begun()
            except BaseException:
                self._leave("rollback")
                raise
            if are_there or generation == before:
                return
            before = generation  # a file is missing: another process has moved it just now, or it is lost
            self._leave("rollback")

    def _begun(self) -> tuple[int, bool]:
        """How often the archive had changed in the state of the file; whether each file of it is there."""
        with Translated(self._reading.path):
            self._connection.execute("begin").fetchall()
            generation: int = self._connection.execute(_GENERATION).get
            archived = self._reading.known(generation)
        archive = self._reading.archive
        return generation, not archived or archive is None or archive.hold()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._is_outermost:
            try:
                with Translated(self._reading.path):
                    self._leave("commit")  # temporary tables stay
            except EsctlError:  # of a damaged file
                self._leave("rollback")
                if kind is None:
                    raise

    def _leave(self, end: str) -> None:
        if self._reading.archive is not None:
            self._reading.archive.let_go()
        if self._connection.in_transaction:
            self._connection.execute(end).fetchall()


class Transaction:
    """The block of `Store.transaction`."""

    def __init__(
        self, appender: Appender, *, keep: bool, waiting: Callable[[], None], interned: int | None = None
    ) -> None:
        self.appender, self.keep, self.waiting, self.interned = appender, keep, waiting, interned

    def __enter__(self) -> None:
        self.appender.begin(self.waiting, self.interned)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.appender.end(commit=self.keep and kind is None)
