"""Questions: one SELECT from outside over the tables of a log, the view `log`, and states."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice, pairwise
from types import TracebackType

import apsw

from esctl.errors import SegmentError, UsageError
from esctl.sql.judge import authorize_reading, is_taken
from esctl.store.errors import Translated
from esctl.store.opening import run
from esctl.store.windows import Reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from esctl.events.query import Upcasting
    from esctl.store.errors import Steps
    from esctl.store.guard import Guard
    from esctl.store.upcasts import UpcastCompiler

ROWS_PER_INSERT = 1000
TRIES = 10  # if a segment is moved meanwhile
_OWN = ("log", "states")  # what a question reads that has times of the log
_NAMED_SO = (
    "select distinct t.name from main.sqlite_schema t join pragma_table_xinfo(t.name) c"
    " where t.type = 'table' and lower(c.name) in ('time', 'recorded')"
)
FAILED_ON_A_ROW = "failed-on-a-row"  # the code of an error of SQL that can be compiled
_UNREADABLE = ("no such ", "near ", "ambiguous", "misuse", "wrong number", "unrecognized", "incomplete")
_COMMENTS = r"(?s)--[^\n]*|/\*.*?\*/"

Rows = Iterator[tuple["Any", ...]]


class Questions:
    """Questions on one connection, which after the first one can do nothing else."""

    def __init__(
        self,
        reading: Reading,
        guarding: Callable[[], Guard],
        unguarded: Callable[[], None],
        upcast_compiler: Callable[[], UpcastCompiler],
        steps: Steps,
    ) -> None:
        """`guarding` installs the authorizer for models on the connection, `unguarded` removes it; `steps` limits the
        time of each step.
        """
        self._reading, self._connection, self._path = reading, reading.connection, reading.path
        self._guarding, self._unguarded, self._upcast_compiler = guarding, unguarded, upcast_compiler
        self._steps = steps

    def ask(
        self, sql: str, upcasting: Upcasting, states: Callable[[], Iterator[tuple[object, ...]]] | None = None
    ) -> tuple[list[str], Rows]:
        """Columns and rows of a SELECT over the tables, the view `log` of upcast events, and the table `states`.

        `states` gives the rows of that table (stream, aggregate, version, position, time, state). Everything is of one
        state of the file. Raises UsageError for any other SQL.
        """
        for again in range(TRIES):
            try:
                names, first, rows = self._begin(sql, upcasting, states)
            except SegmentError:  # another process may have moved it
                if again == TRIES - 1:
                    raise
            else:
                return names, self._answers(first, rows)
        raise AssertionError

    def _begin(
        self, sql: str, upcasting: Upcasting, states: Callable[[], Iterator[tuple[object, ...]]] | None
    ) -> tuple[list[str], list[Any], Rows]:
        """The columns, a list with the first row if there is one, and the other rows, all of one state of the file."""
        if states is not None:
            with Translated(self._path):
                self._have_states(states)
        self._unguarded()
        with Translated(self._path), self._reading.pinned() as archived:
            if archived or upcasting:
                from esctl.store.upcasts import have_views  # noqa: PLC0415 - a plain log does without

                run(self._connection, "pragma query_only = off")  # names resolve to temporary views first
                have_views(self._reading, self._upcast_compiler() if upcasting else None, upcasting, archived=archived)
                run(self._connection, "pragma query_only = on")
            sql = _with_moments(self._connection, sql)
            self._connection.authorizer = authorize_reading  # from now on the connection can only read
            with _Question():
                names, statement = _selected(self._connection, sql)
                rows = self._steps.rows(lambda: self._connection.execute(statement))
                return names, list(islice(rows, 1)), rows

    def _have_states(self, states: Callable[[], Iterator[tuple[object, ...]]]) -> None:
        """Create the temporary table `states`; its transaction stays open until the connection is closed.

        Rows come from folds on this connection, so they are inserted in batches.
        """
        self._guarding()
        if self._connection.in_transaction:
            run(self._connection, "rollback")
        run(self._connection, "begin; drop table if exists temp.states")
        run(self._connection, "create temp table states (stream, aggregate, version, position, time, state)")
        rows = states()
        while some := list(islice(rows, ROWS_PER_INSERT)):
            self._connection.executemany("insert into temp.states values (?, ?, ?, ?, ?, ?)", some)

    def _answers(self, first: list[Any], rows: Rows) -> Rows:
        yield from first
        with Translated(self._path), _Question():
            yield from rows


class _Question:
    """A block in which SQLite's errors are errors of the question."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(
            error, apsw.SQLError | apsw.AuthError | apsw.TooBigError | apsw.ExecutionCompleteError | ValueError
        ):
            compiles = isinstance(error, apsw.SQLError) and not str(error).startswith(_UNREADABLE)
            raise UsageError(
                f"the SQL cannot be run: {error}",
                why="a query is one SELECT over log, states, a projection, or the tables of esctl help format",
                fix="esctl query 'select * from log limit 5'",
                code=FAILED_ON_A_ROW if compiles else "",
            ) from error


def _with_moments(connection: apsw.Connection, sql: str) -> str:
    """The SQL with literals beside times of the log in the log's form.

    If it reads a projection with a column of such a name, which may have any form, the log's must be qualified.
    """
    from esctl.sql.moments import with_moments  # noqa: PLC0415 - only a question needs it
    from esctl.sql.tokens import words_of  # noqa: PLC0415

    if (rewritten := with_moments(sql)) == sql:
        return sql
    words = [word.lower() for word in words_of(sql)]
    rows: Any = connection.execute(_NAMED_SO)
    if not any(name.lower() in words and not is_taken(name) for (name,) in rows):
        return rewritten
    words = [word for word in words if word != "as"]
    aliases = {alias for name, alias in pairwise(words) if name in _OWN}
    return with_moments(sql, {*_OWN, *aliases})


def _selected(connection: apsw.Connection, sql: str) -> tuple[list[str], str]:
    """Columns and text of one SELECT; the caller restricts what it may read. Raises ValueError unless it is exactly one
    statement with columns and without parameters.
    """
    import re  # noqa: PLC0415 - only a question needs it

    text, statement = sql.strip(), _Statement()
    cursor = connection.cursor()
    cursor.exec_trace = statement.trace
    try:
        cursor.execute(text, can_cache=False)
    except apsw.BindingsError as error:
        raise ValueError("it takes parameters") from error
    except apsw.ExecTraceAbort:
        pass
    if re.sub(_COMMENTS, "", text[len(statement.first) :]).strip() or statement.explains or not statement.names:
        raise ValueError("it is not one SELECT without parameters")
    if len(set(statement.names)) < len(statement.names):
        raise ValueError("two of its columns have one name; name them with AS")
    return statement.names, statement.first


class _Statement:
    """How SQLite parses a question: its first statement, its columns, whether it is an EXPLAIN.

    `apsw.ext.query_info` does the same, and takes three cold starts to load.
    """

    def __init__(self) -> None:
        self.first, self.explains, self.names = "", 0, list[str]()

    def trace(self, cursor: apsw.Cursor, first: str, _: object) -> bool:
        """Record the statement, and do not run it."""
        self.first, self.explains = first, cursor.is_explain
        self.names = [name for name, *_ in cursor.get_description()]
        return False
