"""What SQLite can check of a log without the chain: medium, contiguity, versions, heads, texts."""

from __future__ import annotations

import re
from collections.abc import Iterator

import apsw

from esctl.errors import EsctlError, RefusedError
from esctl.events import chain
from esctl.events.event import check_name
from esctl.store import summaries
from esctl.store.errors import translate
from esctl.store.format import HOT
from esctl.store.schema import MIGRATIONS, OWN
from esctl.store.windows import Reading

Finding = tuple[str, int | None, str]
"""Something that is not as it should be: which check, the position (None: no single event), what was found."""

_CONTROL = "'*[' || char(1) || '-' || char(31) || char(127) || ']*'"
# {events} is the hot table; {versions}, {rows} and {archived} include the archive if there is one.
_QUICK: tuple[tuple[str, str], ...] = (
    (
        "contiguity",
        """select null, printf('%d events stand between positions %s and %s, the head is at %d', n, low, high, position)
           from head, (select sum(n) as n, min(low) as low, max(high) as high from (
             select count(*) as n, min(position) as low, max(position) as high from {events}
             union all select last - first + 1, first, last from segments))
           where n <> position or ifnull(low, 1) <> 1 or ifnull(high, 0) <> position""",
    ),
    (
        "archive",
        """select first, printf('the segments %d-%d and %d-%d overlap', before, ended, first, last)
           from (select first, last, lag(first) over w as before, lag(last) over w as ended
                 from segments window w as (order by first)) where ended >= first or last < first""",
    ),
    (
        "archive",
        """select g.first,
                  printf('the segment %d-%d begins with another hash than the one before it ends with', g.first, g.last)
           from segments g left join segments b on b.last = g.first - 1 left join {events} e on e.position = g.first - 1
           where ifnull(b.after, e.hash) <> g.before""",
    ),
    (
        "archive",
        """select first, printf('the segment %d-%d has frames for %d events', first, last, n) from (
             select g.first, g.last, (select ifnull(sum(f.last - f.first + 1), 0) from frames f
                                      where f.segment = g.first and f.first between g.first and g.last) as n
             from segments g) where n <> last - first + 1""",
    ),
    (
        "archive",
        """select null, 'the head says that nothing was ever archived' from head
           where archived <= 0 and (archived < 0 or exists(select 1 from segments))""",
    ),
    (
        "archive",
        """select null, printf('%d ids are recorded for %d archived events', n, events)
           from (select count(*) as n from archived_ids),
                (select ifnull(sum(last - first + 1), 0) as events from segments) where n <> events""",
    ),
    (
        "head",
        """select position, 'the head names another hash or recorded time than its event'
           from head join (select position, hash, recorded from {events}
                           union all select last, after, last_recorded from segments) e using (position)
           where e.hash <> head.hash or e.recorded <> head.recorded""",
    ),
    (
        "versions",
        """select null, printf('stream %s has %d events, versions %d to %d', s.name, n, low, high)
           from ({versions}) join streams s using (stream_id) where low <> 1 or high <> n""",
    ),
    (
        "versions",
        """select null, printf('stream %s is archived up to version %d, recorded is %d', s.name, ifnull(reached, 0),
                               archived)
           from streams s left join (
             select stream_id, max(first_version + versions_on) as reached from archived_streams group by stream_id
           ) using (stream_id) where ifnull(reached, 0) <> archived""",
    ),
    (
        "versions",
        """select e.position, printf('version %d of stream %s stands before version %d', e.version, name, e.version - 1)
           from (select position, version, stream_id,
                        lag(position, 1, 0) over (partition by stream_id order by version) as before from {events}) e
           join streams using (stream_id) where e.position <= before""",
    ),
    (
        "references",
        """select position, 'the event names a stream or a type that does not exist' from {events}
           where stream_id not in (select stream_id from streams) or type_id not in (select type_id from types)""",
    ),
    (
        "model",
        """select null, printf('the head says that the model is at position %d, the newest is at %d', model, newest)
           from head, (select ifnull(max(e.position), 0) as newest from streams s
                       cross join ({rows}) e on e.stream_id = s.stream_id
                       cross join types t on t.type_id = e.type_id
                       where s.name = '$esctl' and t.name = 'ModelApplied') where model <> newest""",
    ),
    (
        "model",
        """select model, 'the model in the head is not that of its event' from head
           where definitions is not (select said from ({archived}) where position = model)""",
    ),
    (
        "erased",
        """select position, 'the payload is missing, and no erasure is recorded' from {events}
           where (data is null or meta is null or salt is null) and position not in (select position from erased)""",
    ),
    (
        "erased",
        """select position, 'the payload is recorded as erased, but exists' from {events} join erased using (position)
           where data is not null or meta is not null or salt is not null""",
    ),
    (
        "names",
        """select null, printf('stream %s is numbered %d: only the log''s own streams are below zero', name, stream_id)
           from streams where stream_id = 0 or (stream_id < 0) <> (substr(name, 1, 1) = '$')""",
    ),
)
_FULL: tuple[tuple[str, str], ...] = (
    (
        "schema",
        """select null, printf('the %s %s is not one that its statement makes', type, name) from sqlite_schema
           where sql is not null
             and not (instr(replace(sql, '""', '"'), name) and instr(replace(sql, '""', '"'), tbl_name))""",
    ),
    (
        "schema",
        """select null, printf('%s %s on %s is not what SQLite makes by itself', type, name, tbl_name)
           from sqlite_schema i where sql is null and (type <> 'index'
             or substr(name, 1, length(tbl_name) + 18) <> 'sqlite_autoindex_' || tbl_name || '_'
             or not exists(select 1 from sqlite_schema t where t.type = 'table' and t.name = i.tbl_name))""",
    ),
    (
        "names",
        f"""select position, printf('the id has a control character: %s', json_quote(id)) from {{events}}
           where id glob {_CONTROL}""",
    ),
    (
        "json",
        """select position, iif(json_valid(data), 'meta is not a JSON object', 'data is not JSON') from {events}
           where (data is not null and not json_valid(data))
              or (meta is not null and (not json_valid(meta) or json_type(meta) <> 'object'))""",
    ),
    (
        "head",
        r"""select null, 'the head says that no name contains a quote or a backslash, but one does' from head
           where not quoting and (
             exists(select 1 from streams where name glob '*["\]*')
             or exists(select 1 from types where name glob '*["\]*')
             or exists(select 1 from {events} where id glob '*["\]*'))""",
    ),
    (
        "head",
        """select null, printf('the head says that the largest payload has %d bytes, one has %d', largest, most)
           from head, (select max(octet_length(data) + octet_length(meta)) as most from {events})
           where most > largest""",
    ),
    (
        "recorded",
        """select position, 'its recorded time is earlier than that of the event before it' from (
             select position, recorded, lag(recorded, 1, '') over (order by position) as before from {events})
           where recorded < before""",
    ),
)


_OF_INDEX = re.compile(r"(row \d+ missing from|wrong # of entries in|row \d+ values differ from) index ").match
_COMPARED = ["stream_id", "version", "id", "type_id", "schema", "time", "recorded", "data", "meta", "salt", "hash"]
# Rows that the end of an archiving run deletes: nobody reads them, but they must equal the rows of their segment.
_LEFTOVER = (
    (
        "archive",
        f"""select e.position, 'the remaining row in the table of hot events differs from the archived event'
            from segments g join main.events e on e.position between g.first and g.last
            join archived a on a.position = e.position
            where ({", ".join(f"e.{name}" for name in _COMPARED)}) is not ({", ".join(f"a.{n}" for n in _COMPARED)})""",
    ),
)
_VERSIONS = """select stream_id, count(*) as n, min(version) as low, max(version) as high from {events}
group by stream_id"""
_VERSIONS_EVERYWHERE = f"""select stream_id, sum(n) as n, min(low) as low, max(high) as high from (
{_VERSIONS} union all
select stream_id, versions_on + 1, first_version, first_version + versions_on from archived_streams)
group by stream_id"""
_ARCHIVED_CONTENT = "select position, json_array(time, data, meta) as said from archived"
_ROWS = "select position, stream_id, type_id from {events}"
_NAMES = "select 'stream', cast(name as blob) from streams union all select 'type', cast(name as blob) from types"
_TEXTS = """select m.name, group_concat(c.name) from main.sqlite_schema m, pragma_table_info(m.name, 'main') c
where m.type = 'table' and c.type = 'TEXT' and m.name not in ('events', 'streams', 'types') group by m.name"""


# What a value that nobody expects ends in, here or in a library.
_OF_VALUES = (ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


def guarded(check: str, path: str, found: Iterator[Finding]) -> Iterator[Finding]:
    """The findings of a check. If it fails on a value that it cannot take, which no esctl stores, that is one, too."""
    try:
        yield from found
    except (EsctlError, apsw.Error, *_OF_VALUES) as error:
        failure = translate(error, path) if isinstance(error, apsw.Error) else error
        if isinstance(failure, EsctlError) and failure.exit_code != EsctlError.exit_code:
            raise
        why = failure.why if isinstance(failure, EsctlError) else f"{type(error).__name__}: {error}"
        yield (check, None, f"it fails on a value that no esctl stores: {why}")


def findings(reading: Reading, *, full: bool) -> Iterator[Finding]:
    """All findings; the caller has them come from one state of the file."""
    connection = reading.connection
    archived = reading.known(connection.execute("select archived from head").get)
    pragma = "integrity_check" if full else "quick_check"
    for (text,) in connection.execute(f"pragma {pragma}"):
        if text != "ok":
            yield ("index" if _OF_INDEX(str(text)) else "sqlite", None, str(text))
    parts = {
        "versions": _VERSIONS_EVERYWHERE if archived else _VERSIONS,
        "rows": reading.everywhere(_ROWS),
        "events": reading.hot,
        "archived": _ARCHIVED_CONTENT if archived else "select 0 as position, null as said",
    }
    log_id, created, digest = connection.execute("select log_id, created, created_digest from head").get
    if chain.created_digest(str(log_id), str(created)) != digest:
        yield (
            "head",
            None,
            f"the head says that the log was created at {created}, and its digest says another time",
        )
    has_leftovers = reading.hot != HOT
    yield from guarded("names", reading.path, _misnamed(connection))
    yield from _unreadable(connection, reading.path)
    for check, sql in _QUICK + (_FULL if full else ()) + (_LEFTOVER if has_leftovers and full else ()):
        yield from guarded(check, reading.path, _found(connection, check, _filled(sql, parts)))
    head: int = connection.execute("select position from head").get
    yield from guarded("summaries", reading.path, summaries.findings(reading, head, full=full))


def _found(connection: apsw.Connection, check: str, sql: str) -> Iterator[Finding]:
    for position, problem in connection.execute(sql):
        yield (check, position, problem)


def _misnamed(connection: apsw.Connection) -> Iterator[Finding]:
    """Streams and types with names that no append takes."""
    for kind, name in connection.execute(_NAMES):
        try:
            check_name(kind, name.decode())
        except UnicodeDecodeError:
            yield ("names", None, f"the name of a {kind} is not UTF-8: {name[:60]!r}")
        except RefusedError as error:
            yield ("names", None, error.what)


def _unreadable(connection: apsw.Connection, path: str) -> Iterator[Finding]:
    """Texts outside of events that are not UTF-8, or have a NUL."""
    for table, columns in connection.execute(_TEXTS).fetchall():
        if table in OWN - {MIGRATIONS}:
            yield from guarded("texts", path, _texts(connection, str(table), str(columns)))


def _texts(connection: apsw.Connection, table: str, columns: str) -> Iterator[Finding]:
    for row in connection.execute(f"select {columns} from {table}"):
        for column, text in zip(columns.split(","), row, strict=True):
            if text is not None and "\0" in text:
                yield ("texts", None, f"{column} in the table {table} has a NUL")


def _filled(sql: str, parts: dict[str, str]) -> str:
    for name, text in parts.items():
        sql = sql.replace(f"{{{name}}}", text)
    return sql
