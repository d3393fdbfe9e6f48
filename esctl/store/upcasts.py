"""Upcasts as SQL: the columns that stored events are read as."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import apsw

from esctl.errors import MisfitError
from esctl.events.query import Shape, Upcasting
from esctl.sql.clock import names_dates, without_clock
from esctl.sql.conditions import CONDITION_COLUMNS
from esctl.sql.judge import FAIL, TRACE
from esctl.sql.payload import columns_of
from esctl.sql.quoting import text
from esctl.store.format import ARCHIVED
from esctl.store.windows import Reading

LONGEST_TEXT_BYTES = 64 * 1024 * 1024  # that a model's expression may create

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from esctl.events.event import Event

_STORED = {name: f"e.{name}" for name in CONDITION_COLUMNS} | {"stream": "s.name", "type": "t.name"}
_NUMBERS = "select type_id, name from carray(?) c cross join types on name = c.value order by type_id"
Cases = Mapping[int, Mapping[int, tuple[Shape, ...]]]


def have_views(reading: Reading, compiler: UpcastCompiler | None, upcasting: Upcasting, *, archived: bool) -> None:
    """Create temporary views, to which names resolve first: `log` of upcast events, and `events` including archived
    ones.
    """
    from esctl.store import reads  # noqa: PLC0415 - which imports this module when it needs it

    upcasts = compiler.compile(upcasting, system=True) if compiler else None
    conditions = f" where {' and '.join(upcasts.conditions)}" if upcasts and upcasts.conditions else ""
    columns = ", ".join(CONDITION_COLUMNS)
    connection, tables = reading.connection, (reading.hot, ARCHIVED) if archived else (reading.hot,)
    parts = [f"select {columns} from ({reads.source('', upcasts, table=table)}{conditions})" for table in tables]
    connection.execute("drop view if exists temp.log; drop view if exists temp.events").fetchall()
    connection.execute(f"create temp view log as {' union all '.join(parts)}").fetchall()
    if archived:
        both = reading.everywhere("select * from {events}")
        connection.execute(f"create temp view events as {both}").fetchall()


class UpcastSql:
    """SQL for the columns type, schema, data and part of an event, the join for splits, and the hidden events."""

    def __init__(self, cases: Cases, *, system: bool) -> None:
        most = max((len(shapes) for of in cases.values() for shapes in of.values()), default=0)
        split = any(shape.part for shape in shapes_of(cases))
        self.parts = most if split else 1
        self.split = split
        # The log's own events are never upcast, whatever a model says about types of their names.
        key = "iif(e.stream_id < 0, 0, e.type_id)" if system else "e.type_id"
        self.type = _case(key, cases, "t.name", lambda shape: text(shape.type))
        self.schema = _case(key, cases, "e.schema", lambda shape: str(shape.schema))
        # An erased payload (null) stays null.
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
        hidden = _case(key, cases, "0", _hidden)
        if any(shape.hidden for shape in shapes_of(cases)):
            self.conditions.append(f"not {hidden}")
        self.quoting = any('"' in shape.type or "\\" in shape.type for shape in shapes_of(cases))

    def join(self, *, reverse: bool) -> str:
        """The join for splits: a row per part; in reverse, the last part first."""
        if not self._counts:
            return ""
        numbers = sorted(range(1, self.parts + 1), reverse=reverse)
        return f" cross join ({' union all '.join(f'select {n} as n' for n in numbers)}) p on p.n <= {self._counts}"


def _hidden(shape: Shape) -> str:
    """Whether an event is hidden; an erased one is if that does not depend on its payload."""
    if not shape.hidden:
        return "0"
    reads_payload = not {"data", "meta"}.isdisjoint(columns_of(shape.hidden, failing=False))
    asked = _over_new(shape.hidden)
    return f"iif(e.data is null, 0, {asked})" if reads_payload else asked


class UpcastCompiler:
    """The functions that a model's expressions need on a connection, and upcasts compiled for its types.

    Defining a function makes SQLite prepare every statement again, and is impossible while one runs: each is defined
    once. The last compiled upcasts are cached, since most queries use one model.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self.on_misfit: Callable[[object, object], None] | None = None
        self._traced = ""  # the place in the model that a traced expression came to last
        self._clockless = False
        # One opcode may copy the longest text: the shorter that is, the sooner the time limit takes effect.
        largest: int = connection.execute("select largest from head").get
        connection.limit(apsw.SQLITE_LIMIT_LENGTH, min(max(LONGEST_TEXT_BYTES, 4 * largest), 2**31 - 1))
        self._cached: tuple[object, ...] = ()
        connection.create_scalar_function(FAIL, self._fail, 2)  # type: ignore[arg-type]  # it takes any two values
        connection.create_scalar_function(TRACE, self._trace, 2)  # type: ignore[arg-type]  # it takes a text and any value

    def _fail(self, position: Any, reason: Any) -> None:
        (self.on_misfit or fail)(position, reason)

    def _trace(self, place: Any, value: Any) -> Any:
        self._traced = place
        return value

    def take_trace(self) -> str:
        """The place that was noted last; it is then forgotten."""
        place, self._traced = self._traced, ""
        return place

    def allow(self, *expressions: str | None) -> None:
        """Prepare the connection for expressions: none of them may read the clock."""
        if not self._clockless and any(names_dates(expression or "") for expression in expressions):
            without_clock(self._connection)
            self._clockless = True

    def compile(self, upcasting: Upcasting, *, system: bool) -> UpcastSql | None:
        """The upcasts of the types that the log has; None if it has none of them. `system`: the log's own events are
        read, too.
        """
        numbers = tuple(self._connection.execute(_NUMBERS, (apsw.carray(tuple(upcasting)),)))
        key = id(upcasting), system, numbers
        if self._cached[:3] != key or self._cached[3] is not upcasting:
            cases = {number: upcasting[name] for number, name in numbers}
            for shape in shapes_of(cases):
                self.allow(shape.data, shape.hidden)
            self._cached = (*key, upcasting, UpcastSql(cases, system=system) if cases else None)
        compiled: UpcastSql | None = self._cached[4]  # type: ignore[assignment]  # as it was put there
        return compiled


def shapes_of(cases: Cases) -> Iterator[Shape]:
    """Every shape that events may be read as."""
    return (shape for schemas in cases.values() for shapes in schemas.values() for shape in shapes)


def fail(position: Any, reason: Any) -> None:
    """The implementation of the SQL function FAIL."""
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
    """The value of an expression over `new` for an event."""
    columns = ", ".join(f"? as {name}" for name in CONDITION_COLUMNS)
    value: str = connection.execute(f"select {expression} from (select {columns}) as new", event).get
    return value


def _case(key: str, cases: Cases, otherwise: str, of: Callable[[Shape], str]) -> str:
    """The SQL of a column, by stored type, by schema, and by part if there are several."""
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
    """The number of events that each is read as; with `only` 0, a condition that excludes those that are dropped."""
    types = []
    for number, schemas in cases.items():
        whens = [f"when {schema} then {len(s)}" for schema, s in schemas.items() if only is None or len(s) == only]
        if whens:
            types.append(f"when {number} then case e.schema {' '.join(whens)} else 1 end")
    return f"case {key} {' '.join(types)} else 1 end" if types else "" if only is not None else "1"
