"""What a log holds, counted: its streams, its types, its sizes."""

from __future__ import annotations

import re
from collections.abc import Iterator

import apsw

from esctl.stores.format import STORAGE_VERSION
from esctl.stores.sqlite_reads import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Outermost the names in order, so that nothing is sorted and memory does not follow the number of streams.
_COMMENTS = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_STREAMS = """
select s.name as stream,
  (select count(*) from events e where e.stream_id = s.stream_id) as events,
  (select position from events e where e.stream_id = s.stream_id order by version limit 1) as first_position,
  (select position from events e where e.stream_id = s.stream_id order by version desc limit 1) as last_position,
  (select time from events e where e.stream_id = s.stream_id order by version limit 1) as first_time,
  (select time from events e where e.stream_id = s.stream_id order by version desc limit 1) as last_time,
  (select sum(octet_length(data) + octet_length(meta)) from events e where e.stream_id = s.stream_id) as bytes
from streams s
where s.name glob ifnull(?, '*') and (?2 or s.stream_id > 0)
  and exists(select 1 from events e where e.stream_id = s.stream_id)
order by s.name"""
_TYPES = """
select t.name as type, n as events, schemas, first_position, last_position,
       (select time from events where position = first_position) as first_time,
       (select time from events where position = last_position) as last_time, bytes
from (
  select type_id, count(*) as n, min(position) as first_position, max(position) as last_position,
         sum(octet_length(data) + octet_length(meta)) as bytes
  from events where ?1 or stream_id > 0 group by type_id
) join (
  select type_id, group_concat(schema order by schema) as schemas
  from (select distinct type_id, schema from events where ?1 or stream_id > 0) group by type_id
) using (type_id) join types t using (type_id) order by t.name"""
_INFO = """
select log_id, created, count(e.position) as events,
       (select count(*) from streams where stream_id > 0) as streams,
       count(distinct e.type_id) as types, min(time) as first_time, max(time) as last_time,
       min(e.recorded) as first_recorded, max(e.recorded) as last_recorded,
       ifnull(sum(octet_length(data) + octet_length(meta)), 0) as payload_bytes,
       head.position || ':' || lower(hex(head.hash)) as head
from head left join events e on e.stream_id > 0"""
# Leaves are plain values and empty objects and arrays. Where a value gives way to an object, both sides are leaves.
_DIFFERENCES = """
with a as (select fullkey, type, atom from json_tree(?1)
           where type not in ('object', 'array') or value in ('{}', '[]')),
     b as (select fullkey, type, atom from json_tree(?2)
           where type not in ('object', 'array') or value in ('{}', '[]'))
select ifnull(b.fullkey, a.fullkey) as path, ?1 -> ifnull(b.fullkey, a.fullkey), ?2 -> ifnull(b.fullkey, a.fullkey)
from a full join b on a.fullkey = b.fullkey
where case
  when a.fullkey is null then b.type not in ('object', 'array') or json_type(?1, b.fullkey) is not b.type
  when b.fullkey is null then a.type not in ('object', 'array') or json_type(?2, a.fullkey) is not a.type
  else a.atom is not b.atom or (a.type <> b.type
       and not (a.type in ('integer', 'real') and b.type in ('integer', 'real')))
end
order by path"""
_BUCKETS = """
select min(:buckets - 1, cast((julianday(time) - :low) / :width as integer)) as bucket, {group} as name, count(*)
from events e {join} where e.stream_id > 0 group by bucket, name"""


def streams(connection: apsw.Connection, pattern: str | None, *, system: bool) -> Iterator[dict[str, Any]]:
    """A row a stream whose name matches the GLOB pattern, in the order of names."""
    return _rows(connection, _STREAMS, (pattern, system))


def types(connection: apsw.Connection, *, system: bool) -> Iterator[dict[str, Any]]:
    """A row a type, in the order of names; `schemas` lists the versions that were stored."""
    return _rows(connection, _TYPES, (system,))


def info(connection: apsw.Connection) -> dict[str, Any]:
    """The facts of a log; times are null where it is empty."""
    facts = next(_rows(connection, _INFO, ()))
    pages = connection.execute("select page_count * page_size from pragma_page_count, pragma_page_size").get
    return {**facts, "file_bytes": pages, "storage_version": STORAGE_VERSION}


def over_time(connection: apsw.Connection, buckets: int, group: str) -> Iterator[tuple[int, str, int]]:
    """Events counted by bucket of time (of `buckets` equal ones from the first to the last) and stream or type."""
    low, high = connection.execute(
        "select julianday(min(time)), julianday(max(time)) from events where stream_id > 0"
    ).get
    if low is None:
        return
    join = f"join {group}s g on g.{group}_id = e.{group}_id"
    sql = _BUCKETS.format(group="g.name", join=join)
    width = max((high - low) / buckets, 1e-9)
    yield from connection.execute(sql, {"buckets": buckets, "low": low, "width": width})


def matching(connection: apsw.Connection, pattern: str) -> Iterator[tuple[str, int]]:
    """Streams whose names match a GLOB and their versions, in the order of names."""
    own = "s.stream_id > 0 and" if not pattern.startswith("$") else ""
    sql = f"select s.name, {VERSION} as version from streams s where {own} s.name glob ? order by s.name"
    yield from connection.execute(sql, (pattern,))


def schemas(connection: apsw.Connection) -> list[tuple[str, int, int]]:
    """Type, schema version and number of the events that are stored so."""
    sql = """select t.name, schema, n from (
               select type_id, schema, count(*) as n from events where stream_id > 0 group by type_id, schema
             ) join types t using (type_id) order by t.name, schema"""
    return connection.execute(sql).fetchall()  # type: ignore[return-value]


def differences(connection: apsw.Connection, before: str, after: str) -> list[tuple[str, str | None, str | None]]:
    """Paths of the leaves in which two JSON texts differ, with both values as JSON text; numbers by their value."""
    return connection.execute(_DIFFERENCES, (before, after)).fetchall()  # type: ignore[return-value]


def question(connection: apsw.Connection, sql: str) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
    """The columns and rows of one SELECT; who may ask what is the caller's to see to.

    Raises ValueError for what is more than one statement, none, or takes parameters.
    """
    import apsw.ext  # noqa: PLC0415 - only a question needs it

    text = sql.strip()
    asked = apsw.ext.query_info(connection, text)
    if (
        _COMMENTS.sub("", asked.query_remaining or "").strip()
        or asked.is_explain
        or asked.bindings_count
        or not asked.description
    ):
        raise ValueError("it is not one SELECT without parameters")
    names = [name for name, _ in asked.description]
    if len(set(names)) < len(names):
        raise ValueError("two of its columns have one name; name them with AS")
    return names, iter(connection.execute(asked.first_query))


def _rows(connection: apsw.Connection, sql: str, parameters: tuple[object, ...]) -> Iterator[dict[str, Any]]:
    cursor = connection.execute(sql, parameters)
    names: list[str] = []
    for row in cursor:
        names = names or [name for name, *_ in cursor.get_description()]
        yield dict(zip(names, row, strict=True))
