"""Counts and lists of what a log contains: its streams, its types, its sizes."""

from __future__ import annotations

from collections.abc import Iterator

import apsw

from esctl.events import system
from esctl.events.event import has_control
from esctl.events.record import Record
from esctl.sql.paths import SHORT
from esctl.store.errors import altered, translating
from esctl.store.format import STORAGE_VERSION
from esctl.store.reads import VERSION
from esctl.store.windows import Reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

# The outer loop is over names in order, so that nothing is sorted and memory does not grow with the streams.
_STREAMS = """
select s.name as stream,
  (select count(*) from events e where e.stream_id = s.stream_id) as events,
  (select position from events e where e.stream_id = s.stream_id order by version limit 1) as first_position,
  (select position from events e where e.stream_id = s.stream_id order by version desc limit 1) as last_position,
  (select time from events e where e.stream_id = s.stream_id order by version limit 1) as first_time,
  (select time from events e where e.stream_id = s.stream_id order by version desc limit 1) as last_time,
  (select ifnull(sum(octet_length(data) + octet_length(meta)), 0)
   from events e where e.stream_id = s.stream_id) as bytes
from streams s
where s.name glob ifnull(?, '*') and (?2 or s.stream_id > 0)
  and exists(select 1 from events e where e.stream_id = s.stream_id)
order by s.name"""
# The same with archived events. In SQLite, a bare column beside a single min() or max() is of the row that has it.
_TIME = "strftime('%Y-%m-%dT%H:%M:%S', {0} / 1000000 - 62135596800, 'unixepoch') || printf('.%06dZ', {0} % 1000000)"
_STREAMS_EVERYWHERE = f"""
with firsts as materialized (
  select stream_id, min(first_position) as position, first_time as time from archived_streams group by stream_id
), lasts as materialized (
  select stream_id, max(first_position + positions_on) as position, first_time + times_on as time,
         sum(bytes) as bytes, sum(versions_on + 1) as n
  from archived_streams group by stream_id
), hot as (
  select s.stream_id, s.name,
    (select count(*) from {{events}} e where e.stream_id = s.stream_id) as n,
    (select position from {{events}} e where e.stream_id = s.stream_id order by version limit 1) as first_position,
    (select position from {{events}} e where e.stream_id = s.stream_id order by version desc limit 1) as last_position,
    (select sum(octet_length(data) + octet_length(meta)) from {{events}} e where e.stream_id = s.stream_id) as bytes
  from streams s where s.name glob ifnull(?, '*') and (?2 or s.stream_id > 0)
), both as (
  select hot.*, f.position as f_position, f.time as f_time, l.position as l_position, l.time as l_time,
         l.n as l_n, l.bytes as l_bytes
  from hot left join firsts f on f.stream_id = hot.stream_id left join lasts l on l.stream_id = hot.stream_id
)
select name as stream, n + ifnull(l_n, 0) as events,
  min(ifnull(first_position, f_position), ifnull(f_position, first_position)) as first_position,
  max(ifnull(last_position, l_position), ifnull(l_position, last_position)) as last_position,
  iif(f_position < ifnull(first_position, f_position + 1), {_TIME.format("f_time")},
      (select time from main.events where position = first_position)) as first_time,
  iif(l_position > ifnull(last_position, l_position - 1), {_TIME.format("l_time")},
      (select time from main.events where position = last_position)) as last_time,
  ifnull(bytes, 0) + ifnull(l_bytes, 0) as bytes
from both where n + ifnull(l_n, 0) > 0 order by name"""
_ARCHIVED_TYPES = """
select t.name, a.schema, a.events, a.first_position, a.last_position, a.first_time, a.last_time, a.bytes
from archived_types a join types t using (type_id) where ?1 or not own"""
_TYPES = """
select t.name as type, n as events, schemas, first_position, last_position,
       (select time from main.events where position = first_position) as first_time,
       (select time from main.events where position = last_position) as last_time, bytes
from (
  select type_id, count(*) as n, min(position) as first_position, max(position) as last_position,
         ifnull(sum(octet_length(data) + octet_length(meta)), 0) as bytes
  from {events} where ?1 or stream_id > 0 group by type_id
) join (
  select type_id, group_concat(schema order by schema) as schemas
  from (select distinct type_id, schema from {events} where ?1 or stream_id > 0) group by type_id
) using (type_id) join types t using (type_id) order by t.name"""
_SCHEMAS = """
select t.name, schema, n from (
  select type_id, schema, count(*) as n from {events} where stream_id > 0 group by type_id, schema
  union all select type_id, schema, events from archived_types where not own
) join types t using (type_id)"""
# From each category, one search finds the next name beyond it: `.` is the character after the dash.
_CATEGORIES = """
with recursive c(name) as (
  select min(name) from streams
  union all
  select ifnull((select min(s.name) from streams s where s.name > c.name and s.name < {0} || '-'),
                (select min(s.name) from streams s where s.name >= {0} || '.'))
  from c where name is not null limit ?
) select distinct {0} from c where substr(name, 1, 1) <> '$'""".format(
    "substr(c.name, 1, instr(c.name || '-', '-') - 1)"
)
_INFO = """
select log_id, created, (select count(*) from streams where stream_id > 0) as streams,
       position || ':' || lower(hex(hash)) as head from head"""
_COUNTED = """
select count(*) as events, min(time) as first_time, max(time) as last_time, min(recorded) as first_recorded,
       max(recorded) as last_recorded, ifnull(sum(octet_length(data) + octet_length(meta)), 0) as payload_bytes
from {events} where stream_id > 0"""
_ARCHIVED_COUNTED = """
select ifnull(sum(events), 0), min(least_time), max(greatest_time), min(first_recorded), max(last_recorded),
       ifnull(sum(bytes), 0) from archived_types where not own"""
_USED = "select type_id from {events} where stream_id > 0 union select type_id from archived_types where not own"
# SQLite takes no path of 1,000 steps, so a long one is taken in two.
_AT = f"iif(length(path) < {SHORT}, {{0}} -> path, ({{0}} -> around) -> ('$' || substr(path, 1 + length(around))))"
# Leaves are plain values, empty objects and empty arrays. If an object replaces a value, both sides count as leaves.
# They are grouped by path: in a full join, SQLite would compare each leaf of one text with all leaves of the other.
_DIFFERENCES = f"""
with both as (
  select fullkey, path, type as before, null as after, atom as earlier, null as later from json_tree(?1)
  where type not in ('object', 'array') or value in ('{{}}', '[]')
  union all
  select fullkey, path, null, type, null, atom from json_tree(?2)
  where type not in ('object', 'array') or value in ('{{}}', '[]')
)
select path, {_AT.format("?1")}, {_AT.format("?2")} from (
  select fullkey as path, max(path) as around, max(before) as before, max(after) as after, max(earlier) as earlier,
         max(later) as later from both group by fullkey
)
where case
  when before is null then iif(after in ('object', 'array'), json_type(?1, path) is not after, 1)
  when after is null then iif(before in ('object', 'array'), json_type(?2, path) is not before, 1)
  else earlier is not later
    or (before <> after and not (before in ('integer', 'real') and after in ('integer', 'real')))
end
order by path"""
_NAMING = "select 'id', id, position from {events} where instr(lower(id), lower(?1)) and stream_id > 0"
_BUCKETS = """
select min(:buckets - 1, cast((julianday(time) - :low) / :width as integer)) as bucket, {group} as name, count(*)
from ({events}) e join {kind}s g on g.{kind}_id = e.{kind}_id group by bucket, name"""
_HAPPENED = """
select ifnull(max(position) filter (where time <= ?1), 0), count(*) filter (where time <= ?1),
       count(*) filter (where recorded <= ?1), min(position) filter (where time > ?1) from ({events})"""
_TIMED = "select position, time, recorded from {events} where stream_id > 0"
_LEFT_OUT = """
with es as not materialized ({events}), lasts as materialized (
  select stream_id, max(version) as last from es where time <= ?2 group by stream_id
)
select count(*), count(distinct stream_id) from es join lasts using (stream_id) where time > ?2 and version < last"""
_VERSIONS = (
    "select stream_id, version, time from {{events}} where stream_id in"
    " (select stream_id from streams where name {} ?1) and position <= ?3 and version <= ?4"
)
_LOST = (
    "select stream_id from {{events}} where stream_id in (select stream_id from streams where name {} ?1)"
    " and type_id = (select type_id from types where name = ?2) and data is null and position <= ?3 and version <= ?4"
)
_BUCKETED = "select time, stream_id, type_id from {events} where stream_id > 0"


class Happened(Record):
    """What happened by a moment: the last such position (0: none), how many events, how many were recorded by then, and
    the position of the first event that happened later.
    """

    last: int
    events: int
    recorded: int
    later: int | None


@translating
class Facts:
    """Counts and lists of one log, hot and archived events alike; each answer is of one state of the file."""

    def __init__(self, reading: Reading) -> None:
        self.path, self._reading = reading.path, reading

    def streams(self, pattern: str | None, *, system: bool) -> Iterator[dict[str, Any]]:
        """A record per stream whose name matches the GLOB pattern, by name: stream, events, first_position,
        last_position, first_time, last_time, bytes (of data and meta).
        """
        with self._reading.pinned() as archived:
            sql = _STREAMS_EVERYWHERE.format(events=self._reading.hot) if archived else _STREAMS
            for row in _rows(self._reading.connection, sql, (pattern, system)):
                yield self._plain(row, "stream")

    def types(self, *, system: bool) -> Iterator[dict[str, Any]]:
        """A record per type, by name: as for `streams`, and `schemas`, the stored versions with commas."""
        with self._reading.pinned() as archived:
            hot = _rows(self._reading.connection, _TYPES.format(events=self._reading.hot), (system,))
            found = {row["type"]: row for row in hot}
            for name, *row in self._reading.connection.execute(_ARCHIVED_TYPES, (system,)) if archived else ():
                _merge(found, name, row)
        yield from (self._plain(found[name], "type") for name in sorted(found, key=str.encode))

    def _plain(self, row: dict[str, Any], kind: str) -> dict[str, Any]:
        """The row. Raises VerificationError if its name has a control character."""
        if has_control(row[kind]):
            raise altered(self.path, f"the name of a {kind}")
        return row

    def info(self) -> dict[str, Any]:
        """The facts of the log: log_id, created, events, streams, types, first and last times, sizes, head."""
        connection = self._reading.connection
        with self._reading.pinned():
            log_id, created, number, head = connection.execute(_INFO).get
            hot, archived = (
                connection.execute(_COUNTED.format(events=self._reading.hot)).get,
                connection.execute(_ARCHIVED_COUNTED).get,
            )
            types_ = connection.execute(f"select count(*) from ({_USED.format(events=self._reading.hot)})").get
            pages = connection.execute("select page_count * page_size from pragma_page_count, pragma_page_size").get
        pairs = [[value for value in pair if value is not None] for pair in zip(hot, archived, strict=True)]
        least, greatest, first, last = (
            how(pair) if pair else None for how, pair in zip((min, max, min, max), pairs[1:5], strict=True)
        )
        return {
            "log_id": log_id,
            "created": created,
            "events": sum(pairs[0]),
            "streams": number,
            "types": types_,
            "first_time": least,
            "last_time": greatest,
            "first_recorded": first,
            "last_recorded": last,
            "payload_bytes": sum(pairs[5]),
            "head": head,
            "file_bytes": pages,
            "storage_version": STORAGE_VERSION,
        }

    def over_time(self, buckets: int, group: str) -> Iterator[tuple[int, str, int]]:
        """(bucket, name, events): the time from the first event to the last, in so many equal buckets, 0, 1 …"""

        def ask(_: bool) -> list[tuple[int, str, int]]:
            low, high = self._reading.connection.execute(
                "select julianday(min(low)), julianday(max(high)) from ("
                f" select min(time) as low, max(time) as high from {self._reading.hot} where stream_id > 0 union all"
                " select min(least_time), max(greatest_time) from archived_types where not own)"
            ).get
            if low is None:
                return []
            sql = _BUCKETS.format(events=self._reading.everywhere(_BUCKETED), group="g.name", kind=group)
            width = max((high - low) / buckets, 1e-9)
            bounds = {"buckets": buckets, "low": low, "width": width}
            return self._reading.connection.execute(sql, bounds).fetchall()  # type: ignore[return-value]  # as they are selected

        yield from self._reading.steady(ask)

    def happened(self, moment: str) -> Happened:
        """What happened by a moment (UTC text); without the log's own events."""

        def ask(_: bool) -> Happened:
            sql = _HAPPENED.format(events=self._reading.everywhere(_TIMED))
            return Happened(*self._reading.connection.execute(sql, (moment,)).get)

        return self._reading.steady(ask)

    def left_out(self, name: str, moment: str, position: int, version: int, *, glob: bool = False) -> tuple[int, int]:
        """How many versions of a stream, or of those whose names match a GLOB, happened after a moment, though later
        ones happened by then; and of how many streams. Only up to a position and a version.
        """

        def ask(_: bool) -> tuple[int, int]:
            events = self._reading.everywhere(_VERSIONS.format("glob" if glob else "="))
            sql = _LEFT_OUT.format(events=events)
            versions, streams = self._reading.connection.execute(sql, (name, moment, position, version)).get
            return versions, streams

        return self._reading.steady(ask)

    def lost(self, name: str, position: int, version: int, *, glob: bool = False) -> tuple[int, int]:
        """How many events of a stream, or of those whose names match a GLOB, were lost by damage up to a position and a
        version; and of how many streams.
        """

        def ask(_: bool) -> tuple[int, int]:
            events = self._reading.everywhere(_LOST.format("glob" if glob else "="))
            sql = f"select count(*), count(distinct stream_id) from ({events})"
            lost, streams = self._reading.connection.execute(sql, (name, system.EVENT_LOST, position, version)).get
            return lost, streams

        return self._reading.steady(ask)

    def matching(self, pattern: str) -> Iterator[tuple[str, int]]:
        """Streams whose names match a GLOB, and their versions, by name."""
        own = "s.stream_id > 0 and" if not pattern.startswith("$") else ""
        sql = f"select s.name, {VERSION} as version from streams s where {own} s.name glob ? order by s.name"
        yield from self._reading.connection.execute(sql, (pattern,))

    def schemas(self) -> list[tuple[str, int, int]]:
        """Type, schema version and number of stored events; without the log's own."""
        counted: dict[tuple[str, int], int] = {}
        with self._reading.pinned():
            found: Any = self._reading.connection.execute(_SCHEMAS.format(events=self._reading.hot))
            for type_, schema, events in found:
                counted[type_, schema] = counted.get((type_, schema), 0) + events
        return [(*key, counted[key]) for key in sorted(counted, key=lambda key: (key[0].encode(), key[1]))]

    def naming(self, text: str) -> Iterator[tuple[str, str, int]]:
        """Every stream and every event id that contains a text, ignoring the case of ASCII letters: `stream` or `id`,
        the name, and the event's position (0 for a stream); without the log's own.
        """

        def ask(_: bool) -> list[tuple[str, str, int]]:
            sql = self._reading.everywhere(_NAMING)
            return self._reading.connection.execute(f"select * from ({sql}) order by 3", (text,)).fetchall()  # type: ignore[return-value]  # as they are selected

        streams = "select name from streams where stream_id > 0 and instr(lower(name), lower(?)) order by name"
        for (name,) in self._reading.connection.execute(streams, (text,)).fetchall():
            yield "stream", str(name), 0
        yield from self._reading.steady(ask)

    def differences(self, before: str, after: str) -> list[tuple[str, str | None, str | None]]:
        """The differences of two JSON texts: path (`$.a[0]`), value before, value after (JSON text; None if absent)."""
        return self._reading.connection.execute(_DIFFERENCES, (before, after)).fetchall()  # type: ignore[return-value]

    def names(self, kind: Literal["stream", "type"], prefix: str = "") -> Iterator[str]:
        """Streams or types whose names begin with a prefix, in order; without the log's own streams."""
        own = "and stream_id > 0" if kind == "stream" else ""
        sql = f"select name from {kind}s where name >= ?1 and substr(name, 1, length(?1)) = ?1 {own} order by name"
        for (name,) in self._reading.connection.execute(sql, (prefix,)):
            yield str(name)

    def categories(self, limit: int) -> list[str]:
        """The categories of streams (the name up to its first dash), at most `limit`; without the log's own streams."""
        return [name for (name,) in self._reading.connection.execute(_CATEGORIES, (limit,))]

    def erasures(self) -> Iterator[tuple[int, bytes, int]]:
        """Position, digest and event of every erased payload."""
        found: Any = self._reading.connection.execute("select position, digest, event from erased order by position")
        yield from found


def _merge(found: dict[str, dict[str, Any]], name: str, archived: list[Any]) -> None:
    """Add the archived counts of a type to its known ones."""
    schema, events, first, last, first_time, last_time, size = archived
    known = found.setdefault(
        name,
        {
            "type": name,
            "events": 0,
            "schemas": "",
            "first_position": first,
            "last_position": last,
            "first_time": first_time,
            "last_time": last_time,
            "bytes": 0,
        },
    )
    known["events"] += events
    known["bytes"] += size
    versions = {int(version) for version in known["schemas"].split(",") if version} | {schema}
    known["schemas"] = ",".join(map(str, sorted(versions)))
    if first < known["first_position"]:
        known["first_position"], known["first_time"] = first, first_time
    if last > known["last_position"]:
        known["last_position"], known["last_time"] = last, last_time


def _rows(connection: apsw.Connection, sql: str, parameters: tuple[object, ...]) -> Iterator[dict[str, Any]]:
    cursor = connection.execute(sql, parameters)
    names: list[str] = []
    for row in cursor:
        names = names or [name for name, *_ in cursor.get_description()]
        yield dict(zip(names, row, strict=True))
