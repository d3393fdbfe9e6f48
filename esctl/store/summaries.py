"""Summaries of the log: of each block of 1,000 positions, and of each type. They let a filter pass over blocks in which
nothing matches, and answer what a log contains without a look at its events.

The transaction that fills a block summarizes it; who needs later events reads them. Positions do not move, so a summary
stays right when its events are archived.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

import apsw

from esctl.events.query import MAX_POSITION
from esctl.store import format as storage
from esctl.store import links
from esctl.store.noted import Noted
from esctl.store.windows import Reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from esctl.store.checks import Finding

    Kind = tuple[int, int, int]
    """Whether events are in the log's own streams (1) or not (0), the number of their type, their schema."""

    Row = tuple[int, int, int, int, str, str]
    """Of events of one kind: their number; bytes of payload; first and last position and time."""

# Derived from the events, and extended by the append that fills a block.
TABLES = (
    # A block of 1,000 positions, by number from 0 on: how many events are not of the log's own streams, and the least
    # and greatest time of these.
    """create table block_summaries (
         block integer primary key, events integer not null, least_time text, greatest_time text
       ) strict""",
    # A block's events of one type and schema. `positions`: how far each is behind the block's start, with commas, if
    # they are few.
    """create table block_type_summaries (
         block integer not null, own integer not null, type_id integer not null, schema integer not null,
         events integer not null, bytes integer not null, first_position integer not null,
         last_position integer not null, first_time text not null, last_time text not null, positions text,
         primary key (block, type_id, own, schema)
       ) strict, without rowid""",
    # The same of all blocks.
    """create table type_summaries (
         own integer not null, type_id integer not null, schema integer not null,
         events integer not null, bytes integer not null, first_position integer not null,
         last_position integer not null, first_time text not null, last_time text not null,
         primary key (type_id, own, schema)
       ) strict, without rowid""",
)

MAX_LISTED = 50  # positions of a kind in a block: where there are more, reading the whole block is about as fast
_NOTED = """select position, stream_id, type_id, schema, ifnull(octet_length(data) + octet_length(meta), 0), time
from {events} where position between ?1 and ?2 order by position"""
_BLOCK = "insert or replace into block_summaries values (?, ?, ?, ?)"
_TYPE = "insert or replace into block_type_summaries values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_COLUMNS = "own, type_id, schema, events, bytes, first_position, last_position, first_time, last_time"
# Blocks come in order, so the last row of a kind has its last position.
_ADD = f"""insert into type_summaries select {_COLUMNS} from block_type_summaries where block >= ? order by block
on conflict (own, type_id, schema) do update set events = events + excluded.events, bytes = bytes + excluded.bytes,
  last_position = excluded.last_position, last_time = excluded.last_time"""
_AT = """select position, stream_id, type_id, schema, data, meta from {events}
where position in (select value from carray(?1))"""
_ERASED = """select (position - 1) / ?2, sum(octet_length(data) + octet_length(meta)), stream_id < 0, type_id, schema
from ({events}) where data is not null group by 1, 3, 4, 5"""
_LOWER = "update {table} set bytes = bytes - ? where own = ? and type_id = ? and schema = ?"
_OF_TYPES = "select * from block_type_summaries where block = ? order by own, type_id, schema"
_CHECKS = (
    """select printf('there are summaries of %d blocks, the head has filled %d', n, :blocks)
       from (select count(*) as n, ifnull(max(block) + 1, 0) as ended from block_summaries)
       where n <> :blocks or ended <> :blocks""",
    """select printf('the summaries of block %d are of %d events', block, n) from (
         select block, ifnull(sum(t.events), 0) as n from block_summaries left join block_type_summaries t using (block)
         group by block) where n <> :size""",
)


def extend(reading: Reading, block: int, head: int, noted: Noted | None = None) -> int:
    """Within a transaction: summarize the blocks from a number on that end by the head; the number of the next one.

    `noted` are the newest events, as far as they are at hand.
    """
    blocks: list[tuple[object, ...]] = []
    types: list[tuple[object, ...]] = []
    after = head // storage.POSITIONS_PER_BLOCK
    for number in range(block, after):
        first = number * storage.POSITIONS_PER_BLOCK + 1
        last = first + storage.POSITIONS_PER_BLOCK - 1
        at_hand = noted is not None and noted.positions and noted.positions[0] <= first
        found = noted.between(first, last) if noted and at_hand else read(reading, first, last)
        of_block, of_types = summarized(number, found)
        blocks.append(of_block)
        types += of_types
    reading.connection.executemany(_BLOCK, blocks)
    reading.connection.executemany(_TYPE, types)
    reading.connection.execute(_ADD, (block,))
    links.extend(reading, block, after)
    return after


def read(reading: Reading, first: int, last: int) -> Noted:
    """The events between two positions, hot or archived."""
    rows: list[Any] = reading.connection.execute(_NOTED.format(events=reading.hot), (first, last)).fetchall()
    if reading.archive is not None:
        for _, some in reading.archive.by_position(first, last, reverse=False):
            for position, stream_id, _, _, type_id, schema, time, _, data, meta in some:
                size = 0 if data is None or meta is None else len(data.encode()) + len(meta.encode())
                rows.append((position, stream_id, type_id, schema, size, time))
        rows.sort()
    return Noted(rows)


def summarized(block: int, noted: Noted) -> tuple[tuple[object, ...], list[tuple[object, ...]]]:
    """The summary of a block, and those of the kinds of its events."""
    start = block * storage.POSITIONS_PER_BLOCK
    of_types: list[tuple[object, ...]] = []
    for kind, (row, positions) in sorted(by_kind(noted).items()):
        listed = ",".join([str(position - start) for position in positions]) if row[0] <= MAX_LISTED else None
        of_types.append((block, *kind, *row, listed))
    return (block, *span(noted)), of_types


def span(noted: Noted) -> tuple[int, str | None, str | None]:
    """How many events are not of the log's own streams, and the least and greatest time of these (None: of none)."""
    times = noted.times
    if min(noted.streams, default=0) < 0:
        times = [time for time, number in zip(times, noted.streams, strict=True) if number > 0]
    return len(times), min(times, default=None), max(times, default=None)


def by_kind(noted: Noted) -> dict[Kind, tuple[Row, list[int]]]:
    """Events summarized by kind, and the positions of each kind. It runs for every event that is appended."""
    found: dict[Any, list[int]] = {}
    streams, types, schemas, sizes, times = noted.streams, noted.types, noted.schemas, noted.sizes, noted.times
    # Nearly always, the type alone makes the kind.
    plain = bool(types) and min(streams) > 0 and schemas.count(schemas[0]) == len(schemas)
    keys = types if plain else list(zip([number < 0 for number in streams], types, schemas, strict=True))
    for key in set(keys):
        found[key] = []
    for at, key in enumerate(keys):
        found[key].append(at)
    kinds: dict[Kind, tuple[Row, list[int]]] = {}
    for key, places in found.items():
        positions = [noted.positions[at] for at in places]
        row = (
            len(places), sum([sizes[at] for at in places]), positions[0], positions[-1], times[places[0]],
            times[places[-1]],
        )  # fmt: skip
        kinds[(0, key, schemas[0]) if plain else (int(key[0]), *key[1:])] = row, positions
    return kinds


def cut(connection: apsw.Connection, position: int) -> None:
    """Within a transaction: the log ends at a position from now on."""
    block = position // storage.POSITIONS_PER_BLOCK
    for table in ("block_summaries", "block_type_summaries"):
        connection.execute(f"delete from {table} where block >= ?", (block,))
    connection.execute("delete from type_summaries")
    connection.execute(_ADD, (0,))
    links.cut(connection, block)


def erase(reading: Reading, positions: object) -> None:
    """Within a transaction, before payloads are erased: take their bytes off. `positions` is a carray."""
    execute = reading.connection.execute
    after = execute(storage.NEXT_BLOCK).get
    found: Any = execute(
        _ERASED.format(events=reading.everywhere(_AT)), (positions, storage.POSITIONS_PER_BLOCK)
    ).fetchall()
    for block, *of_kind in found:
        if block < after:
            execute(_LOWER.format(table="type_summaries"), of_kind)
            execute(f"{_LOWER.format(table='block_type_summaries')} and block = ?", (*of_kind, block))


def unsummarized(reading: Reading) -> Noted:
    """The events behind the last summarized block."""
    return read(
        reading, reading.connection.execute(storage.NEXT_BLOCK).get * storage.POSITIONS_PER_BLOCK + 1, MAX_POSITION
    )


def counts(reading: Reading, later: Noted) -> dict[Kind, Row]:
    """The summary of each kind of events in the whole log; `later` are the unsummarized ones."""
    rows = ((kind, row) for kind, (row, _) in by_kind(later).items())
    return together(chain(_rows(reading, "type_summaries"), rows))


def _rows(reading: Reading, table: str) -> Iterator[tuple[Kind, Row]]:
    """The rows of a table of summaries by type; those of blocks in order."""
    order = " order by block" if table.startswith("block") else ""
    found: Any = reading.connection.execute(f"select {_COLUMNS} from {table}{order}")
    yield from (((own, type_id, schema), tuple(row)) for own, type_id, schema, *row in found)


def together(rows: Iterable[tuple[Kind, Row]]) -> dict[Kind, Row]:
    """One summary of each kind; its rows come in the order of their events."""
    found: dict[Kind, Row] = {}
    for kind, row in rows:
        if (before := found.get(kind)) is None:
            found[kind] = row
        else:
            found[kind] = before[0] + row[0], before[1] + row[1], before[2], row[3], before[4], row[5]
    return found


def findings(reading: Reading, head: int, *, full: bool) -> Iterator[Finding]:
    """Where summaries differ from each other and, with `full`, from the events."""
    connection = reading.connection
    blocks = head // storage.POSITIONS_PER_BLOCK
    for check in _CHECKS:
        for (problem,) in connection.execute(check, {"blocks": blocks, "size": storage.POSITIONS_PER_BLOCK}):
            yield ("summaries", None, str(problem))
    if dict(_rows(reading, "type_summaries")) != together(_rows(reading, "block_type_summaries")):
        yield ("summaries", None, "the summaries of types are not those of their blocks together")
    for block in range(blocks if full else 0):
        first = block * storage.POSITIONS_PER_BLOCK + 1
        last = first + storage.POSITIONS_PER_BLOCK - 1
        of_block = connection.execute("select * from block_summaries where block = ?", (block,)).get
        of_types = connection.execute(_OF_TYPES, (block,)).fetchall()
        if (of_block, of_types) != summarized(block, read(reading, first, last)):
            yield ("summaries", first, f"the summary of positions {first} to {last} is not that of its events")
    if full:
        yield from links.findings(reading, blocks)
