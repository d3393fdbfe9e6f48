"""Counts and lists of what a log contains: its streams, its types, its sizes."""

from __future__ import annotations

from collections.abc import Iterator

import apsw

from esctl.events import system
from esctl.events.event import has_control
from esctl.events.query import MAX_POSITION
from esctl.events.record import Record
from esctl.sql.paths import SHORT
from esctl.store import reads, summaries
from esctl.store.errors import altered, translating
from esctl.store.format import STORAGE_VERSION
from esctl.store.over_time import OverTime
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
order by s.name limit ?3"""
# The same with archived events. In SQLite, a bare column beside a single min() or max() is of the row that has it.
_TIME = "strftime('%Y-%m-%dT%H:%M:%S', {0} / 1000000 - 62135596800, 'unixepoch') || printf('.%06dZ', {0} % 1000000)"
_STREAMS_EVERYWHERE = f"""
with some as materialized (
  select s.stream_id, s.name from streams s
  where s.name glob ifnull(?, '*') and (?2 or s.stream_id > 0)
    and (s.archived or exists(select 1 from {{events}} e where e.stream_id = s.stream_id))
  order by s.name limit ?3
), parts as materialized (
  select a.* from {{parts}}
), firsts as materialized (
  select stream_id, min(first_position) as position, first_time as time from parts group by stream_id
), lasts as materialized (
  select stream_id, max(first_position + positions_on) as position, first_time + times_on as time,
         sum(bytes) as bytes, sum(versions_on + 1) as n
  from parts group by stream_id
), hot as (
  select s.stream_id, s.name,
    (select count(*) from {{events}} e where e.stream_id = s.stream_id) as n,
    (select position from {{events}} e where e.stream_id = s.stream_id order by version limit 1) as first_position,
    (select position from {{events}} e where e.stream_id = s.stream_id order by version desc limit 1) as last_position,
    (select sum(octet_length(data) + octet_length(meta)) from {{events}} e where e.stream_id = s.stream_id) as bytes
  from some s
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
from both order by name"""
# The rows of streams in segments: of all streams in the order of the table, of a few each by its key.
_PARTS = "archived_streams a where a.stream_id in (select stream_id from some)"
_PARTS_OF_FEW = "some cross join segments g cross join archived_streams a"
_PARTS_OF_FEW += " on a.segment = g.first and a.stream_id = some.stream_id"
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
_SPAN = "select min(least_time), max(greatest_time) from block_summaries"
_INFO = """
select log_id, created, (select count(*) from streams where stream_id > 0) as streams,
       position || ':' || lower(hex(hash)) as head from head"""
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

    def streams(self, pattern: str | None, *, system: bool, limit: int | None = None) -> Iterator[dict[str, Any]]:
        """A record per stream whose name matches the GLOB pattern, by name: stream, events, first_position,
        last_position, first_time, last_time, bytes (of data and meta); the first `limit` ones.
        """
        with self._reading.pinned() as archived:
            parts = _PARTS if limit is None else _PARTS_OF_FEW
            sql = _STREAMS_EVERYWHERE.format(events=self._reading.hot, parts=parts) if archived else _STREAMS
            for row in _rows(self._reading.connection, sql, (pattern, system, -1 if limit is None else limit)):
                yield self._plain(row, "stream")

    def types(self, *, system: bool) -> Iterator[dict[str, Any]]:
        """A record per type, by name: as for `streams`, and `schemas`, the stored versions with commas."""
        found: dict[str, dict[str, Any]] = {}
        for (own, name, schema), row in self._counts():
            if own and not system:
                continue
            events, size, *places = row
            known = found.setdefault(name, {"events": 0, "schemas": set(), "places": [], "bytes": 0})
            known["events"] += events
            known["bytes"] += size
            known["schemas"].add(schema)
            known["places"].append(places)
        for name in sorted(found, key=str.encode):
            yield self._plain(_type_record(name, **found[name]), "type")

    def _counts(self) -> list[tuple[tuple[int, str, int], summaries.Row]]:
        """The summary of each kind of events: whether they are of the log's own streams, type, schema."""

        def ask(_: bool) -> list[tuple[tuple[int, str, int], summaries.Row]]:
            names = dict(self._reading.connection.execute("select type_id, name from types"))
            counted = summaries.counts(self._reading, summaries.unsummarized(self._reading))
            return [((own, names[type_id], schema), row) for (own, type_id, schema), row in counted.items()]

        return self._reading.steady(ask)

    def _plain(self, row: dict[str, Any], kind: str) -> dict[str, Any]:
        """The row. Raises VerificationError if its name has a control character."""
        if has_control(row[kind]):
            raise altered(self.path, f"the name of a {kind}")
        return row

    def info(self) -> dict[str, Any]:
        """The facts of the log: log_id, created, events, streams, types, first and last times, sizes, head."""
        return self._reading.steady(self._info)

    def _info(self, _: bool) -> dict[str, Any]:
        execute = self._reading.connection.execute
        log_id, created, number, head = execute(_INFO).get
        later = summaries.unsummarized(self._reading)
        counted = [(kind[1], row) for kind, row in summaries.counts(self._reading, later).items() if not kind[0]]
        spans = [summaries.span(later)[1:], execute(_SPAN).get]
        ends = [min((row[2] for _, row in counted), default=0), max((row[3] for _, row in counted), default=0)]
        recorded = self._reading.everywhere("select recorded from {events} where position = ?1")
        return {
            "log_id": log_id,
            "created": created,
            "events": sum(row[0] for _, row in counted),
            "streams": number,
            "types": len({type_id for type_id, _ in counted}),
            "first_time": min((least for least, _ in spans if least is not None), default=None),
            "last_time": max((greatest for _, greatest in spans if greatest is not None), default=None),
            "first_recorded": execute(recorded, ends[:1]).get,
            "last_recorded": execute(recorded, ends[1:]).get,
            "payload_bytes": sum(row[1] for _, row in counted),
            "head": head,
            "file_bytes": execute("select page_count * page_size from pragma_page_count, pragma_page_size").get,
            "storage_version": STORAGE_VERSION,
        }

    def over_time(self, buckets: int) -> OverTime:
        """The events in so many equal parts of the time from the first to the last."""
        return OverTime(self._reading, buckets)

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
        counted = [(name, schema, row[0]) for (own, name, schema), row in self._counts() if not own]
        return sorted(counted, key=lambda row: (row[0].encode(), row[1]))

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

    def window(self, low: int, high: int) -> list[tuple[Any, ...]]:
        """The columns of the hot events between two positions, data and meta as bytes, with salt and hash."""
        columns = reads.COLUMNS.replace("data, meta", "cast(data as blob), cast(meta as blob)")
        inner = f"{reads.source('not indexed', None)} where e.position between ? and ?"
        sql = f"select {columns} from ({inner}) order by position"
        found: list[tuple[Any, ...]] = self._reading.connection.execute(sql, (low, high)).fetchall()
        return found

    def window_size(self) -> int:
        """How many events are surely small enough to be in memory together."""
        return reads.window_size(self._reading.connection)

    def erasures(self, low: int = 1, high: int = MAX_POSITION) -> Iterator[tuple[int, bytes, int]]:
        """Position, digest and event of every payload that was erased between two positions."""
        sql = "select position, digest, event from erased where position between ? and ? order by position"
        found: Any = self._reading.connection.execute(sql, (low, high))
        yield from found


def _type_record(
    name: str, events: int, schemas: set[int], places: list[tuple[int, int, str, str]], bytes: int
) -> dict[str, Any]:
    """The record of a type; `places` are the first and last position and time of each of its kinds."""
    first, last = min(places), max(places, key=lambda place: place[1])
    return {
        "type": name,
        "events": events,
        "schemas": ",".join(map(str, sorted(schemas))),
        "first_position": first[0],
        "last_position": last[1],
        "first_time": first[2],
        "last_time": last[3],
        "bytes": bytes,
    }


def _rows(connection: apsw.Connection, sql: str, parameters: tuple[object, ...]) -> Iterator[dict[str, Any]]:
    cursor = connection.execute(sql, parameters)
    names: list[str] = []
    for row in cursor:
        names = names or [name for name, *_ in cursor.get_description()]
        yield dict(zip(names, row, strict=True))
