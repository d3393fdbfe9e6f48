"""An index of what links events: their causes, correlations and original ids, for the blocks that are summarized.

It keeps hashes, so nothing of a payload is in it. Who reads it compares the events that it finds.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from itertools import islice

import apsw

from esctl.store import format as storage
from esctl.store.windows import POSITIONS_PER_STATEMENT, Reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from esctl.store.checks import Finding

# No projection can have this name, in whatever log: names that begin so are reserved.
TABLES = (
    """create table esctl_links (
         hash integer not null, position integer not null, primary key (hash, position)
       ) strict, without rowid""",
)
# Names may be written with escapes.
_LINKED = """select position, id, meta from {{events}} where {which}
and (instr(meta, '_id"') or instr(meta, 'source"') or instr(meta, '\\'))"""
_BETWEEN = _LINKED.format(which="position between ?1 and ?2")
_AT = _LINKED.format(which="position in (select value from carray(?1))")
_POSITIONS = "select distinct position from esctl_links where hash in (select value from carray(?)) order by position"


def extend(reading: Reading, block: int, after: int) -> None:
    """Within a transaction: index the events of the blocks from a number on that end before another."""
    for number in range(block, after):
        first = number * storage.POSITIONS_PER_BLOCK + 1
        found = _rows(reading, _BETWEEN, (first, first + storage.POSITIONS_PER_BLOCK - 1))
        reading.connection.executemany("insert or ignore into esctl_links values (?, ?)", found)


def _rows(reading: Reading, sql: str, parameters: tuple[object, ...]) -> list[tuple[int, int]]:
    """Hash and position of each link of some events."""
    from esctl.events import links  # noqa: PLC0415 - most commands do without

    found: Any = reading.connection.execute(reading.everywhere(sql), parameters)
    return sorted({(hash_, position) for position, id_, meta in found for hash_ in links.hashes(id_, meta)})


def cut(connection: apsw.Connection, block: int) -> None:
    """Within a transaction: no block from this number on is indexed any more."""
    connection.execute("delete from esctl_links where position > ?", (block * storage.POSITIONS_PER_BLOCK,))


def erase(reading: Reading, positions: object) -> None:
    """Within a transaction, before payloads are erased: remove their links. `positions` is a carray."""
    found = _rows(reading, _AT, (positions,))
    reading.connection.executemany("delete from esctl_links where hash = ? and position = ?", found)


def positions(reading: Reading, hashes: Iterable[int]) -> tuple[list[int], int]:
    """The positions of events with one of these hashes, and the first position that is not indexed."""
    after: int = reading.connection.execute(storage.NEXT_BLOCK).get
    found: set[int] = set()
    waiting = iter(hashes)
    while some := array("q", islice(waiting, POSITIONS_PER_STATEMENT)):
        asked = apsw.carray(some, flags=apsw.SQLITE_CARRAY_INT64)
        found.update(position for (position,) in reading.connection.execute(_POSITIONS, (asked,)))
    return sorted(found), after * storage.POSITIONS_PER_BLOCK + 1


def findings(reading: Reading, blocks: int) -> Iterator[Finding]:
    """Where the index differs from the events of so many blocks."""
    indexed = 0
    there = "select exists(select 1 from esctl_links where hash = ? and position = ?)"
    for number in range(blocks):
        first = number * storage.POSITIONS_PER_BLOCK + 1
        found = _rows(reading, _BETWEEN, (first, first + storage.POSITIONS_PER_BLOCK - 1))
        missing = [row for row in found if not reading.connection.execute(there, row).get]
        indexed += len(found) - len(missing)
        for position in sorted({position for _, position in missing}):
            yield ("summaries", position, "the index of causes and correlations does not have this event")
    total = reading.connection.execute("select count(*) from esctl_links").get
    if total > indexed:
        yield ("summaries", None, f"the index of causes and correlations has {total - indexed} entries of no event")
