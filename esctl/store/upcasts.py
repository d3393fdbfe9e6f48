"""What stored events are read as, woven into the one source of events as SQL over its tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import apsw

from esctl.errors import MisfitError
from esctl.events.query import Shape, Upcasting
from esctl.sql.clock import names_dates, without_clock
from esctl.sql.conditions import CONDITION_COLUMNS
from esctl.sql.judge import FAIL
from esctl.sql.payload import columns_of
from esctl.sql.quoting import text
from esctl.store.format import ARCHIVED
from esctl.store.windows import Reading

LONGEST_TEXT_BYTES = 64 * 1024 * 1024  # bytes of a text that a model's expression may make

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from esctl.events.event import Event

_STORED = {name: f"e.{name}" for name in CONDITION_COLUMNS} | {"stream": "s.name", "type": "t.name"}
_NUMBERS = "select type_id, name from carray(?) c cross join types on name = c.value order by type_id"
Cases = Mapping[int, Mapping[int, tuple[Shape, ...]]]


def have_views(reading: Reading, compiler: UpcastCompiler | None, upcasting: Upcasting, *, archived: bool) -> None:
    """Have temporary views, which names without a schema find first: `log` of events as they are read, and `events` of
    the archived ones too.
    """
    from esctl.store import reads  # noqa: PLC0415 - which imports this module when it needs it

    made = compiler.compile(upcasting, system=True) if compiler else None
    conditions = f" where {' and '.join(made.conditions)}" if made and made.conditions else ""
    columns = ", ".join(CONDITION_COLUMNS)
    connection, tables = reading.connection, (reading.hot, ARCHIVED) if archived else (reading.hot,)
    parts = [f"select {columns} from ({reads.source('', made, table=table)}{conditions})" for table in tables]
    connection.execute("drop view if exists temp.log; drop view if exists temp.events").fetchall()
    connection.execute(f"create temp view log as {' union all '.join(parts)}").fetchall()
    if archived:
        both = reading.everywhere("select * from {events}")
        connection.execute(f"create temp view events as {both}").fetchall()


class UpcastSql:
    """The columns type, schema, data and part of an event; what is joined for splits; which events are hidden."""

    def __init__(self, cases: Cases, *, system: bool) -> None:
        most = max((len(shapes) for of in cases.values() for shapes in of.values()), default=0)
        split = any(shape.part for shape in shapes_of(cases))
        self.parts = most if split else 1
        self.split = split
        # The log's own events are what they are, whatever a model says of types of their names.
        key = "iif(e.stream_id < 0, 0, e.type_id)" if system else "e.type_id"
        self.type = _case(key, cases, "t.name", lambda shape: text(shape.type))
        self.schema = _case(key, cases, "e.schema", lambda shape: str(shape.schema))
        # A payload that was erased (null) stays so, and is not looked into.
        self.data = _case(
            key,
            cases,
            "e.data",
            lambda shape: "e.data" if shape.data is None else f"iif(e.data is null, null, {_over_new(shape.data)})",
        )
        self.part = _case(key, cases, "0", lambda shape: str(shape.part)) if split else "0"
        self._counts = _counts(key, cases) if split else ""
        self.conditions: list[str] = []
        if not split and (dropped := _counts(key, cases, only=0)):
            self.conditions.append(dropped)
        hidden = _case(
            key,
            cases,
            "0",
            lambda shape: f"iif(e.data is null, 0, {_over_new(shape.hidden)})" if shape.hidden else "0",
        )
        if any(shape.hidden for shape in shapes_of(cases)):
            self.conditions.append(f"not {hidden}")
        self.quoting = any('"' in shape.type or "\\" in shape.type for shape in shapes_of(cases))

    def join(self, *, reverse: bool) -> str:
        """What is joined for splits: a row a part, the last first in reverse."""
        if not self._counts:
            return ""
        numbers = sorted(range(1, self.parts + 1), reverse=reverse)
        return f" cross join ({' union all '.join(f'select {n} as n' for n in numbers)}) p on p.n <= {self._counts}"


class UpcastCompiler:
    """What a connection needs to run a model's expressions: their functions, and upcasts woven for its types.

    A function that is defined again makes SQLite prepare every statement anew, and cannot be while one runs: each is
    defined once. What was woven last is kept, since most queries are of one model.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self.noted: Callable[[object, object], None] | None = None
        self._clockless = False
        # One opcode may copy as much as the longest text: the shorter that is, the sooner a limit of time holds.
        largest: int = connection.execute("select largest from head").get
        connection.limit(apsw.SQLITE_LIMIT_LENGTH, max(LONGEST_TEXT_BYTES, 4 * largest))
        self._kept: tuple[object, ...] = ()
        connection.create_scalar_function(FAIL, self._fail, 2)  # type: ignore[arg-type]  # it takes any two values

    def _fail(self, position: Any, reason: Any) -> None:
        (self.noted or fail)(position, reason)

    def allow(self, *expressions: str | None) -> None:
        """Make the connection fit for expressions: none of them reads the clock."""
        if not self._clockless and any(names_dates(expression or "") for expression in expressions):
            without_clock(self._connection)
            self._clockless = True

    def compile(self, upcasting: Upcasting, *, system: bool) -> UpcastSql | None:
        """The upcasts of the types that the log has; None where it has none of them. `system`: the log's own events
        are read too.
        """
        numbers = tuple(self._connection.execute(_NUMBERS, (apsw.carray(tuple(upcasting)),)))
        key = id(upcasting), system, numbers
        if self._kept[:3] != key or self._kept[3] is not upcasting:
            cases = {number: upcasting[name] for number, name in numbers}
            for shape in shapes_of(cases):
                self.allow(shape.data, shape.hidden)
            self._kept = (*key, upcasting, UpcastSql(cases, system=system) if cases else None)
        made: UpcastSql | None = self._kept[4]  # type: ignore[assignment]  # as it was put there
        return made


def shapes_of(cases: Cases) -> Iterator[Shape]:
    """Everything that events may be read as."""
    return (shape for schemas in cases.values() for shapes in schemas.values() for shape in shapes)


def fail(position: Any, reason: Any) -> None:
    """What the function FAIL does."""
    raise MisfitError(
        f"the event at position {position} does not fit the model: {reason}",
        fix=f"esctl replay --since '#{position:d}' --limit 1 --raw-schema",
        position=position,
        reason=reason,
    )


def _over_new(sql: str) -> str:
    """An expression over `new` where the stored event is in the tables e, s and t."""
    columns = ", ".join(f"{_STORED[name]} as {name}" for name in columns_of(f"{sql} new.data"))
    return f"(select {sql} from (select {columns} limit 1 offset 0) as new)"


def evaluated(connection: apsw.Connection, expression: str, event: Event) -> str:
    """What an expression over `new` says of an event."""
    columns = ", ".join(f"? as {name}" for name in CONDITION_COLUMNS)
    made: str = connection.execute(f"select {expression} from (select {columns}) as new", event).get
    return made


def _case(key: str, cases: Cases, otherwise: str, of: Callable[[Shape], str]) -> str:
    """What a column is, by stored type, schema, and part where there are several."""
    types = []
    for number, schemas in cases.items():
        whens = []
        for schema, shapes in schemas.items():
            if len(shapes) > 1:
                parts = " ".join(f"when {n} then {of(shape)}" for n, shape in enumerate(shapes, 1))
                whens.append(f"when {schema} then case p.n {parts} end")
            elif shapes:
                whens.append(f"when {schema} then {of(shapes[0])}")
        if whens:
            types.append(f"when {number} then case e.schema {' '.join(whens)} else {otherwise} end")
    return f"case {key} {' '.join(types)} else {otherwise} end" if types else otherwise


def _counts(key: str, cases: Cases, only: int | None = None) -> str:
    """How many events each is read as; with `only` 0, a condition that keeps those that are read at all."""
    types = []
    for number, schemas in cases.items():
        whens = [f"when {schema} then {len(s)}" for schema, s in schemas.items() if only is None or len(s) == only]
        if whens:
            types.append(f"when {number} then case e.schema {' '.join(whens)} else 1 end")
    return f"case {key} {' '.join(types)} else 1 end" if types else "" if only is not None else "1"
