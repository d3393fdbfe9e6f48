"""A query as SQL over the tables of a log: rows, or whole lines that SQLite puts together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import apsw

from esctl.query import Query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Row = tuple[Any, ...]

COLUMNS = (
    "e.position, s.name, e.version, e.id, t.name, e.schema, e.time, e.recorded, e.data, e.meta, e.salt, e.hash"
)
# printf is the fastest way to put text together in SQL. Times need no quoting; names may hold quotes and backslashes.
_EVENT = (
    '{"position":%d,"stream":%s,"version":%d,"id":%s,"type":%s,"schema":%d,"time":"%s","recorded":"%s","data":%s,"meta":%s'
)
_VALUES = (
    "e.position, json_quote(s.name), e.version, json_quote(e.id), json_quote(t.name), e.schema, e.time, e.recorded,"
    " e.data, e.meta"
)
LINES = {
    "line": f"cast(printf('{_EVENT}}}%s', {_VALUES}, char(10)) as blob)",
    "hash": f"""cast(printf('{_EVENT},"salt":"%s","hash":"%s"}}%s', {_VALUES},
                lower(hex(e.salt)), lower(hex(e.hash)), char(10)) as blob)""",
    "data": "cast(e.data || char(10) as blob)",
}
CHUNK_EVENTS = 1000  # a statement reads so many at most, then lets go of its read transaction
CHUNK_BYTES = 1024 * 1024  # and stops after about so much, so that memory does not follow the size of events
STEP = 32


class Bounded:
    """A query resolved against the tables: what every chunk of it has in common.

    `key` is the column that orders and bounds the read (the version within one stream, the position otherwise);
    both bounds are inclusive, and nothing is read where `low > high`.
    """

    __slots__ = ("conditions", "high", "key", "limit", "low", "parameters", "reverse")

    def __init__(self, key: str, low: int, high: int, query: Query) -> None:
        self.key, self.low, self.high = key, low, high
        self.conditions: list[str] = []
        self.parameters: dict[str, object] = {}
        self.reverse, self.limit = query.reverse, query.limit

    def nothing(self) -> None:
        """No event can match."""
        self.low, self.high = 1, 0

    def sql(self, columns: str, *, reverse: bool) -> str:
        """One chunk, with the parameters :low, :high and :chunk beside `parameters`.

        CROSS JOIN keeps the events outermost: a plan that starts from streams or types would sort all it found.
        """
        conditions = " and ".join([f"{self.key} between :low and :high", *self.conditions])
        return (
            f"select {columns} from events e cross join streams s on s.stream_id = e.stream_id"
            f" cross join types t on t.type_id = e.type_id where {conditions}"
            f" order by {self.key}{' desc' if reverse else ''} limit :chunk"
        )


def resolve(connection: apsw.Connection, query: Query, until: int) -> Bounded:
    """Bind a query that ends at position `until` to the tables as they are."""
    if query.stream is None:
        bounded = Bounded("e.position", query.since, until, query)
        _by_category(bounded, query)
    else:
        bounded = Bounded("e.version", query.since_version or 1, query.until_version or 2**63 - 1, query)
        _by_stream(connection, bounded, query, until)
    _by_type(connection, bounded, query)
    for name, operator, value in (("since_time", ">=", query.since_time), ("until_time", "<=", query.until_time)):
        if value is not None:
            bounded.conditions.append(f"e.time {operator} :{name}")
            bounded.parameters[name] = value
    if query.last is not None:
        _keep_last(connection, bounded, query.last)
    return bounded


def _by_stream(connection: apsw.Connection, bounded: Bounded, query: Query, until: int) -> None:
    """Versions and positions of a stream grow together, so bounds on the position become bounds on the version."""
    row = connection.execute(
        "select stream_id, version from streams where name = ?", (query.stream,)
    ).fetchone() or (0, 0)
    stream_id, version = row
    bounded.conditions.insert(0, "e.stream_id = :stream_id")
    bounded.parameters["stream_id"] = stream_id
    bounded.high = min(bounded.high, version)
    if query.until_version == 0:
        bounded.nothing()
    for bound, name, operator in ((query.since, "since", ">="), (until, "until", "<=")):
        bounded.conditions.append(f"e.position {operator} :{name}")
        bounded.parameters[name] = bound


def _by_category(bounded: Bounded, query: Query) -> None:
    if query.category is not None:
        # Names in `<category>-…` are those from `<category>-` up to `<category>.`, the character after the dash.
        bounded.conditions.append("(s.name = :category or s.name >= :category || '-' and s.name < :category || '.')")
        bounded.parameters["category"] = query.category
    elif not query.system:
        bounded.conditions.append("(s.name < '$' or s.name >= '%')")  # '%' follows '$': cheaper than a LIKE


def _by_type(connection: apsw.Connection, bounded: Bounded, query: Query) -> None:
    if not query.types:
        return
    numbers = [
        number
        for name in query.types
        for (number,) in connection.execute("select type_id from types where name = ?", (name,))
    ]
    if numbers:
        bounded.conditions.append(f"e.type_id in ({', '.join(map(str, numbers))})")
    else:
        bounded.nothing()


def _keep_last(connection: apsw.Connection, bounded: Bounded, last: int) -> None:
    """Raise the lower bound to the oldest of the newest `last` events that match."""
    if last == 0:
        bounded.nothing()
        return
    newest = bounded.sql(f"{bounded.key} as key", reverse=True)
    parameters = {**bounded.parameters, "low": bounded.low, "high": bounded.high, "chunk": last}
    oldest = connection.execute(f"select min(key) from ({newest})", parameters).fetchone()[0]
    if oldest is not None:
        bounded.low = oldest


def rows(connection: apsw.Connection, bounded: Bounded, columns: str) -> Iterator[Row]:
    """The columns of each event, in order; the payload has to be among them as the ninth and tenth."""
    for block in _blocks(connection, bounded, columns, lambda row: len(row[8]) + len(row[9])):
        for row in block:
            yield row[:-1]


def chunks(connection: apsw.Connection, bounded: Bounded, expression: str) -> Iterator[bytes]:
    """What `expression` makes of each event, in order, joined to chunks of about CHUNK_BYTES."""
    for block in _blocks(connection, bounded, expression, lambda row: len(row[0])):
        yield b"".join([row[0] for row in block])


def _blocks(
    connection: apsw.Connection, bounded: Bounded, columns: str, size: Callable[[Row], int]
) -> Iterator[list[Row]]:
    """Rows of `columns` and the key, a statement a block; between two blocks no transaction is open."""
    sql = bounded.sql(f"{columns}, {bounded.key}", reverse=bounded.reverse)
    low, high, left = bounded.low, bounded.high, bounded.limit if bounded.limit is not None else 2**63 - 1
    while low <= high and left > 0:
        asked = min(CHUNK_EVENTS, left)
        cursor = connection.execute(sql, {**bounded.parameters, "low": low, "high": high, "chunk": asked})
        block: list[Row] = []
        total = 0
        while total < CHUNK_BYTES and (step := list(islice(cursor, STEP))):
            block += step
            total += sum(map(size, step))
        cursor.close()
        if not block:
            return
        yield block
        left -= len(block)
        if bounded.reverse:
            high = block[-1][-1] - 1
        else:
            low = block[-1][-1] + 1
        if len(block) < asked and total < CHUNK_BYTES:
            return
