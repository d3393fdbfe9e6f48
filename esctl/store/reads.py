"""A query as SQL over the tables of a log: rows, or lines that SQLite formats."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice

import apsw

from esctl.events import system
from esctl.events.query import NO_UPCASTS, Query
from esctl.store.errors import altered
from esctl.store.format import ARCHIVED, HOT
from esctl.store.windows import POINTS, POSITIONS_PER_STATEMENT, Reading, Windows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from esctl.events.query import Upcasting
    from esctl.store.candidates import Candidates, Filter
    from esctl.store.errors import Patience, Steps
    from esctl.store.upcasts import UpcastCompiler, UpcastSql

    Row = tuple[Any, ...]

# A stream's version is a seek in the index. A column for it would be one more random page to write for nearly every
# event of a log with many streams: measured 2.4 of 14 microseconds an event.
VERSION = "max(s.archived, ifnull((select max(version) from events e where e.stream_id = s.stream_id), 0))"
COLUMNS = "position, stream, version, id, type, schema, time, recorded, data, meta, salt, hash"
# CROSS JOIN keeps the events outermost: a plan that starts from streams or types would sort all it found.
# The index is named, too (NOT INDEXED: by position), since statistics from an ANALYZE could suggest another.
_SOURCE = """
select e.position, {stream} as stream, e.version, e.id, {type} as type, {schema} as schema, e.time, e.recorded,
       {data} as data, e.meta, e.salt, e.hash, {part} as part, e.stream_id,
       e.type_id
from {lead}{table} e {way_in}{names}{join}"""
_JOINED = """ cross join streams s on s.stream_id = e.stream_id
     cross join types t on t.type_id = e.type_id"""
NOT_OWN = "e.stream_id > 0"  # the log's own streams have negative numbers
# printf is the fastest way to format text in SQL. Times need no quoting, and names rarely do: it costs a tenth.
_NAMES = {
    True: ('"stream":%s', '"id":%s', '"type":%s', "json_quote(stream)", "json_quote(id)", "json_quote(type)"),
    False: ('"stream":"%s"', '"id":"%s"', '"type":"%s"', "stream", "id", "type"),
}


def source(
    way_in: str,
    upcasts: UpcastSql | None,
    *,
    reverse: bool = False,
    lead: str = "",
    table: str = HOT,
    names: bool = True,
) -> str:
    """The SELECT behind every read of events, with their upcasts.

    `way_in` names the index to use, `lead` precedes the events in the joins, `table` contains them. Without `names`,
    stream and type are null and not looked up.
    """
    parts = {"lead": lead, "table": table, "way_in": way_in, "stream": "s.name", "names": _JOINED}
    if not names:
        parts |= {"stream": "null", "names": ""}
    if upcasts is None:
        return _SOURCE.format(
            **parts, type="t.name" if names else "null", schema="e.schema", data="e.data", part="0", join=""
        )
    join = upcasts.join(reverse=reverse)
    return _SOURCE.format(
        **parts, type=upcasts.type, schema=upcasts.schema, data=upcasts.data, part=upcasts.part, join=join
    )


def _line(form: str, *, quoting: bool, parts: bool = False, erased: bool = False) -> str:
    """The SQL expression of a line, without its LF. `quoting`: names may contain quotes and backslashes; `parts`:
    events may be split; `erased`: payloads may be erased.
    """
    data, meta = ("ifnull(data, 'null')", "ifnull(meta, 'null,\"erased\":true')") if erased else ("data", "meta")
    if form == "data":
        return f"cast({data} as blob)"
    stream, id_, type_, stream_value, id_value, type_value = _NAMES[quoting]
    number, version = (
        ('"version":%s', "version || iif(part, ',\"part\":' || part, '')") if parts else ('"version":%d', "version")
    )
    text = f'''{{"position":%d,{stream},{number},{id_},{type_},"schema":%d,"time":"%s","recorded":"%s"'''
    text += ',"data":%s,"meta":%s'
    values = f"position, {stream_value}, {version}, {id_value}, {type_value}, schema, time, recorded, {data}, {meta}"
    if form == "hash":
        text += '%s,"hash":"%s"'
        proof = 'printf(\',"salt":"%s"\', lower(hex(salt)))'
        if erased:
            digest = "(select digest from erased g where g.position = lines.position)"
            proof = f'iif(salt is null, printf(\',"digest":"%s"\', lower(hex({digest}))), {proof})'
        values += f", {proof}, lower(hex(hash))"
    return f"cast(printf('{text}}}', {values}) as blob)"


def line_of(connection: apsw.Connection, upcasts: UpcastSql | None, form: str = "line") -> str:
    """The SQL expression of a whole line, without its LF."""
    quoting, erased = connection.execute("select quoting, exists(select 1 from erased) from head").get
    quoting = bool(quoting or (upcasts and upcasts.quoting))
    return _line(form, quoting=quoting, parts=bool(upcasts and upcasts.split), erased=bool(erased))


SAFE_BYTES = 64 * 1024 * 1024  # a window that is surely smaller is fetched at once, which is fastest
NO_LIMIT = 2**63 - 1
LEAST_POSITIONS = 2000  # of a scan that looks first where its events may be
STEP_BYTES = 4 * 1024 * 1024  # larger windows are fetched in steps of about this size


class _Endless:
    """A block in which a statement may run without a limit."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


_ENDLESS = _Endless()


class Scan:
    """A query resolved against the tables: what all its windows have in common.

    `key` orders and bounds the read: the version within one stream, else the position. Both bounds are inclusive;
    nothing is read if `low > high`.
    """

    __slots__ = (
        "conditions", "high", "hot_only", "key", "limit", "low", "outer", "parameters", "patience", "plain", "ranged",
        "reverse", "skip", "types", "upcasts", "wanted"
    )  # fmt: skip

    def __init__(self, key: str, low: int, high: int, query: Query) -> None:
        self.key, self.low, self.high = key, low, high
        self.conditions: list[str] = []
        self.parameters: dict[str, object] = {}
        self.reverse = query.reverse
        # Conditions on the upcast event. The line feed ends a comment at the end of the condition.
        self.outer: list[str] = []
        if query.where:
            from esctl.sql.moments import in_condition  # noqa: PLC0415 - few queries have a condition

            self.outer = [f"({in_condition(query.where)}\n)"]
        self.upcasts: UpcastSql | None = None
        self.hot_only = query.hot_only
        self.types: list[int] | None = None  # the numbers of the only types that are read
        self.wanted: Filter | None = None  # what some of the conditions say
        self.plain = False  # whether it reads all events, or all but the log's own
        self.ranged: tuple[int, list[tuple[int, int]]] = (-1, [])
        self.patience: Patience | Steps | _Endless = _ENDLESS
        self.skip = 0  # so many parts of the event at `low` are skipped
        self.limit = NO_LIMIT if query.limit is None else query.limit

    def nothing(self) -> None:
        """Make the scan empty."""
        self.low, self.high = 1, 0

    def ranges(self, reading: Reading, generation: int) -> list[tuple[int, int]]:
        """The archived keys, as ranges in order."""
        if self.ranged[0] != generation and reading.archive is not None:
            stream_id = self.parameters.get("stream_id") if self.key == "version" else None
            self.ranged = generation, reading.archive.ranges(stream_id)
        return self.ranged[1]

    def candidates(self, reading: Reading, *, reverse: bool) -> Candidates | None:
        """The positions that may match; None: all."""
        if not self.wanted or self.high - self.low < LEAST_POSITIONS:
            return None
        from esctl.store.candidates import Candidates  # noqa: PLC0415 - only long logs need it

        return Candidates(reading, self.wanted, self.low, self.high, reverse=reverse)

    def sql(self, columns: str, *, reverse: bool, table: str = HOT, names: bool = True, points: bool = False) -> str:
        """The statement, with the parameters :low, :high and :most besides `parameters`; with `points`, for these keys
        only.
        """
        way_in = "" if self.key == "version" else "not indexed"
        keys = f"in (select value from carray(:{POINTS}))" if points else "between :low and :high"
        conditions = " and ".join([f"e.{self.key} {keys}", *self.conditions])
        order = f"{self.key} desc" if reverse else self.key
        where = f"where {' and '.join(self.outer)} " if self.outer else ""
        inner = source(way_in, self.upcasts, reverse=reverse, table=table, names=names)
        inner = f"{inner} where {conditions}"
        offset = f" offset iif(:low = {self.low}, {self.skip}, 0)" if self.skip else ""
        if self.upcasts is None:
            return f"select {columns} from ({inner}) lines {where}order by {order} limit :most{offset}"
        # A SELECT with a limit of its own is not flattened into the outer one, which would upcast an event once for
        # each use of its payload. It runs as a co-routine, whose rows come in its own order.
        return f"select {columns} from ({inner} order by e.{order} limit -1) lines {where}limit :most{offset}"


def resolve(
    reading: Reading,
    query: Query,
    until: int,
    compiler: UpcastCompiler | None = None,
    upcasting: Upcasting = NO_UPCASTS,
) -> Scan:
    """Resolve a query that ends at position `until` against the tables; with a compiler, events are upcast."""
    connection = reading.connection
    if query.stream is None:
        scan = Scan("position", max(1, query.since), until, query)
        _by_category(scan, query)
        scan.plain = query.category is None
    else:
        scan = Scan("version", query.since_version or 1, query.until_version or 2**63 - 1, query)
        _by_stream(connection, scan, query, until)
    if compiler is not None:
        scan.upcasts = compiler.compile(
            upcasting, system=query.system or query.stream is not None or query.category is not None
        )
        scan.conditions += scan.upcasts.conditions if scan.upcasts else ()
    _by_type(connection, scan, query, upcasting)
    if scan.key == "position":
        scan.wanted = _wanted(connection, scan, query, upcasting)
    for name, operator, value in (("since_time", ">=", query.since_time), ("until_time", "<=", query.until_time)):
        if value is not None:
            scan.conditions.append(f"e.time {operator} :{name}")
            scan.parameters[name] = value
    scan.plain = scan.plain and scan.upcasts is None and not scan.outer and len(scan.conditions) <= 1
    if scan.plain and scan.conditions:
        scan.plain = scan.conditions == [NOT_OWN]
    if query.last is not None:
        _keep_last(reading, scan, query.last)
    return scan


def _by_stream(connection: apsw.Connection, scan: Scan, query: Query, until: int) -> None:
    """Versions and positions of a stream grow together, so bounds on positions are mere conditions. No version is
    greater than its event's position.
    """
    stream_id, version = connection.execute(
        f"select s.stream_id, {VERSION} from streams s where s.name = ?", (query.stream,)
    ).get or (0, 0)
    scan.conditions.insert(0, "e.stream_id = :stream_id")
    scan.parameters["stream_id"] = stream_id
    scan.high = min(scan.high, version, until)
    if query.until_version == 0:
        scan.nothing()
    for bound, name, operator in ((query.since, "since", ">="), (until, "until", "<=")):
        scan.conditions.append(f"+e.position {operator} :{name}")  # +: not by an index
        scan.parameters[name] = bound


def _by_category(scan: Scan, query: Query) -> None:
    if query.category is not None:
        # Names in `<category>-…` are those from `<category>-` up to `<category>.`, the character after the dash.
        scan.conditions.append("(s.name = :category or s.name >= :category || '-' and s.name < :category || '.')")
        scan.parameters["category"] = query.category
    elif not query.system:
        scan.conditions.append(NOT_OWN)


def _by_type(connection: apsw.Connection, scan: Scan, query: Query, upcasting: Upcasting) -> None:
    if not query.types:
        return
    if scan.upcasts is not None:
        scan.outer.append(f"type in ({', '.join(f':type{n}' for n in range(len(query.types)))})")
        scan.parameters.update({f"type{n}": name for n, name in enumerate(query.types)})
    scan.types = _numbers(connection, scan, query.types, upcasting)
    if scan.types:
        scan.conditions.append(f"e.type_id in ({', '.join(map(str, scan.types))})")
    else:
        scan.nothing()


def _numbers(connection: apsw.Connection, scan: Scan, types: Iterable[str], upcasting: Upcasting) -> list[int]:
    """The numbers of the stored types of events that may be read as some types."""
    types = set(types)
    stored = dict.fromkeys(types)
    if scan.upcasts is not None:  # stored types may have old names, or be read as other types
        stored |= {
            n: None for n, schemas in upcasting.items() for s in schemas.values() if any(p.type in types for p in s)
        }
    sql = "select type_id from types where name = ?"
    return [number for name in stored for (number,) in connection.execute(sql, (name,))]


def _wanted(connection: apsw.Connection, scan: Scan, query: Query, upcasting: Upcasting) -> Filter | None:
    """What a query's filters say about where its events may be; None: nothing."""
    times = query.since_time, query.until_time
    condition = scan.outer[0] if query.where else ""
    if scan.types is None and times == (None, None) and query.category is None and not condition:
        return None
    from esctl.store.candidates import Filter  # noqa: PLC0415 - only filters need it

    wanted = Filter()
    wanted.types, wanted.category, (wanted.since, wanted.until) = scan.types, query.category, times
    if condition:
        from esctl.sql.implied import implied  # noqa: PLC0415 - few queries have a condition

        found = implied(condition)
        wanted.since = max(filter(None, (wanted.since, found.since)), default=None)
        wanted.until = min(filter(None, (wanted.until, found.until)), default=None)
        if found.types is not None and scan.types is None:
            wanted.types = _numbers(connection, scan, found.types, upcasting)
    if (
        query.system or (query.category or "")[:1] == system.PREFIX
    ):  # the times of blocks are without the log's own events
        wanted.since = wanted.until = None
    return wanted


def _keep_last(reading: Reading, scan: Scan, last: int) -> None:
    """Raise the lower bound to the oldest of the newest `last` matching events."""
    if last == 0:
        scan.nothing()
        return
    found, oldest, in_window = 0, None, 0
    parameters = {**scan.parameters, "most": NO_LIMIT}
    for window in Windows(reading, scan, NO_LIMIT, reverse=True):
        with window as (table, bounds):
            newest = scan.sql(f"{scan.key} as key", reverse=True, table=table, points=POINTS in bounds)
            wanted = {**parameters, **bounds, "most": last - found}
            least, count = reading.connection.execute(f"select min(key), count(*) from ({newest})", wanted).get
            if count:
                oldest, in_window = least, _count(reading, scan, table, {**parameters, **bounds, "low": least})
            found += count
        if found >= last:
            break
    if oldest is None:
        return
    scan.low = oldest
    if scan.upcasts is not None and scan.upcasts.parts > 1 and found == last:  # the first event may be split
        if scan.reverse:
            scan.limit = min(scan.limit, last)
        else:
            scan.skip = in_window - count


def _count(reading: Reading, scan: Scan, table: str, parameters: dict[str, object]) -> int:
    """How many events match, counting the parts of split ones; 0 if no event is split."""
    if scan.upcasts is None or scan.upcasts.parts == 1:
        return 0
    whole = scan.sql("1", reverse=False, table=table)
    found: int = reading.connection.execute(f"select count(*) from ({whole})", parameters).get
    return found


def rows(reading: Reading, scan: Scan, columns: str) -> Iterator[Row]:
    """The columns of each event, in order."""
    connection, step = reading.connection, _step(reading.connection, scan)
    remaining = scan.limit
    for window in Windows(reading, scan):
        if remaining <= 0:
            return
        block: list[Row] = []
        with window as (table, bounds), scan.patience:
            sql = scan.sql(columns, reverse=scan.reverse, table=table, points=POINTS in bounds)
            cursor = connection.execute(sql, {**scan.parameters, **bounds, "most": remaining})
            block = list(islice(cursor, step)) if step else cursor.fetchall()
        while block:
            remaining -= len(block)
            yield from block
            with scan.patience:
                block = list(islice(cursor, step))


def chunks(reading: Reading, scan: Scan, form: str) -> Iterator[bytes]:
    """The lines of events, in order, joined to chunks; `form` may be the expression of a line."""
    connection = reading.connection
    line = line_of(connection, scan.upcasts, form) if form in ("line", "hash", "data") else form
    step, remaining = _step(connection, scan), scan.limit
    for window in Windows(reading, scan):
        if remaining <= 0:
            return
        chunk = b""
        with window as (table, bounds), scan.patience:
            if table == ARCHIVED and scan.plain and form == "line" and reading.archive is not None:
                own = not scan.conditions
                chunk = reading.archive.lines(**bounds, own=own, limit=remaining, reverse=scan.reverse)
                _refuse_controls(reading.path, chunk, _ACTING, chunk.split)
                cursor = iter(())
            else:
                sql = scan.sql(line, reverse=scan.reverse, table=table, points=POINTS in bounds)
                cursor = connection.execute(sql, {**scan.parameters, **bounds, "most": remaining})
                chunk = _joined(
                    reading.path, list(chain.from_iterable(islice(cursor, step))) if step else _at_once(cursor)
                )
        while chunk:
            yield chunk
            if remaining < NO_LIMIT:
                remaining -= chunk.count(b"\n")
            with scan.patience:
                chunk = _joined(reading.path, list(chain.from_iterable(islice(cursor, step))))


# They act on terminals behind a pipe. A search for each of the other control characters would take 2 % of a replay, all
# of them a sixth; a line with one is no JSON, and `verify` finds it.
_ACTING = (b"\x1b", b"\r")


def _joined(path: str, lines: list[bytes]) -> bytes:
    """Lines as one chunk, each ended by LF. Names and payloads of an edited log may have control characters: an LF
    would forge a line. Raises VerificationError for that, and for those that act on a terminal.
    """
    if not lines:
        return b""
    _refuse_controls(path, b"".join(lines), (b"\n", *_ACTING), lambda _: lines)
    lines.append(b"")
    return b"\n".join(lines)


def _refuse_controls(
    path: str, text: bytes, controls: Iterable[bytes], lines_of: Callable[[bytes], list[bytes]]
) -> None:
    """Raise VerificationError, with the position, for the first line with one of these, which no append stores."""
    for control in controls:
        if control in text:
            line = next(line for line in lines_of(b"\n") if control in line)
            position = line.removeprefix(b'{"position":').partition(b",")[0].decode(errors="replace")
            raise altered(path, f"the event at position {position}" if position.isdecimal() else "an event")


def sealed_lines(connection: apsw.Connection, low: int, high: int) -> tuple[int, bytes, bytes, bytes]:
    """See `Archiving.sealed_lines`. It returns one row: for each row apsw releases the interpreter, and another thread
    may keep it for a while.
    """
    line = line_of(connection, None)
    inner = f"{source('not indexed', None)} where e.position between ? and ?"
    joined = ", ".join(f"group_concat({name}, '' order by position)" for name in ("line", "salts", "hashes"))
    found: Any = connection.execute(
        f"select count(*), {joined} from (select position, cast({line} as text) || char(10) as line,"
        f" hex(ifnull(salt, zeroblob(16))) as salts, hex(hash) as hashes from ({inner}) lines)",
        (low, high),
    ).get
    count, lines, salts, hashes = found
    return count, (lines or "").encode(), bytes.fromhex(salts or ""), bytes.fromhex(hashes or "")


def window_size(connection: apsw.Connection, most: int = POSITIONS_PER_STATEMENT) -> int:
    """How many events, `most` at most, are surely small enough to be in memory together."""
    largest: int = connection.execute("select largest from head").get
    return max(1, min(most, SAFE_BYTES // max(1, largest)))


def _step(connection: apsw.Connection, scan: Scan) -> int:
    """How many rows to fetch at a time; 0: a whole window, since no event of the log is large."""
    largest = connection.execute("select largest from head").get * (scan.upcasts.parts if scan.upcasts else 1)
    return 0 if largest * POSITIONS_PER_STATEMENT <= SAFE_BYTES else max(1, min(64, STEP_BYTES // largest))


def _at_once(cursor: apsw.Cursor) -> list[bytes]:
    lines = cursor.get  # a list of values; for one row the value itself, for no rows None
    return [lines] if isinstance(lines, bytes) else lines or []
