"""Questions: one SELECT from outside over the tables of a log, the view `log`, and states."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from types import TracebackType

import apsw

from esctl.errors import SegmentError, UsageError
from esctl.sql.judge import authorize_reading
from esctl.store.errors import Translated
from esctl.store.opening import run
from esctl.store.windows import Reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from esctl.events.query import Upcasting
    from esctl.store.guard import Guard
    from esctl.store.upcasts import UpcastCompiler

ROWS_OF_STATES = 1000  # that are put into their table at once
TRIES = 10  # of a question whose segment was moved meanwhile
_COMMENTS = r"(?s)--[^\n]*|/\*.*?\*/"

Rows = Iterator[tuple["Any", ...]]


class Questions:
    """Asks one connection, which from the first question on answers nothing else."""

    def __init__(
        self,
        reading: Reading,
        guarding: Callable[[], Guard],
        unguarded: Callable[[], None],
        upcast_compiler: Callable[[], UpcastCompiler],
    ) -> None:
        """`guarding` puts the connection under the authorizer of models, `unguarded` under none."""
        self._reading, self._connection, self._path = reading, reading.connection, reading.path
        self._guarding, self._unguarded, self._upcast_compiler = guarding, unguarded, upcast_compiler

    def ask(
        self, sql: str, upcasting: Upcasting, states: Callable[[], Iterator[tuple[object, ...]]] | None = None
    ) -> tuple[list[str], Rows]:
        """The columns and rows of a SELECT over the tables, the view `log`, which has events upcast, and the table
        `states`, whose rows are given (stream, aggregate, version, position, time, state); raises UsageError for any
        other SQL. All of one state of the file.
        """
        for again in range(TRIES):
            try:
                names, first, rows = self._begin(sql, upcasting, states)
            except SegmentError:  # somebody may have moved it just now
                if again == TRIES - 1:
                    raise
            else:
                return names, self._answers(first, rows)
        raise AssertionError

    def _begin(
        self, sql: str, upcasting: Upcasting, states: Callable[[], Iterator[tuple[object, ...]]] | None
    ) -> tuple[list[str], list[Any], Rows]:
        """Columns, the first row if there is one, and the others, all of one state of the file."""
        if states is not None:
            with Translated(self._path):
                self._have_states(states)
        self._unguarded()
        with Translated(self._path), self._reading.pinned() as archived:
            if archived or upcasting:
                from esctl.store.upcasts import have_views  # noqa: PLC0415 - a plain log does without

                run(self._connection, "pragma query_only = off")  # temporary views stand before the log's own
                have_views(self._reading, self._upcast_compiler() if upcasting else None, upcasting, archived=archived)
                run(self._connection, "pragma query_only = on")
            self._connection.authorizer = authorize_reading  # from here on this connection answers questions only
            with _Question():
                names, rows = _selected(self._connection, sql)
                return names, list(islice(rows, 1)), rows

    def _have_states(self, states: Callable[[], Iterator[tuple[object, ...]]]) -> None:
        """Have the temporary table `states`, of a state of the file that is kept until the connection is closed.

        Rows come from folds on this connection, so some at a time.
        """
        self._guarding()
        if self._connection.in_transaction:
            run(self._connection, "rollback")
        run(self._connection, "begin; drop table if exists temp.states")
        run(self._connection, "create temp table states (stream, aggregate, version, position, time, state)")
        rows = states()
        while some := list(islice(rows, ROWS_OF_STATES)):
            self._connection.executemany("insert into temp.states values (?, ?, ?, ?, ?, ?)", some)

    def _answers(self, first: list[Any], rows: Rows) -> Rows:
        yield from first
        with Translated(self._path), _Question():
            yield from rows


class _Question:
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


def _selected(connection: apsw.Connection, sql: str) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
    """The columns and rows of one SELECT; who may ask what is the caller's to see to.

    Raises ValueError for what is more than one statement, none, or takes parameters.
    """
    import re  # noqa: PLC0415 - only a question needs it

    text, asked = sql.strip(), _Statement()
    cursor = connection.cursor()
    cursor.exec_trace = asked.trace
    try:
        cursor.execute(text, can_cache=False)
    except apsw.BindingsError as error:
        raise ValueError("it takes parameters") from error
    except apsw.ExecTraceAbort:
        pass
    if re.sub(_COMMENTS, "", text[len(asked.first) :]).strip() or asked.explains or not asked.names:
        raise ValueError("it is not one SELECT without parameters")
    if len(set(asked.names)) < len(asked.names):
        raise ValueError("two of its columns have one name; name them with AS")
    return asked.names, iter(connection.execute(asked.first))


class _Statement:
    """What SQLite makes of a question before it runs: its first statement, its columns, whether it explains another.

    `apsw.ext.query_info` tells the same, and takes three cold starts to load.
    """

    def __init__(self) -> None:
        self.first, self.explains, self.names = "", 0, list[str]()

    def trace(self, cursor: apsw.Cursor, first: str, _: object) -> bool:
        """Note it, and do not run it."""
        self.first, self.explains = first, cursor.is_explain
        self.names = [name for name, *_ in cursor.get_description()]
        return False
